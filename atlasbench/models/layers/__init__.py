"""Building blocks that backbones share: windows, positions, projections, attention, selective scans."""

from atlasbench.models.layers.dilated_attention import dilated_attention
from atlasbench.models.layers.selective_scan import selective_scan

__all__ = ["dilated_attention", "selective_scan"]
