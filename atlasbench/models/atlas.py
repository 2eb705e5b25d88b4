"""Atlas: a convolutional stem, then stages of Multi-Scale Attention that drop their finest scale one by one.

Legend: B batch, N tokens, C channels, L scales, D = {d_1..d_L} blocks per stage (the scale drop), H W height and
width of the image in pixels.
Source: "Atlas: Multi-Scale Attention Improves Long Context Image Modeling", Algorithm 2 (arXiv:2503.12355).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import Grid, format_scale_drop, token_grids
from atlasbench.models.atlas_depths import choose_depths
from atlasbench.models.atlas_names import translate_atlas_names
from atlasbench.models.atlas_options import (
    AtlasOptions,
    Communication,
    Composition,
    WindowMatching,
    describe_choices,
)
from atlasbench.models.atlas_stage import AtlasStage
from atlasbench.models.backbone import Backbone
from atlasbench.models.built import BuiltModel
from atlasbench.models.conv_stem import ConvStem, check_patch_size
from atlasbench.models.layers.multiscale_attention import max_pool
from atlasbench.models.layers.multiscale_plan import ScalePlan, check_row_major, plan_scales
from atlasbench.models.layers.scale_layout import lay_out_scales
from atlasbench.models.layers.windows import crop_to, pad_to
from atlasbench.models.option_values import check_whole_numbers, read_word


class Atlas(Backbone):
    """Atlas backbone and classifier; takes every image size that has the number of scales it was built for.

    Args:
        options: Everything that shapes the model.
        num_scales: L, at the sizes the model is for.
        num_classes: Length of the logits; 0 for features.
        in_chans: Channels of the image.
    """

    def __init__(self, options: AtlasOptions, num_scales: int, *, num_classes: int = 100, in_chans: int = 3) -> None:
        super().__init__(num_features=options.embed_dim, num_classes=num_classes)
        self.options = options
        self.num_scales = num_scales
        self.embed_dim = options.embed_dim
        self.stem = ConvStem(in_chans, options.embed_dim, options.patch_size)
        by_convolution = options.composition is Composition.CONV
        self.stages = nn.ModuleList(
            AtlasStage(options, depth, num_scales - stage)
            if not by_convolution
            else AtlasStage(options, depth, 1, downsample=stage > 0)
            for stage, depth in enumerate(options.depths)
        )
        self.norm = nn.LayerNorm(options.embed_dim)
        self.fc_norm = nn.LayerNorm(options.embed_dim)
        self.head = self.make_head()
        self.apply(self.init_layer)

    @property
    def scale_drop(self) -> str:
        """Blocks per stage as `2-10`, `none` where no scale is ever dropped, empty for composition `conv`."""
        depths = self.options.depths
        if self.options.composition is Composition.CONV:
            return ""
        return "none" if len(depths) == 1 < self.num_scales else format_scale_drop(depths)

    def forward_features(self, x: Tensor) -> Tensor:
        """Tokens of all scales that are left after the last stage, normalised, without padding.

        Args:
            x: (B, in_chans, H, W) images.

        Returns:
            (B, N, C): scales one after the other, finest first, each in row-major order.

        Raises:
            InvalidWorkloadError: If the image has another number of scales than the model.
        """
        # A range makes torch.compile take the size as a constant: windows of an unknown size never finish compiling.
        self._check_size(len(range(x.shape[-2])), len(range(x.shape[-1])))
        features = self.stem(x)
        if self.options.composition is Composition.CONV:
            tokens = self._run_halving(features)
        else:
            tokens = self._run_dropping(features)
        out: Tensor = self.norm(torch.cat([scale.flatten(1, 2) for scale in tokens], dim=1))
        return out

    def pool(self, x: Tensor) -> Tensor:
        """(B, N, C) of `forward_features` to (B, C): the mean, then its norm."""
        pooled: Tensor = self.fc_norm(x.mean(dim=1))
        return pooled

    @staticmethod
    def translate_official_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Official names to ours; see `atlasbench.models.checkpoints`."""
        return translate_atlas_names(state)

    def _check_size(self, height: int, width: int) -> None:
        options = self.options
        grids = token_grids(
            Resolution(height, width),
            patch_size=options.patch_size,
            window_size=options.window_size,
            downsample_stride=options.downsample_stride,
        )
        if options.composition is not Composition.CONV and len(grids) != self.num_scales:
            raise InvalidWorkloadError(
                f"This Atlas has {self.num_scales} scales, but an image of {Resolution(height, width)} px "
                f"has {len(grids)}: build it with that resolution."
            )

    def _run_dropping(self, features: Tensor) -> list[Tensor]:
        """Stage i on scales i to L: (B, C, H, W) of the stem to the real (B, H, W, C) of the scales left."""
        options = self.options
        tokens = [features.permute(0, 2, 3, 1).contiguous()]
        for _ in range(self.num_scales - 1):
            tokens.append(max_pool(tokens[-1], options.downsample_stride))
        plans = self._plan([_grid(scale) for scale in tokens], features.device)
        tokens = [pad_to(scale, plan.layout.padded) for scale, plan in zip(tokens, plans, strict=True)]
        for stage in cast("list[AtlasStage]", list(self.stages)):
            plans = plans[-stage.num_scales :]
            tokens = stage(tokens[-stage.num_scales :], plans, self.run_block)
        return [crop_to(scale, plan.layout.grid) for scale, plan in zip(tokens, plans, strict=True)]

    def _run_halving(self, features: Tensor) -> list[Tensor]:
        """One scale of windows, halved between stages: (B, C, H, W) of the stem to the last (B, H, W, C)."""
        for stage in cast("list[AtlasStage]", list(self.stages)):
            if stage.downsample is not None:
                features = stage.downsample(features)
            tokens = features.permute(0, 2, 3, 1).contiguous()
            plans = self._plan([_grid(tokens)], features.device)
            (tokens,) = stage([pad_to(tokens, plans[0].layout.padded)], plans, self.run_block)
            features = crop_to(tokens, plans[0].layout.grid).permute(0, 3, 1, 2)
        return [features.permute(0, 2, 3, 1)]

    def _plan(self, grids: Sequence[Grid], device: torch.device) -> tuple[ScalePlan, ...]:
        return plan_scales(
            lay_out_scales(grids, self.options.window_size),
            self.options.downsample_stride,
            reads_coarser=self.options.communication.reads_coarser,
            row_major=self.options.window_matching is WindowMatching.ROW_MAJOR,
            device=device,
        )


