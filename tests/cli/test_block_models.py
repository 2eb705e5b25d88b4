"""Block-level models and `--patch`, as a user types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from running import Run

import atlasbench
from atlasbench.models.block_kinds import KINDS

BLOCKS = " ".join(f"block:{kind}" for kind in KINDS)
TINY = "--set embed_dim=24 num_heads=3 depth=1 window_size=8"
ON_META = "--device meta --no-save"


def rows_of(out: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def test_one_command_compares_every_kind_in_a_table_of_80_columns(run: Run) -> None:
    ended = run(f"profile {BLOCKS} --res 64 --patch 4 {TINY} {ON_META}")
    assert ended.code == 0
    assert max(len(line) for line in ended.out.partition("Next:")[0].splitlines()) <= 80
    for kind in KINDS:
        assert f"block:{kind}" in ended.out
    words = " ".join(ended.out.split())
    assert "1 block of 24 channels, MLP ratio 4, on a map of 16x16 tokens (patch 4)" in words
    assert "block:vit: not used by block:vit: window_size" in words


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_every_kind_is_measured(run: Run, tmp_path: Path, mode: str) -> None:
    timing = "--quick --timing warmup_min_s=0 min_samples=5 min_time_s=0 give_up_s=0.01 --threads 1"
    ended = run(f"profile {BLOCKS} --res 64 --device cpu --mode {mode} {timing} --format csv {TINY}")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert [row["model"] for row in rows] == [f"block:{kind}" for kind in KINDS]
    for row in rows:
        assert (row["status"], row["message"], row["tokens"]) == ("ok", "", "256")
        tokens_per_s, images_per_s = float(row["tokens_per_s"]), float(row["images_per_s"])
        assert tokens_per_s == pytest.approx(256 * images_per_s)
        assert "not logits" not in row["note"]
    assert ended.code == 0


def test_a_patch_sets_the_number_of_tokens_and_is_recorded(run: Run) -> None:
    ended = run(f"profile block:vit atlas_ti window_vit_s --res 128 --patch 8 --format json {ON_META}")
    for row in rows_of(ended.out):
        assert json.loads(row["options"]) == {"patch_size": 8}
        assert row["tokens"] == 16 * 16


def test_a_patch_is_the_option_of_that_name(run: Run) -> None:
    short, long, default = (
        rows_of(run(f"profile block:window_vit --res 64 {words} {TINY} {ON_META} --format json").out)[0]
        for words in ("--patch 2", "--set patch_size=2", "--patch 4")
    )
    own = ("run_id", "time")
    assert {key: value for key, value in short.items() if key not in own} == {
        key: value for key, value in long.items() if key not in own
    }
    assert short["tokens"] == 4 * default["tokens"]
    assert "patch_size" not in json.loads(default["options"])


def test_classes_are_dropped_where_there_is_no_classifier(run: Run) -> None:
    ended = run(f"profile block:vit vit_ti --res 64 --num-classes 7 {ON_META} --format json")
    block, whole = rows_of(ended.out)
    assert json.loads(block["options"]) == {}
    assert "not used by block:vit: num_classes" in block["note"]
    assert json.loads(whole["options"])["num_classes"] == 7


def test_a_size_that_a_kind_does_not_take_is_a_result(run: Run) -> None:
    ended = run(f"profile block:hierarchical_attention block:vit --res 64 {ON_META} --format json")
    first, second = rows_of(ended.out)
    assert first["status"] == "unsupported"
    assert "needs more than one window" in first["message"]
    assert second["status"] == "ok"
    assert ended.code == 0


def test_python_takes_the_patch_as_an_option() -> None:
    (record,) = atlasbench.profile(
        "block:vit", resolutions=64, device="meta", options={"patch_size": 8, "embed_dim": 24, "num_heads": 3}
    )
    assert record.measurement.counts is not None
    assert record.measurement.counts.tokens == 64


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("block:foo", "Unknown model 'block:foo'."),
        ("block:vit --res 384 --patch 5", "384 px is no whole number of 5 px patches: give multiples of 5, or another"),
        ("block:vit --patch 0", "Invalid value for '--patch'"),
        ("block:vit --patch x", "Invalid value for '--patch'"),
        ("block:vit --patch 4 --set patch_size=4", "--patch and --set patch_size mean the same: give one of them."),
        ("block:window_vit --set window_size=0", "window_size must be a whole number of at least 1, got 0."),
        ("block:vit --set num_heads=5", "num_heads must divide embed_dim, got 5 heads and 768 channels."),
        ("block:vit --set kind=msa", "block:vit does not take the option 'kind'."),
        ("block:vit --drop 2-10", "--drop applies to models with scales (atlas*), and block:vit has none"),
        ("resnet18 --res 64 --patch 8", "patch_size"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run: Run, command: str, message: str) -> None:
    ended = run(f"profile {command} {ON_META}")
    assert message in ended.error
    assert ended.code == 2
