"""Windows against slow, plain statements of them: loops over tokens, no rolling, no partition, no index tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atlasbench.models.layers.shifted_windows import NOT_NEIGHBOURS, ShiftedWindowAttention
from atlasbench.models.layers.window_attention import cut_windows, join_windows, lay_out_full_windows, lay_out_windows

DIM, HEADS = 8, 2
GRIDS = [(8, 8), (4, 10), (6, 3), (9, 6), (3, 3), (1, 10)]


def plain_shifted_attention(module: ShiftedWindowAttention, x: Tensor) -> Tensor:
    """Every token by itself: which tokens share its shifted window, and which of them are its neighbours."""
    k, (B, H, W, C) = module.window_size, x.shape
    window = min(k, H), min(k, W)
    padded = tuple(-(-side // w) * w for side, w in zip((H, W), window, strict=True))
    shift = tuple(w // 2 if module.shifted and side > w else 0 for side, w in zip(padded, window, strict=True))
    tokens = [(y, z) for y in range(padded[0]) for z in range(padded[1])]
    zero = x.new_zeros(B, C)
    table = module.relative_position_bias_table
    qkv = {
        (y, z): module.attn.qkv(x[:, y, z] if y < H and z < W else zero).view(B, 3, HEADS, C // HEADS)
        for y, z in tokens
    }

    def moved(token: tuple[int, int]) -> tuple[int, int]:
        """Where a token lies once the grid is shifted."""
        return (token[0] - shift[0]) % padded[0], (token[1] - shift[1]) % padded[1]

    out = torch.zeros_like(x)
    for query in tokens:
        if query[0] >= H or query[1] >= W:
            continue
        place = moved(query)
        scores, values = [], []
        for key in tokens:
            other = moved(key)
            if any(a // w != b // w for a, b, w in zip(place, other, window, strict=True)):
                continue
            row, column = (a - b + k - 1 for a, b in zip(place, other, strict=True))
            score = (qkv[query][:, 0] * qkv[key][:, 1]).sum(-1) / (C // HEADS) ** 0.5
            score = score + table[row * (2 * k - 1) + column]
            # Tokens that the circle brought together are further apart on the map than in the window.
            if any(a - b != c - d for a, b, c, d in zip(query, key, place, other, strict=True)):
                score = score + NOT_NEIGHBOURS
            scores.append(score)
            values.append(qkv[key][:, 2])
        weights = torch.stack(scores).softmax(0)  # (keys, B, heads)
        mixed = (weights.unsqueeze(-1) * torch.stack(values)).sum(0)
        out[:, query[0], query[1]] = module.attn.proj(mixed.reshape(B, C))
    return out


def shifted_attention(window_size: int, *, shifted: bool) -> ShiftedWindowAttention:
    generator = torch.Generator().manual_seed(1)
    module = ShiftedWindowAttention(DIM, HEADS, window_size, shifted=shifted).double()
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
    return module


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("shifted", [False, True])
def test_shifted_windows_and_their_gradients_are_the_plain_ones(grid: tuple[int, int], shifted: bool) -> None:
    module = shifted_attention(4, shifted=shifted)
    x = torch.randn(2, *grid, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ours, plain = module(x), plain_shifted_attention(module, x)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    leaves = [x, *module.parameters()]
    mine, theirs = (torch.autograd.grad(out.sin().sum(), leaves) for out in (ours, plain))
    for gradient, expected in zip(mine, theirs, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


def test_odd_windows_shift_by_half_rounded_down() -> None:
    module = shifted_attention(3, shifted=True)
    x = torch.randn(1, 9, 7, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x), plain_shifted_attention(module, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("shifted", "reached"), [(False, range(4, 8)), (True, range(2, 6))])
def test_a_shift_moves_what_a_token_reaches(shifted: bool, reached: range) -> None:
    module = shifted_attention(4, shifted=shifted)
    x = torch.randn(1, 12, 12, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 5, 5] += 1
    difference = (module(x) - module(changed)).abs().amax(-1)[0]
    rows, columns = (set(axis.tolist()) for axis in (difference > 1e-12).nonzero(as_tuple=True))
    assert rows == columns == set(reached)


@pytest.mark.parametrize("grid", [(8, 8), (9, 5), (1, 6), (3, 3)], ids=str)
@pytest.mark.parametrize("lay_out", [lay_out_windows, lay_out_full_windows])
def test_windows_hold_neighbours_and_join_to_what_was_cut(grid: tuple[int, int], lay_out) -> None:
    x = torch.arange(2 * grid[0] * grid[1]).view(2, *grid, 1) + 1.0
    layout = lay_out(x, 4)
    windows = cut_windows(x, layout)
    height, width = layout.window
    assert windows.shape == (2 * layout.num_windows, height * width, 1)
    torch.testing.assert_close(windows[0].view(height, width)[: grid[0], : grid[1]], x[0, :height, :width, 0])
    assert torch.equal(join_windows(windows, layout), x)


def test_windows_of_full_size_stay_so_on_small_grids() -> None:
    x = torch.ones(1, 3, 6, 1)
    assert lay_out_windows(x, 4).window == (3, 4)
    assert lay_out_full_windows(x, 4).window == (4, 4)
    assert lay_out_full_windows(x, 4).padded == (4, 8)
