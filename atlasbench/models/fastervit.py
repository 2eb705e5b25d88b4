"""FasterViT: two levels of convolutions, then two of attention in windows, which carrier tokens connect.

Legend: B batch, C channels of the last level, H W height and width of the image in pixels.
Source: "FasterViT: Fast Vision Transformers with Hierarchical Attention" (arXiv:2306.06189) and its public code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.models.backbone import Backbone, drop_path_rates
from atlasbench.models.built import BuiltModel
from atlasbench.models.fastervit_layout import (
    Carriers,
    LevelLayout,
    describe_layouts,
    lay_out_levels,
    order_matters,
)
from atlasbench.models.fastervit_level import ConvLevel, WindowLevel
from atlasbench.models.fastervit_names import translate_fastervit_names
from atlasbench.models.fastervit_options import FasterViTOptions, read_hat
from atlasbench.models.hybrid_options import FIRST_WINDOW_LEVEL, NUM_LEVELS, read_levels
from atlasbench.models.layers.convolution import ChannelNorm, QuarterStem
from atlasbench.models.layers.hierarchical_attention import CarrierOrder
from atlasbench.models.option_values import check_whole_numbers, read_word


class FasterViT(Backbone):
    """FasterViT backbone and classifier; takes every image size that needs the parameters it was built with.

    Args:
        options: Everything that shapes the model, apart from the size.
        resolution: Image size; decides which levels have carriers, and whether those have positions.
        num_classes: Length of the logits; 0 for features.
        in_chans: Channels of the image.
    """

    def __init__(
        self, options: FasterViTOptions, resolution: Resolution, *, num_classes: int = 1000, in_chans: int = 3
    ) -> None:
        super().__init__(num_features=options.width(NUM_LEVELS - 1), num_classes=num_classes)
        self.options = options
        layouts = lay_out_levels(options, resolution.height, resolution.width)
        self.carriers = {layout.level: layout.carriers for layout in layouts}
        self.patch_embed = QuarterStem(in_chans, options.in_dim, options.dim)
        rates = iter(drop_path_rates(options.drop_path_rate, sum(options.depths)))
        self.levels = nn.ModuleList(
            self._make_level(level, [next(rates) for _ in range(depth)]) for level, depth in enumerate(options.depths)
        )
        self.norm = ChannelNorm(self.num_features) if options.layer_norm_last else nn.BatchNorm2d(self.num_features)
        self.head = self.make_head()
        self.apply(self.init_layer)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) images to the normalised (B, C, ceil(H/32), ceil(W/32)) map of the last level.

        Raises:
            InvalidWorkloadError: If the image needs other parameters than the model has.
        """
        # A range makes torch.compile take the size as a constant: windows of an unknown size never finish compiling.
        layouts = self._lay_out(len(range(x.shape[-2])), len(range(x.shape[-1])))
        x = self.patch_embed(x)
        for level in self.levels[:FIRST_WINDOW_LEVEL]:
            x = level(x, self.run_block)
        for level, layout in zip(self.levels[FIRST_WINDOW_LEVEL:], layouts, strict=True):
            x = level(x, layout, self.run_block)
        out: Tensor = self.norm(x)
        return out

    def pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of `forward_features` to its mean (B, C)."""
        return x.mean(dim=(2, 3))

    def translate_official_names(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Official names to ours; see `atlasbench.models.checkpoints`."""
        levels = self.carriers.items()
        return translate_fastervit_names(
            state,
            without_positions={f"levels.{level}" for level, has in levels if has is Carriers.UNPOSITIONED},
            without_carriers={
                f"levels.{level}" for level, has in levels if has is Carriers.NONE and self.options.hat[level]
            },
        )

    def _make_level(self, level: int, rates: Sequence[float]) -> nn.Module:
        if level < FIRST_WINDOW_LEVEL:
            return ConvLevel(self.options, level, rates)
        return WindowLevel(self.options, level, self.carriers[level], rates)

    def _lay_out(self, height: int, width: int) -> tuple[LevelLayout, ...]:
        layouts = lay_out_levels(self.options, height, width)
        for layout in layouts:
            has = self.carriers[layout.level]
            if layout.carriers is not has:
                raise InvalidWorkloadError(
                    f"This FasterViT has {has} in level {layout.level}, but an image of {Resolution(height, width)} px "
                    f"needs {layout.carriers}: build it with that resolution."
                )
        return layouts


def build_fastervit(
    *,
    resolution: Resolution,
    num_classes: int = 1000,
    dim: int = 64,
    in_dim: int = 64,
    depths: Sequence[int] = (2, 3, 6, 5),
    num_heads: Sequence[int] = (2, 4, 8, 16),
    window_size: Sequence[int] = (7, 7, 7, 7),
    ct_size: int = 2,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.2,
    layer_scale: float | None = None,
    layer_scale_conv: float | None = None,
    layer_norm_last: bool = False,
    do_propagation: bool = False,
    hat: Sequence[bool] = (False, False, True, False),
    carrier_order: str = "official",
    in_chans: int = 3,
) -> BuiltModel:
    """Build a FasterViT for one resolution; it also takes every other size that needs the same parameters.

    Args:
        resolution: Image size, in pixels. Where windows do not fit, feature maps are padded as in the official family
            for any resolution; where they do, the two official families are the same.
        num_classes: Length of the logits; 0 for features.
        dim: Channels of the first level; doubled after every level but the last.
        in_dim: Channels inside the stem.
        depths: Blocks of the four levels.
        num_heads: Attention heads of the four levels; those of the first two are not used, as in the official code.
        window_size: Side of the windows of the four levels, in tokens; the first two are not used either.
        ct_size: Carriers of a window, per side.
        mlp_ratio: Hidden width of the MLPs, over the channels.
        drop_path_rate: Highest drop path.
        layer_scale: First value of the factors on the residual branches of the last two levels; none when None.
        layer_scale_conv: The same for the first two levels.
        layer_norm_last: Whether the last norm is a LayerNorm over channels and not a BatchNorm.
        do_propagation: Whether the last block of a level with carriers adds them to their tokens.
        hat: Which of the four levels have carriers, if they have more than one window; the first two are not used.
        carrier_order: `official`, or `ordered` where the official code returns carriers to windows that are not
            theirs: with other numbers of windows along the height than along the width, and `ct_size` above 1.
        in_chans: Channels of the image.

    Raises:
        InvalidOptionError: If an option has a value that no FasterViT has.
    """
    check_whole_numbers(num_classes=num_classes)
    check_whole_numbers(at_least=1, in_chans=in_chans)
    options = FasterViTOptions(
        dim=dim,
        in_dim=in_dim,
        depths=read_levels("depths", depths),
        num_heads=read_levels("num_heads", num_heads),
        window_size=read_levels("window_size", window_size),
        ct_size=ct_size,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        layer_scale=layer_scale,
        layer_scale_conv=layer_scale_conv,
        layer_norm_last=layer_norm_last,
        do_propagation=do_propagation,
        hat=read_hat(hat),
        carrier_order=read_word(CarrierOrder, "carrier_order", carrier_order),
    )
    layouts = lay_out_levels(options, resolution.height, resolution.width)
    model = FasterViT(options, resolution, num_classes=num_classes, in_chans=in_chans)
    return BuiltModel(
        model=model,
        notes=describe_layouts(options, layouts),
        unused=frozenset() if order_matters(options, layouts) else frozenset({"carrier_order"}),
    )
