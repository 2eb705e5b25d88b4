"""Feature maps (B, H, W, C) to windows for attention and back: one permute each way, heads included.

Legend: B batch, H W height and width in tokens, C channels, d channels of a head, w tokens of a window.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def split_query_windows(x: Tensor, window: tuple[int, int], num_heads: int) -> Tensor:
    """Cut queries into windows, in row-major order, and heads.

    Args:
        x: (B, H, W, C); H and W are multiples of the window's sides.
        window: Window height and width, in tokens.
        num_heads: Heads; divides C.

    Returns:
        (B * windows, heads, w, d).
    """
    B, H, W, C = x.shape
    height, width = window
    x = x.view(B, H // height, height, W // width, width, num_heads, C // num_heads)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, num_heads, height * width, C // num_heads)


def merge_query_windows(x: Tensor, window: tuple[int, int], counts: tuple[int, int]) -> Tensor:
    """Undo `split_query_windows`.

    Args:
        x: (B * windows, heads, w, d).
        window: Window height and width, in tokens.
        counts: Windows along the height and along the width.

    Returns:
        (B, H, W, C).
    """
    _, num_heads, _, head_dim = x.shape
    height, width = window
    rows, columns = counts
    x = x.view(-1, rows, columns, num_heads, height, width, head_dim)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, rows * height, columns * width, num_heads * head_dim)


def split_key_value_windows(kv: Tensor, window: tuple[int, int], num_heads: int) -> Tensor:
    """Cut keys and values, projected together, into windows, in row-major order, and heads.

    Args:
        kv: (B, H, W, 2C), keys first; H and W are multiples of the window's sides.
        window: Window height and width, in tokens.
        num_heads: Heads; divides C.

    Returns:
        (2, B, windows, heads, w, d).
    """
    B, H, W, _ = kv.shape
    height, width = window
    head_dim = kv.shape[-1] // (2 * num_heads)
    kv = kv.view(B, H // height, height, W // width, width, 2, num_heads, head_dim)
    return kv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(2, B, -1, num_heads, height * width, head_dim)


def pad_to(x: Tensor, padded: tuple[int, int]) -> Tensor:
    """Pad (B, H, W, C) right and bottom with zeros to `padded` height and width."""
    missing_rows, missing_columns = padded[0] - x.shape[1], padded[1] - x.shape[2]
    if missing_rows == 0 and missing_columns == 0:
        return x
    return F.pad(x, (0, 0, 0, missing_columns, 0, missing_rows))


def crop_to(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Undo `pad_to`: (B, H, W, C) to the first `grid` height and width."""
    return x[:, : grid[0], : grid[1]]
