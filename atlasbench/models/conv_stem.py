"""The convolutional stem of Atlas.

Legend: B batch, C channels of the model, H W height and width of the image in pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.layers.convolution import STEM_BATCH_NORM_EPS, Downsample, ResidualConvBlock, halving_conv

_WIDTH = 64  # channels after the first convolution, in every model size
_RESIDUAL_BLOCKS = 3


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
        self.conv1 = halving_conv(in_chans, _WIDTH)
        self.norm1 = nn.BatchNorm2d(_WIDTH, eps=STEM_BATCH_NORM_EPS)
        self.act = nn.ReLU()
        self.conv2 = halving_conv(_WIDTH, dim if patch_size == 4 else quarter)
        if patch_size > 4:
            self.norm2 = nn.BatchNorm2d(quarter, eps=STEM_BATCH_NORM_EPS)
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
