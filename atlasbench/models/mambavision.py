"""MambaVision: two levels of convolutions, then two of windows with selective scans first and attention after.

Legend: B batch, C channels of the last level, H W height and width of the image in pixels.
Source: "MambaVision: A Hybrid Mamba-Transformer Vision Backbone" (arXiv:2407.08083).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from atlasbench.core.resolution import Resolution
from atlasbench.models.backbone import Backbone, drop_path_rates
from atlasbench.models.built import BuiltModel
from atlasbench.models.hybrid_options import FIRST_WINDOW_LEVEL, NUM_LEVELS, read_levels
from atlasbench.models.layers.convolution import QuarterStem
from atlasbench.models.mambavision_level import MambaVisionLevel
from atlasbench.models.mambavision_names import translate_mambavision_names
from atlasbench.models.mambavision_options import MambaVisionOptions
from atlasbench.models.mambavision_windows import describe_windows, lay_out_levels
from atlasbench.models.option_values import check_whole_numbers


class MambaVision(Backbone):
    """MambaVision backbone and classifier; takes every image size.

    Args:
        options: Everything that shapes the model.
        num_classes: Length of the logits; 0 for features.
        in_chans: Channels of the image.
    """

    def __init__(self, options: MambaVisionOptions, *, num_classes: int = 1000, in_chans: int = 3) -> None:
        super().__init__(num_features=options.width(NUM_LEVELS - 1), num_classes=num_classes)
        self.options = options
        self.patch_embed = QuarterStem(in_chans, options.in_dim, options.dim)
        rates = iter(drop_path_rates(options.drop_path_rate, sum(options.depths)))
        self.levels = nn.ModuleList(
            MambaVisionLevel(options, level, [next(rates) for _ in range(depth)])
            for level, depth in enumerate(options.depths)
        )
        self.norm = nn.BatchNorm2d(self.num_features)
        self.head = self.make_head()
        self.apply(self.init_layer)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) images to the normalised (B, C, ceil(H/32), ceil(W/32)) map of the last level."""
        # A range makes torch.compile take the size as a constant: it fails on windows of an unknown size.
        layouts = lay_out_levels(self.options, len(range(x.shape[-2])), len(range(x.shape[-1])))
        x = self.patch_embed(x)
        for level, layout in zip(self.levels, (*[None] * FIRST_WINDOW_LEVEL, *layouts), strict=True):
            x = level(x, layout, self.run_block)
        out: Tensor = self.norm(x)
        return out

    def pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of `forward_features` to its mean (B, C)."""
        return x.mean(dim=(2, 3))

    @staticmethod
    def translate_official_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Official names to ours; see `atlasbench.models.checkpoints`."""
        return translate_mambavision_names(state)


def build_mambavision(
    *,
    resolution: Resolution,
    num_classes: int = 1000,
    dim: int = 80,
    in_dim: int = 32,
    depths: Sequence[int] = (1, 3, 8, 4),
    num_heads: Sequence[int] = (2, 4, 8, 16),
    window_size: Sequence[int] = (8, 8, 14, 7),
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.2,
    layer_scale: float | None = None,
    layer_scale_conv: float | None = None,
    global_window: bool = False,
    in_chans: int = 3,
) -> BuiltModel:
    """Build a MambaVision; no size is stored, `resolution` only decides the notes.

    Args:
        resolution: Image size, in pixels.
        num_classes: Length of the logits; 0 for features.
        dim: Channels of the first level; doubled after every level but the last.
        in_dim: Channels inside the stem.
        depths: Blocks of the four levels.
        num_heads: Attention heads of the four levels; those of the first two are not used, as in the official code.
        window_size: Side of the windows of the four levels, in tokens; the first two are not used either.
        mlp_ratio: Hidden width of the MLPs, over the channels.
        drop_path_rate: Highest drop path.
        layer_scale: First value of the factors on the residual branches of the last two levels; none when None.
        layer_scale_conv: The same for the first two levels.
        global_window: Make one window of the whole feature map, whatever its size and shape (ours); `window_size` is
            then not used.
        in_chans: Channels of the image.

    Raises:
        InvalidOptionError: If an option has a value that no MambaVision has.
    """
    check_whole_numbers(num_classes=num_classes)
    check_whole_numbers(at_least=1, in_chans=in_chans)
    options = MambaVisionOptions(
        dim=dim,
        in_dim=in_dim,
        depths=read_levels("depths", depths),
        num_heads=read_levels("num_heads", num_heads),
        window_size=read_levels("window_size", window_size),
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        layer_scale=layer_scale,
        layer_scale_conv=layer_scale_conv,
        global_window=global_window,
    )
    model = MambaVision(options, num_classes=num_classes, in_chans=in_chans)
    return BuiltModel(model=model, notes=describe_windows(options, resolution))
