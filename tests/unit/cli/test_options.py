from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from atlasbench.cli.options import (
    read_integers,
    read_protocol,
    read_resolutions,
    read_scale_drops,
    read_settings,
    read_words,
    spread_values,
)
from atlasbench.core.errors import AtlasBenchError, InvalidOptionError, InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.workload import Dtype, Mode

HEAVY = {"torch", "timm", "numpy", "pandas", "matplotlib", "torchvision", "fvcore", "psutil"}


@pytest.mark.parametrize(
    "code",
    [
        "import atlasbench, atlasbench.registry",
        "import atlasbench.cli.app",
        "from atlasbench.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass",
        "from atlasbench.cli.app import app\ntry: app(['profile', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_help_imports_nothing_heavy(code: str) -> None:
    program = f"import contextlib, io, sys\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({code!r})\n"
    loaded = subprocess.check_output([sys.executable, "-c", f"{program}print(*sys.modules)"], text=True).split()

    assert "atlasbench" in loaded
    assert HEAVY.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("a --res 64 128 --batch 1", "a --res 64 --res 128 --batch 1"),
        ("a --res=64 128", "a --res=64 --res 128"),
        ("a --res 64 --res 128", "a --res 64 --res 128"),
        ("a b --res 64 128 --quick --out x c", "a b --res 64 --res 128 --quick --out x c"),
        ("--res 64 -- 128 --res", "--res 64 -- 128 --res"),
        ("a --res -5 7", "a --res -5 7"),
        ("a --res", "a --res"),
        ("", ""),
    ],
)
def test_every_value_of_a_list_option_gets_its_flag(arguments: str, expected: str) -> None:
    assert list(spread_values(arguments.split(), {"--res", "--batch"})) == expected.split()


def test_values_are_read() -> None:
    assert [str(size) for size in read_resolutions(["64", "768x1536"])] == ["64", "768x1536"]
    assert read_integers("--batch", ["1", "08"]) == [1, 8]
    assert read_scale_drops([" 2-10", "None"]) == ["2-10", "none"]
    assert read_words("--mode", ["train", "infer"], Mode) == [Mode.TRAIN, Mode.INFER]


MODELS_FIRST = "Models come first: atlasbench profile"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: read_resolutions(["vit_b"]), f"--res: 'vit_b' is not a resolution.*{MODELS_FIRST} vit_b --res"),
        (lambda: read_resolutions(["net.py:f"]), f"--res: 'net.py:f' is not a resolution.*{MODELS_FIRST} net.py:f"),
        (lambda: read_resolutions(["resnet_x"]), f"--res: 'resnet_x' .*{MODELS_FIRST}"),
        (
            lambda: read_resolutions(["1024px"]),
            r"--res: '1024px' is not a resolution: write 1024 or 768x1536 .*width\)\.$",
        ),
        (lambda: read_integers("--batch", ["vit_b"]), f"--batch: 'vit_b' is not a whole number.*{MODELS_FIRST}"),
        (lambda: read_integers("--batch", ["0"]), r"--batch: '0' is not a whole number of at least 1\.$"),
        (lambda: read_integers("--batch", ["1.5"]), "'1.5' is not a whole number"),
        (lambda: read_integers("--batch", ["9" * 30]), "is not a whole number"),
        (lambda: read_scale_drops(["vit_b"]), f"--drop: 'vit_b' is not a scale drop.*{MODELS_FIRST}"),
        (lambda: read_scale_drops(["2-0"]), "--drop: '2-0' is not a scale drop: every stage needs at least 1 block"),
        (lambda: read_words("--mode", ["vit_b"], Mode), f"--mode: 'vit_b' is not one of infer, train.*{MODELS_FIRST}"),
        (lambda: read_words("--dtype", ["pure_bfloat16"], Dtype), r"Did you mean 'pure-bfloat16'\?$"),
        (lambda: read_settings("--set", ["vit_b"]), f"--set: 'vit_b' is not KEY=VALUE.*{MODELS_FIRST} vit_b --set"),
        (lambda: read_settings("--set", ["=3"]), "--set: '=3' is not KEY=VALUE, e.g. window_size=8"),
        (lambda: read_settings("--timing", ["a b=3"]), "--timing: 'a b=3' is not KEY=VALUE, e.g. min_samples=100"),
    ],
)
def test_a_value_that_does_not_parse_is_named_with_a_hint(read: Any, message: str) -> None:
    with pytest.raises(AtlasBenchError, match=message):
        read()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("2,10", [2, 10]),
        ("[2,10]", [2, 10]),
        ("both", "both"),
        ("a,b", "a,b"),
        ('"8"', "8"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_setting_is_json_where_it_can_be_and_a_word_otherwise(text: str, value: Any) -> None:
    assert read_settings("--set", [f"key={text}"]) == {"key": value}


def test_the_protocol_is_the_preset_and_what_was_set() -> None:
    def read(*settings: str, quick: bool = False, cold: bool = False, timeout_s: float | None = None) -> Protocol:
        return read_protocol(settings, quick=quick, cold=cold, timeout_s=timeout_s)

    assert read() == Protocol()
    assert read(quick=True) == QUICK
    assert read("min_samples=100", "half_width=0.01", quick=True).min_samples == 100
    assert read(cold=True).cold
    assert read(timeout_s=5).timeout_s == 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("min_sample=3", "there is no constant 'min_sample'. Did you mean 'min_samples'?"),
        ("zzz=3", "there is no constant 'zzz'. There are: warmup_window, "),
        ("cold=1", "there is no constant 'cold'"),
        ("min_samples=many", "min_samples must be a whole number, got 'many'"),
        ("min_samples=2.5", "min_samples must be a whole number, got 2.5"),
        ("half_width=true", "half_width must be a number, got True"),
        ("half_width=NaN", "half_width must be a number, got 'NaN'"),
        ("min_samples=0", "min_samples is 0; it must be at least 1"),
    ],
)
def test_a_constant_that_makes_no_sense_is_refused(setting: str, message: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        read_protocol([setting], quick=False, cold=False, timeout_s=None)

    assert str(caught.value).startswith(f"--timing: {message}")


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_limit_is_a_positive_number_of_seconds(timeout_s: float) -> None:
    with pytest.raises(InvalidOptionError, match="--timeout must be more than 0 seconds"):
        read_protocol([], quick=False, cold=False, timeout_s=timeout_s)


def test_a_mistake_with_a_value_is_bad_input() -> None:
    assert InvalidWorkloadError.exit_code == InvalidOptionError.exit_code == 2
