"""Convolutional parts that FasterViT, MambaVision and the stem of Atlas share.

Legend: B batch, C channels, H W height and width of a feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlasbench.models.layers.drop_path import DropPath

STEM_BATCH_NORM_EPS = 1e-4


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, H, W) feature map."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def halving_conv(dim: int, out_dim: int) -> nn.Conv2d:
    """3x3 convolution of stride 2 without bias: (B, dim, H, W) to (B, out_dim, ceil(H/2), ceil(W/2))."""
    return nn.Conv2d(dim, out_dim, 3, stride=2, padding=1, bias=False)


class QuarterStem(nn.Module):
    """Image to a feature map of a quarter of its sides: twice a halving convolution, BatchNorm and ReLU.

    Args:
        in_chans: Channels of the image.
        hidden_dim: Channels between the convolutions.
        dim: Channels of the feature map.

    Source: FasterViT (arXiv:2306.06189), MambaVision (arXiv:2407.08083).
    """

    flops_part = "stem"

    def __init__(self, in_chans: int, hidden_dim: int, dim: int) -> None:
        super().__init__()
        self.conv1 = halving_conv(in_chans, hidden_dim)
        self.norm1 = nn.BatchNorm2d(hidden_dim, eps=STEM_BATCH_NORM_EPS)
        self.act = nn.ReLU()
        self.conv2 = halving_conv(hidden_dim, dim)
        self.norm2 = nn.BatchNorm2d(dim, eps=STEM_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to (B, dim, ceil(ceil(H/2)/2), ceil(ceil(W/2)/2))."""
        x = self.act(self.norm1(self.conv1(x)))
        out: Tensor = self.act(self.norm2(self.conv2(x)))
        return out


class ResidualConvBlock(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm, and a GELU between; added to the input.

    Args:
        dim: C.
        drop_path_rate: Probability of dropping the residual branch of a sample while training.
        layer_scale: First value of a learned factor for each channel of the residual branch; no factor when None.
        gelu: `none` for the exact GELU, `tanh` for its approximation.
    """

    gamma: nn.Parameter | None

    def __init__(
        self, dim: int, *, drop_path_rate: float = 0.0, layer_scale: float | None = None, gelu: str = "none"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(dim)
        self.act = nn.GELU(approximate=gelu)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(dim)
        self.gamma = None if layer_scale is None else nn.Parameter(layer_scale * torch.ones(dim))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        residual = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        if self.gamma is not None:
            residual = residual * self.gamma[:, None, None]
        out: Tensor = x + self.drop_path(residual)
        return out


class Downsample(nn.Module):
    """Halve a feature map: LayerNorm over channels where asked for, then a 3x3 convolution of stride 2 without bias.

    Args:
        dim: Channels that come in.
        out_dim: Channels that go out.
        norm: Whether the LayerNorm is there.
    """

    def __init__(self, dim: int, out_dim: int, *, norm: bool = True) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim) if norm else nn.Identity()
        self.conv = halving_conv(dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) to (B, out_dim, ceil(H/2), ceil(W/2))."""
        out: Tensor = self.conv(self.norm(x))
        return out
