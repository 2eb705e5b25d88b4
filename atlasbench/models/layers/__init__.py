"""Building blocks that backbones share: windows, positions, projections, attention."""
