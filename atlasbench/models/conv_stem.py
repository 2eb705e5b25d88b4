"""The convolutional stem of Atlas (as FasterViT's), and the downsampling that it is made of.

Legend: B batch, C channels of the model, H W height and width of the image in pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from atlasbench.core.errors import InvalidOptionError

_WIDTH = 64  # channels after the first convolution, in every model size
_RESIDUAL_BLOCKS = 3
_STEM_BATCH_NORM_EPS = 1e-4


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, H, W) feature map."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Downsample(nn.Module):
    """Halve a feature map: LayerNorm over channels, then a 3x3 convolution of stride 2 without bias."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.conv = _halving_conv(dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) to (B, out_dim, ceil(H/2), ceil(W/2))."""
        out: Tensor = self.conv(self.norm(x))
        return out


class ResidualConvBlock(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm, and a GELU between; added to the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(dim)
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) to the same."""
        out: Tensor = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return x + out


class ConvStem(nn.Module):
    """Image to tokens through log2(patch) convolutions of stride 2.

    Patch 16 is the paper's: 3 -> 64 -> C/4, residual blocks, -> C/2, residual blocks, -> C. For patch 8 and 4,
    which the paper uses in its tables without a description, ours is the same stem cut after 3 or 2 of these
    convolutions, the last widened to C.

    Args:
        in_chans: Channels of the image.
        dim: C, a multiple of 4.
        patch_size: 4, 8 or 16.

    Raises:
        InvalidOptionError: If there is no such stem.

    Source: Atlas (arXiv:2503.12355); FasterViT (arXiv:2306.06189).
    """

    flops_part = "stem"

    def __init__(self, in_chans: int, dim: int, patch_size: int = 16) -> None:
        super().__init__()
        check_patch_size(patch_size)
        if dim % 4:
            raise InvalidOptionError(f"embed_dim must be a multiple of 4, got {dim}.")
        quarter, half = dim // 4, dim // 2
        self.conv1 = _halving_conv(in_chans, _WIDTH)
        self.norm1 = nn.BatchNorm2d(_WIDTH, eps=_STEM_BATCH_NORM_EPS)
        self.act = nn.ReLU()
        self.conv2 = _halving_conv(_WIDTH, dim if patch_size == 4 else quarter)
        if patch_size > 4:
            self.norm2 = nn.BatchNorm2d(quarter, eps=_STEM_BATCH_NORM_EPS)
            self.residual1 = _residual_blocks(quarter)
            self.down1 = Downsample(quarter, dim if patch_size == 8 else half)
        if patch_size > 8:
            self.residual2 = _residual_blocks(half)
            self.down2 = Downsample(half, dim)
        self.patch_size = patch_size

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to (B, C, ceil(H/patch), ceil(W/patch))."""
        x = self.conv2(self.act(self.norm1(self.conv1(x))))
        if self.patch_size > 4:
            x = self.down1(self.residual1(self.act(self.norm2(x))))
        if self.patch_size > 8:
            x = self.down2(self.residual2(x))
        return x


def check_patch_size(patch_size: int) -> None:
    """Refuse a patch that no stem has.

    Raises:
        InvalidOptionError: If it is not 4, 8 or 16.
    """
    if patch_size not in (4, 8, 16):
        raise InvalidOptionError(f"patch_size must be 4, 8 or 16, got {patch_size}.")


def _residual_blocks(dim: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualConvBlock(dim) for _ in range(_RESIDUAL_BLOCKS)))


def _halving_conv(dim: int, out_dim: int) -> nn.Conv2d:
    return nn.Conv2d(dim, out_dim, 3, stride=2, padding=1, bias=False)
