"""The same count by fvcore, from a trace of a real forward pass: two counters that share no code have to agree.

fvcore's tracer needs real tensors, so it runs at a small size. It counts multiply-accumulates and calls them flops;
it adds norms, pooling and interpolation, which are not asked for here, and does not see fused attention.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from atlasbench.core.errors import AtlasBenchError, UnsupportedError
from atlasbench.core.plan import SecondOpinion
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Dtype, Mode, Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import NeedsDataError, build_without_data
from atlasbench.measure.inputs import batch_shape
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model

# Smallest first: 64 px shows every layer of most models; windows, scales and strides decide what a model takes.
_SMALL_SIDES = (64, 96, 128, 192, 224, 256, 320, 384, 448, 512)
_NOT_PRODUCTS = (
    "aten::batch_norm",
    "aten::group_norm",
    "aten::layer_norm",
    "aten::instance_norm",
    "aten::upsample_nearest2d",
    "aten::upsample_bilinear2d",
    "aten::adaptive_avg_pool2d",
    "aten::grid_sampler",
)


def second_opinion(workload: Workload) -> SecondOpinion:
    """Count a workload's model twice, at the smallest square size that it takes; inference, float32, one image.

    Args:
        workload: As it was typed: resolved options may hold on to the size they were resolved for.

    Raises:
        UnsupportedError: If the model takes none of the small sizes.
    """
    reason = ""
    small_workload = replace(workload, batch_size=1, mode=Mode.INFER, dtype=Dtype.FLOAT32)
    # A scale drop for large images has too many stages for small ones, which then take their own default.
    for drop, side in product(dict.fromkeys((workload.scale_drop, "")), _SMALL_SIDES):
        small = replace(small_workload, resolution=Resolution(side, side), scale_drop=drop)
        try:
            built = build_without_data(partial(_build, small))
            counts, _, _ = count_built(built, small)
        except (AtlasBenchError, NeedsDataError, RuntimeError, ValueError, AssertionError) as error:
            reason = str(error)
            continue
        real = _build(replace(small, options=built.options), probe=False)
        fvcore_macs = count_with_fvcore(real.model, torch.zeros(batch_shape(small, real.input_shape)))
        return SecondOpinion(resolution=small.resolution, macs=counts.macs, fvcore_macs=fvcore_macs)
    raise UnsupportedError(f"{workload.model} takes none of the small sizes up to {_SMALL_SIDES[-1]} px: {reason}")


def _build(workload: Workload, *, probe: bool = True) -> BuiltModel:
    return build_model(
        workload.model,
        resolution=workload.resolution,
        options=workload.options,
        scale_drop=workload.scale_drop,
        probe=probe,
    )


def count_with_fvcore(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of one forward pass by fvcore, of the operators that our own count has.

    Args:
        model: With real weights; runs in evaluation mode and is left as it was.
        image: What the model takes, e.g. images (B, 3, H, W); real.
    """
    training = model.training
    try:
        with torch.no_grad(), _quiet():
            return int(_analysis(model.eval(), image).total())
    finally:
        model.train(training)


def _analysis(model: nn.Module, image: Tensor) -> Any:
    from fvcore.nn import FlopCountAnalysis  # warns when imported

    analysis = FlopCountAnalysis(model, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    handles = {
        **dict.fromkeys(_NOT_PRODUCTS, _nothing),
        "aten::scaled_dot_product_attention": _attention,
        "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
        "aten::matmul": _matmul,
        "aten::baddbmm": _batched_addmm,
        "aten::einsum": _einsum,
        "aten::_convolution_mode": _convolution,
        "atlasbench::selective_scan": _selective_scan,
    }
    return analysis.set_op_handle(**handles)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings: new versions of torch call tracing deprecated, and fvcore knows no other way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    q, k, v = (_shape(value) for value in inputs[:3])  # (B, heads, N, head_dim)
    return prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _matmul(inputs: list[Any], outputs: list[Any]) -> int:
    """The one of fvcore misses the batch where only the second operand has one."""
    first, second = (_shape(value) for value in inputs)
    batch: Sequence[int] = torch.broadcast_shapes(first[:-2], second[:-2])
    rows = first[-2] if len(first) > 1 else 1
    columns = second[-1] if len(second) > 1 else 1
    return prod(batch) * rows * first[-1] * columns


def _batched_addmm(inputs: list[Any], outputs: list[Any]) -> int:
    first, second = (_shape(value) for value in inputs[1:3])  # (B, M, K) and (B, K, N)
    return prod(first) * second[-1]


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """One multiplication for each combination of indices; fvcore's own reads a rounded number from a printed table."""
    from fvcore.nn.jit_handles import einsum_flop_jit

    operands = [_shape(value) for value in inputs[1].node().inputs()]
    if len(operands) != 2:
        return int(einsum_flop_jit(inputs, outputs))
    terms = inputs[0].toIValue().replace(" ", "").partition("->")[0].split(",")
    sides = {
        index: side
        for term, shape in zip(terms, operands, strict=True)
        for index, side in zip(term, shape, strict=True)
    }
    return prod(sides.values())


def _convolution(inputs: list[Any], outputs: list[Any]) -> int:
    """Padding "same" is an operator of its own, which fvcore does not know."""
    return prod(_shape(outputs[0])) * prod(_shape(inputs[1])[1:])  # weight (C_out, C_in / groups, *kernel)


def _selective_scan(inputs: list[Any], outputs: list[Any]) -> int:
    """Nine FLOPs for each state and one for each skip, in MACs."""
    positions, states = prod(_shape(inputs[0])), _shape(inputs[2])[1]  # of u (B, L, I) and A (I, S)
    flops: int = positions * (9 * states + (inputs[5].type().kind() != "NoneType"))
    return flops // 2 + flops % 2


def _shape(value: Any) -> list[int]:
    shape: list[int] = value.type().sizes()
    return shape