def _grid(tokens: Tensor) -> Grid:
    return tokens.shape[1], tokens.shape[2]


def build_atlas(
    *,
    resolution: Resolution,
    num_classes: int = 100,
    embed_dim: int = 384,
    num_heads: int = 6,
    scale_drop: str | Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    patch_size: int = 16,
    window_size: int = 16,
    downsample_stride: int = 4,
    mlp_ratio: float = 4.0,
    communication: str = "both",
    composition: str = "drop",
    window_matching: str = "covering",
    drop_path_rate: float = 0.0,
    in_chans: int = 3,
) -> BuiltModel:
    """Build an Atlas for one resolution; it also takes every other size with the same number of scales.

    Args:
        resolution: Image size, in pixels.
        num_classes: Length of the logits; 0 for features.
        embed_dim: C.
        num_heads: Attention heads; divides C.
        scale_drop: Blocks per stage, one entry for each scale (`"2-10"` or `(2, 10)`), or `"none"`.
        depths: Blocks per stage, in place of `scale_drop`; fewer entries than scales stop dropping early. Without
            either, two blocks for each scale but the last and 12 in all.
        patch_size: 4, 8 or 16.
        window_size: k, in tokens; a multiple of the stride.
        downsample_stride: s, pooling stride between scales, per axis.
        mlp_ratio: Hidden width of the MLPs, over C.
        communication: `none`, `bottom_up`, `top_down` or `both`.
        composition: `drop`, `stack` (all scales in every block) or `conv` (one scale, halved between stages).
        window_matching: `covering`, or `row_major` for weights trained with the public code.
        drop_path_rate: Highest drop path of each stage.
        in_chans: Channels of the image.

    Raises:
        ScaleDropError: If the scale drop does not fit the number of scales.
        InvalidOptionError: If an option has a value that no Atlas has.
        InvalidWorkloadError: If the image is smaller than a patch.
        UnsupportedError: If `row_major` is not defined at this resolution.
    """
    check_whole_numbers(
        num_classes=num_classes,
        patch_size=patch_size,
        window_size=window_size,
        downsample_stride=downsample_stride,
    )
    check_patch_size(patch_size)
    grids = token_grids(resolution, patch_size=patch_size, window_size=window_size, downsample_stride=downsample_stride)
    composition_word, blocks = choose_depths(
        read_word(Composition, "composition", composition),
        scale_drop,
        depths,
        len(grids),
        f"Atlas at {resolution} px",
    )
    options = AtlasOptions(
        embed_dim=embed_dim,
        num_heads=num_heads,
        depths=blocks,
        patch_size=patch_size,
        window_size=window_size,
        downsample_stride=downsample_stride,
        mlp_ratio=mlp_ratio,
        communication=read_word(Communication, "communication", communication),
        composition=composition_word,
        window_matching=read_word(WindowMatching, "window_matching", window_matching),
        drop_path_rate=drop_path_rate,
    )
    if options.window_matching is WindowMatching.ROW_MAJOR and options.communication.reads_coarser:
        check_row_major(lay_out_scales(grids, window_size))
    model = Atlas(options, len(grids), num_classes=num_classes, in_chans=in_chans)
    is_default = scale_drop is None and depths is None
    return BuiltModel(model=model, notes=describe_choices(options, grids, is_default))
