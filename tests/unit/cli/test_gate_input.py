"""Which of the three ways a gate was asked for, whatever the version of Typer."""

from types import SimpleNamespace
from typing import Any

import pytest

from atlasbench.cli.gate_input import check_ways
from atlasbench.core.errors import InvalidOptionError

NOTHING = ("baseline", "current", "against", "relative_to", "base_python", "write", "ratio", "seed", "max_time")


def ask(**given: Any) -> None:
    check_ways(SimpleNamespace(params={**dict.fromkeys(NOTHING), "reports": [], **given}, args=[]))


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_a_list_option_that_was_not_written_belongs_to_every_way(nothing: Any) -> None:
    ask(against="main", tolerance=None, strict=False, allow_different=nothing)


def test_one_that_was_written_belongs_to_its_own() -> None:
    with pytest.raises(InvalidOptionError, match="--allow-different belongs to --baseline and --current"):
        ask(against="main", tolerance=None, strict=False, allow_different=("torch",))


def test_a_seed_of_zero_was_written() -> None:
    with pytest.raises(InvalidOptionError, match="--seed belongs to --against and --relative-to"):
        ask(baseline="a", current="b", tolerance=None, strict=False, allow_different=[], seed=0)
