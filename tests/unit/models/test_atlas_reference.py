"""Atlas against a slow, plain statement of it: loops over windows, real tokens only, no padding and no masks."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import coarser_grids, window_shapes
from atlasbench.models.atlas import Atlas, build_atlas
from atlasbench.models.layers.multiscale_attention import MultiScaleBlock, ScaleBlock
from atlasbench.models.layers.multiscale_plan import ScalePlan, plan_scales
from atlasbench.models.layers.scale_layout import lay_out_scales
from atlasbench.models.layers.windows import crop_to, pad_to

WINDOWS = [(4, 2), (4, 4), (6, 3), (8, 2)]  # window, stride
GRIDS = [(4, 4), (16, 16), (17, 17), (9, 13), (1, 40), (5, 30), (33, 7), (2, 65), (64, 3)]


def window_spans(grid: tuple[int, int], window: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Real rows and columns of every window, row by row."""
    axes = [
        [slice(start, min(start + side, end)) for start in range(0, end, side)]
        for end, side in zip(grid, window, strict=True)
    ]
    yield from itertools.product(*axes)


def plain_attention(scale: ScaleBlock, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(B, n, C) queries over (B, m, C) keys and values, head by head."""
    B, n, C = queries.shape
    q, k, v = (t.reshape(B, -1, scale.num_heads, C // scale.num_heads).transpose(1, 2) for t in (queries, keys, values))
    weights = ((q @ k.transpose(-1, -2)) / (C // scale.num_heads) ** 0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, n, C)


def residual_and_mlp(scale: ScaleBlock, x: Tensor, attended: Tensor) -> Tensor:
    x = x + scale.proj(attended)
    return x + scale.mlp(scale.norm_mlp(x))


def position(scale: ScaleBlock, grid: tuple[int, int], window: tuple[int, int]) -> Tensor:
    def coordinate(index: int, n: int) -> float:
        return (index % n - n // 2) / (n // 2) if n > 1 else 0.0

    table = [[[coordinate(y, window[0]), coordinate(x, window[1])] for x in range(grid[1])] for y in range(grid[0])]
    out: Tensor = scale.position(torch.tensor(table, dtype=torch.float32).double())  # single precision, as the model's
    return out


def keys_values(scale: ScaleBlock, x: Tensor, span: tuple[slice, slice]) -> tuple[Tensor, Tensor]:
    keys, values = scale.kv(scale.norm_kv(x[:, span[0], span[1]].flatten(1, 2))).chunk(2, dim=-1)
    return keys, values


def plain_pool(x: Tensor, s: int) -> Tensor:
    """(B, H, W, C) to (B, ceil(H/s), ceil(W/s), C), the maximum of each cell."""
    height, width = -(-x.shape[1] // s), -(-x.shape[2] // s)
    cells = [
        x[:, i * s : (i + 1) * s, j * s : (j + 1) * s].amax(dim=(1, 2)) for i in range(height) for j in range(width)
    ]
    return torch.stack(cells, dim=1).reshape(x.shape[0], height, width, x.shape[-1])


def reference_block(
    block: MultiScaleBlock, tokens: list[Tensor], window_size: int, *, row_major: bool = False
) -> list[Tensor]:
    """One MSA block on the real tokens of every scale, (B, height, width, C) each."""
    s, L = block.downsample_stride, len(tokens)
    grids = [(x.shape[1], x.shape[2]) for x in tokens]
    windows = window_shapes(grids, window_size)
    scales = list(block.scales)
    spans = [list(window_spans(grid, window)) for grid, window in zip(grids, windows, strict=True)]

    x = [t + position(scales[n], grids[n], windows[n]) for n, t in enumerate(tokens)]
    if block.reads_finer:
        for n in range(1, L):
            x[n] = x[n] + plain_pool(x[n - 1], s)

    for n in reversed(range(L)):
        attended = torch.zeros_like(x[n])
        for index, span in enumerate(spans[n]):
            read = [keys_values(scales[n], x[n], span)]
            for t in range(n + 1, L) if block.reads_coarser else ():
                over = [span[axis].start // s ** (t - n) for axis in (0, 1)]
                (covering,) = [
                    other
                    for other in spans[t]
                    if all(other[axis].start <= over[axis] < other[axis].stop for axis in (0, 1))
                ]
                if row_major:
                    covering = spans[t][index // (len(spans[n]) // len(spans[t]))]
                read.append(keys_values(scales[t], x[t], covering))
            queries = scales[n].q(scales[n].norm_q(x[n][:, span[0], span[1]].flatten(1, 2)))
            found = plain_attention(scales[n], queries, *(torch.cat(part, dim=1) for part in zip(*read, strict=True)))
            place = attended[:, span[0], span[1]]
            place.copy_(found.reshape(place.shape))
        x[n] = residual_and_mlp(scales[n], x[n], attended)

    for n in range(1, L) if block.reads_finer else ():
        attended = torch.zeros_like(x[n])
        for span in spans[n - 1]:
            over_span = tuple(slice(axis.start // s, -(-axis.stop // s)) for axis in span)
            coarse = x[n][:, over_span[0], over_span[1]]
            queries = scales[n].q(scales[n].norm_q(coarse.flatten(1, 2)))
            found = plain_attention(scales[n], queries, *keys_values(scales[n - 1], x[n - 1], span))
            attended[:, over_span[0], over_span[1]].copy_(found.reshape(coarse.shape))
        x[n] = residual_and_mlp(scales[n], x[n], attended)
    return x


def random_weights(module: nn.Module) -> nn.Module:
    """Weights large enough for every path to matter, norms and position included."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
        if parameter.ndim == 1:
            parameter.data += 0.7
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.data = torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5
    return module.double()


def block_and_inputs(
    grid: tuple[int, int], window: int, stride: int, **options: bool
) -> tuple[MultiScaleBlock, list[Tensor], tuple[ScalePlan, ...]]:
    grids = coarser_grids(grid, window_size=window, downsample_stride=stride)
    block = MultiScaleBlock(8, 2, len(grids), downsample_stride=stride, mlp_ratio=2.0, **options)
    random_weights(block).eval()
    plans = plan_scales(
        lay_out_scales(grids, window),
        stride,
        reads_coarser=block.reads_coarser,
        row_major=False,
        device=torch.device("cpu"),
    )
    generator = torch.Generator().manual_seed(2)
    tokens = [torch.randn(2, *sides, 8, generator=generator, dtype=torch.float64) for sides in grids]
    return block, tokens, plans


def pad_with(x: Tensor, plan: ScalePlan, value: float) -> Tensor:
    padded = torch.full((x.shape[0], *plan.layout.padded, x.shape[-1]), value, dtype=x.dtype)
    padded[:, : x.shape[1], : x.shape[2]] = x
    return padded


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_a_block_is_the_plain_one_at_any_grid(grid: tuple[int, int], window: int, stride: int) -> None:
    block, tokens, plans = block_and_inputs(grid, window, stride)
    padded = [pad_to(x, plan.layout.padded) for x, plan in zip(tokens, plans, strict=True)]
    with torch.no_grad():
        ours, plain = block(padded, plans), reference_block(block, tokens, window)
    for mine, theirs, plan in zip(ours, plain, plans, strict=True):
        torch.testing.assert_close(crop_to(mine, plan.layout.grid), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grid", [(16, 16), (17, 17), (5, 30)], ids=str)
@pytest.mark.parametrize(("reads_coarser", "reads_finer"), [(False, False), (True, False), (False, True)])
def test_a_block_with_less_communication_is_the_plain_one(
    grid: tuple[int, int], reads_coarser: bool, reads_finer: bool
) -> None:
    block, tokens, plans = block_and_inputs(grid, 4, 2, reads_coarser=reads_coarser, reads_finer=reads_finer)
    padded = [pad_to(x, plan.layout.padded) for x, plan in zip(tokens, plans, strict=True)]
    with torch.no_grad():
        ours, plain = block(padded, plans), reference_block(block, tokens, 4)
    for mine, theirs, plan in zip(ours, plain, plans, strict=True):
        torch.testing.assert_close(crop_to(mine, plan.layout.grid), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grid", [(9, 13), (16, 16), (2, 65)], ids=str)
def test_gradients_are_those_of_the_plain_block(grid: tuple[int, int]) -> None:
    block, tokens, plans = block_and_inputs(grid, 4, 2)
    leaves = [x.requires_grad_() for x in tokens]

    def gradients(run: Callable[[], list[Tensor]]) -> list[Tensor]:
        loss = sum((x.sin().sum() for x in run()), torch.zeros((), dtype=torch.float64))
        return list(torch.autograd.grad(loss, [*leaves, *block.parameters()]))

    def fast() -> list[Tensor]:
        padded = [pad_to(x, plan.layout.padded) for x, plan in zip(leaves, plans, strict=True)]
        return [crop_to(x, plan.layout.grid) for x, plan in zip(block(padded, plans), plans, strict=True)]

    for mine, theirs in zip(gradients(fast), gradients(lambda: reference_block(block, leaves, 4)), strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("grid", [(17, 17), (9, 13), (5, 30), (33, 7)], ids=str)
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_what_stands_in_the_padding_changes_nothing(grid: tuple[int, int], window: int, stride: int) -> None:
    block, tokens, plans = block_and_inputs(grid, window, stride)
    assert any(plan.layout.grid != plan.layout.padded for plan in plans)

    def run(garbage: float) -> list[Tensor]:
        x = tokens
        for _ in range(2):
            padded = [pad_with(x, plan, garbage) for x, plan in zip(x, plans, strict=True)]
            x = [crop_to(x, plan.layout.grid) for x, plan in zip(block(padded, plans), plans, strict=True)]
        return x

    with torch.no_grad():
        for clean, dirty in zip(run(0.0), run(1e30), strict=True):
            torch.testing.assert_close(dirty, clean, rtol=0, atol=0)


def test_row_major_matching_is_the_plain_one() -> None:
    block, tokens, _ = block_and_inputs((32, 16), 4, 2)
    grids = coarser_grids((32, 16), window_size=4, downsample_stride=2)
    layouts = lay_out_scales(grids, 4)
    plans, covering = (
        plan_scales(layouts, 2, reads_coarser=True, row_major=row_major, device=torch.device("cpu"))
        for row_major in (True, False)
    )
    with torch.no_grad():
        ours, other = block(tokens, plans), block(tokens, covering)
        plain = reference_block(block, tokens, 4, row_major=True)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    assert (ours[0] - other[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((128, 128), {"scale_drop": "1-1"}),
        ((131, 90), {"scale_drop": "1-1-1"}),
        ((40, 300), {"scale_drop": "2-1-1-1"}),
        ((131, 90), {"depths": (1, 2)}),
        ((131, 90), {"depths": (2,)}),
    ],
    ids=str,
)
def test_a_whole_model_is_the_plain_one(size: tuple[int, int], options: dict[str, object]) -> None:
    window, stride = (4, 4) if size == (128, 128) else (4, 2)
    model = build_atlas(
        resolution=Resolution(*size),
        num_classes=5,
        embed_dim=8,
        num_heads=2,
        window_size=window,
        downsample_stride=stride,
        **options,  # type: ignore[arg-type]
    ).model
    assert isinstance(model, Atlas)
    # The stages are what is compared: weights of a common size there, torch's own in the stem.
    model.double().eval()
    for stage in model.stages:
        for parameter in stage.parameters():
            parameter.data = parameter.data * 4 + 0.02
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        features = model.stem(x)
        tokens = [features.permute(0, 2, 3, 1)]
        for _ in range(model.num_scales - 1):
            tokens.append(plain_pool(tokens[-1], stride))
        for index, stage in enumerate(model.stages):
            tokens = tokens[1:] if index > 0 else tokens
            for block in stage.blocks:
                tokens = reference_block(block, tokens, window)
        left = torch.cat([scale.flatten(1, 2) for scale in tokens], dim=1)
        plain = model.head(model.fc_norm(model.norm(left).mean(dim=1)))
        torch.testing.assert_close(model(x), plain, rtol=1e-9, atol=1e-9)
        assert model.forward_features(x).shape == left.shape


def test_one_scale_of_one_window_is_a_plain_vision_transformer_block() -> None:
    block, (tokens,), plans = block_and_inputs((4, 4), 4, 2)
    scale = block.scales[0]
    assert isinstance(scale, ScaleBlock)
    x = (tokens + position(scale, (4, 4), (4, 4))).flatten(1, 2)
    keys, values = scale.kv(scale.norm_kv(x)).chunk(2, dim=-1)
    attended = plain_attention(scale, scale.q(scale.norm_q(x)), keys, values)
    (ours,) = block([tokens], plans)
    torch.testing.assert_close(ours.flatten(1, 2), residual_and_mlp(scale, x, attended), rtol=1e-9, atol=1e-9)
