import subprocess
import sys

import pytest

import atlasbench


def test_the_public_names_are_these() -> None:
    assert atlasbench.__all__ == ["__version__", "create_model", "load_checkpoint", "load_results", "profile"]


@pytest.mark.parametrize("name", atlasbench.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(atlasbench, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = atlasbench.nope


@pytest.mark.parametrize("statement", ["import atlasbench", "import atlasbench.registry, atlasbench.cli.app"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert {"torch", "timm", "numpy", "pandas", "matplotlib"}.isdisjoint(loaded)


def test_the_process_that_keeps_the_records_stays_small() -> None:
    code = "import sys; import atlasbench.sweep.opening; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert {"torch", "timm", "numpy", "scipy", "pandas"}.isdisjoint(loaded)
