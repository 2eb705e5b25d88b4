"""FasterViT's blocks: attention in windows, and between windows by way of carrier tokens.

Legend: B batch, C channels, k window side, c carriers of a window per side, M carriers of the whole map.
Source: FasterViT (arXiv:2306.06189) and its public code, which decides where the two differ.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from atlasbench.core.compat import StrEnum
from atlasbench.models.layers.carriers import raster_to_windows, spread_carriers, windows_to_raster
from atlasbench.models.layers.position import WindowPosition, window_coordinates
from atlasbench.models.layers.relative_bias import RelativeBias
from atlasbench.models.layers.transformer_block import SelfAttention, TransformerBlock


class CarrierOrder(StrEnum):
    """Which window a carrier returns to after carriers attended to each other."""

    OFFICIAL = "official"  # as the public code deals them out: wrong where windows differ in number per axis, if c > 1
    ORDERED = "ordered"  # its own


class WindowAttentionBlock(nn.Module):
    """Attention among the tokens of each window, with a position MLP and a relative bias; then an MLP.

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        window_size: k.
        mlp_ratio: Hidden width of the MLP, over C.
        drop_path_rate: Probability of dropping a residual branch of a window while training.
        layer_scale: First value of a learned factor for each channel of each residual branch; no factor when None.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.position = WindowPosition(dim)
        self.window_bias = RelativeBias(num_heads)
        self.windows = TransformerBlock(
            dim,
            SelfAttention(dim, num_heads),
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            layer_scale=layer_scale,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(windows, k*k, C) to the same."""
        x = add_position(x, self.position, self.window_size)
        return _attend(self.windows, x, self.window_bias(self.window_size, 0, x.device))


class HierarchicalAttentionBlock(nn.Module):
    """Attention among all carriers, then among the tokens and carriers of each window; an MLP after each.

    Args:
        dim: C.
        num_heads: Attention heads, of both attentions; divides C.
        window_size: k.
        carriers_per_side: c.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Probability of dropping a residual branch while training: of an image for carriers, of a window
            for its tokens.
        layer_scale: First value of a learned factor for each channel of each residual branch; no factor when None.
        has_carrier_position: Whether carriers get a position, which needs as many windows along the height as along
            the width.
        propagates: Whether tokens get the carrier over them added at the end.
        carrier_order: Which window a carrier returns to.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        carriers_per_side: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
        has_carrier_position: bool = True,
        propagates: bool = False,
        carrier_order: CarrierOrder = CarrierOrder.OFFICIAL,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.carriers_per_side = carriers_per_side
        self.propagates = propagates
        self.carrier_order = carrier_order
        self.position = WindowPosition(dim)
        self.carrier_position = WindowPosition(dim) if has_carrier_position else None
        self.window_bias = RelativeBias(num_heads)
        self.carrier_bias = RelativeBias(num_heads)
        self.windows, self.carriers = (
            TransformerBlock(
                dim,
                SelfAttention(dim, num_heads),
                mlp_ratio=mlp_ratio,
                drop_path_rate=drop_path_rate,
                layer_scale=layer_scale,
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor, carriers: Tensor, counts: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Mix tokens, inside windows and between them.

        Args:
            x: (B * windows, k*k, C) tokens, windows of one image together, all in row-major order.
            carriers: (B, M, C), M = windows * c*c, those of one window together (`CarrierPool`).
            counts: Windows along the height and along the width; equal if carriers have a position.

        Returns:
            Tokens and carriers, of the same shapes.
        """
        x = add_position(x, self.position, self.window_size)
        carriers = self._mix_carriers(carriers, counts)
        per_window = self.carriers_per_side**2
        mixed = torch.cat([carriers.reshape(-1, per_window, carriers.shape[-1]), x], dim=1)
        mixed = _attend(self.windows, mixed, self.window_bias(self.window_size, per_window, x.device))
        returned, x = mixed.split([per_window, x.shape[1]], dim=1)
        if self.propagates:
            spread = spread_carriers(returned, self.carriers_per_side, self.window_size)
            # The public code takes the factor of the carriers' attention a second time.
            x = x + (spread if self.carriers.gamma1 is None else spread * self.carriers.gamma1)
        return x, returned.reshape(carriers.shape)

    def _mix_carriers(self, carriers: Tensor, counts: tuple[int, int]) -> Tensor:
        """(B, M, C) in window order to the same, after attention among all of them."""
        raster = windows_to_raster(carriers, counts, self.carriers_per_side)
        if self.carrier_position is not None:
            raster = add_position(raster, self.carrier_position, counts[0] * self.carriers_per_side)
        num_carriers = raster.shape[1]
        # As in the public code, the bias is for a square even where their grid is none: for the last of them.
        side = math.isqrt(num_carriers)
        raster = _attend(self.carriers, raster, self.carrier_bias(side, num_carriers - side * side, raster.device))
        if self.carrier_order is CarrierOrder.OFFICIAL:
            counts = (counts[1], counts[0])
        return raster_to_windows(raster, counts, self.carriers_per_side)


def add_position(x: Tensor, position: WindowPosition, side: int) -> Tensor:
    """Add to every token of a square its position: (..., side * side, C) to the same."""
    added: Tensor = x + position(window_coordinates(side, side, x.device)).flatten(0, 1)
    return added


def _attend(block: TransformerBlock, x: Tensor, bias: Tensor) -> Tensor:
    """A block with a bias that has its keys last to first: what is smaller is turned around, it or keys and values."""
    keys_reversed = bias.numel() > 2 * x.numel()
    out: Tensor = block(x, bias if keys_reversed else bias.flip(-1), keys_reversed)
    return out
