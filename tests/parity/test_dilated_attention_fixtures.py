"""Dilated attention against numeric answers of the public code."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from atlasbench.models.layers import dilated_attention

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(path.stem for path in FIXTURES.glob("dilated_*.json"))
RAGGED = [name for name in NAMES if name not in ("dilated_even", "dilated_full", "dilated_heads12")]


def load(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(FIXTURES / f"{name}.safetensors"), json.loads((FIXTURES / f"{name}.json").read_text())


def run(tensors: dict[str, Tensor], meta: dict[str, Any], **options: str) -> Tensor:
    q, k, v = (tensors[name] for name in "qkv")
    return dilated_attention(q, k, v, meta["segment_lengths"], meta["dilated_ratios"], **options)


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))


def test_there_are_nine_answers() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_output_and_gradients_are_the_official_ones(name: str) -> None:
    tensors, meta = load(name)
    inputs = {key: tensors[key].requires_grad_() for key in "qkv"}
    output = run(tensors, meta)
    output.backward(tensors["grad_output"])
    assert largest_error(output.detach(), tensors["output"]) < 2e-6
    for key, tensor in inputs.items():
        assert tensor.grad is not None
        assert largest_error(tensor.grad, tensors[f"grad_{key}"]) < 5e-6


@pytest.mark.parametrize("name", ["dilated_even", "dilated_ragged"])
def test_every_branch_alone_is_the_official_one(name: str) -> None:
    tensors, meta = load(name)
    for index, (length, ratio) in enumerate(zip(meta["segment_lengths"], meta["dilated_ratios"], strict=True)):
        alone = run(tensors, {"segment_lengths": [length], "dilated_ratios": [ratio]})
        assert largest_error(alone, tensors[f"branch{index}.output"]) < 2e-6


@pytest.mark.parametrize("name", RAGGED)
def test_masked_padding_is_the_intended_definition(name: str) -> None:
    tensors, meta = load(name)
    assert largest_error(tensors["output"], tensors["output_masked_pad"]) > 1e-3
    assert largest_error(run(tensors, meta, padding="masked"), tensors["output_masked_pad"]) < 2e-6


def test_aligned_padding_keeps_the_official_zeros_at_true_positions() -> None:
    tensors, meta = load("dilated_misaligned")
    assert largest_error(tensors["output"], tensors["output_aligned"]) > 1e-3
    assert largest_error(run(tensors, meta, padding="aligned"), tensors["output_aligned"]) < 2e-6


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dilated_misaligned"])
def test_aligned_padding_is_the_official_one_where_ratios_divide_segments(name: str) -> None:
    tensors, meta = load(name)
    assert torch.equal(run(tensors, meta, padding="aligned"), run(tensors, meta))
