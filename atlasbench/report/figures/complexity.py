"""FLOPs against the size of the image, with growth laws to hold them against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlasbench.analysis.exponent import Exponent
from atlasbench.analysis.guides import STRIDE_PRODUCT, WINDOW_TOKENS, Guide, fit_pixel_exponent, growth_guides
from atlasbench.analysis.panels import Panel, split_counts
from atlasbench.analysis.points import Curve, Reader, read_attention_flops, read_curves, read_flops
from atlasbench.report.figures.axes import set_log_axis, set_size_axis, values_of, write_quantity
from atlasbench.report.figures.canvas import new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import draw_curves, explain_uncounted, finish_names, key_of, label_curves
from atlasbench.report.figures.labels import EndLabel, add_end_labels, panel_height
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Palette, Theme

_EXPLAIN_GROWTH = (
    " Number beside a name: p of FLOPs ~ pixels^p, fitted to all sizes. Grey: growth laws in the tokens N from the "
    f"lowest first point on, K = {WINDOW_TOKENS}, S = {STRIDE_PRODUCT}."
)
_EXPLAIN_SLOPE = " A line as steep as N is linear in the number of tokens, one as steep as N² quadratic."


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexityPanel:
    """One quantity.

    Attributes:
        title: What is counted.
        curves: One for each model.
        exponents: One for each curve; None where a single size gives none.
        guides: The laws.
    """

    title: str
    curves: tuple[Curve, ...]
    exponents: tuple[Exponent | None, ...]
    guides: tuple[Guide, ...]


def complexity_pictures(material: Material) -> list[Picture]:
    """One picture for inference and one for training, whatever was counted."""
    pictures = []
    for setting in split_counts(material.machines):
        (panel,) = setting.panels
        shown = [
            quantity
            for title, read in (
                ("Attention FLOPs per image", read_attention_flops),
                ("All FLOPs per image", read_flops),
            )
            if (quantity := _find_complexity(title, panel, read)) is not None
        ]
        if not shown:
            continue
        passes = "forward" if setting.words == "infer" else "forward and backward"
        has_growth = any(quantity.guides for quantity in shown)
        foot = write_foot(
            panel.environments,
            f"Of one image, {passes}.{_EXPLAIN_GROWTH if has_growth else ''}",
            explain_uncounted(panel.records),
        )
        without = [item.label for item in panel.series if item.label not in {curve.label for curve in shown[0].curves}]
        pictures.append(
            Picture(
                name=f"complexity{setting.stem}",
                title=f"Complexity against the size of the image ({setting.words})",
                caption=(
                    "FLOPs of one image against its side, both logarithmic"
                    + (": attention alone, and everything." if len(shown) > 1 else ".")
                    + (_EXPLAIN_SLOPE if has_growth else "")
                    + (f" Without attention: {', '.join(without)}." if without and len(shown) > 1 else "")
                ),
                draw=partial(draw_complexity, shown, material.palette, foot),
            )
        )
    return pictures


def _find_complexity(title: str, panel: Panel, read: Reader) -> ComplexityPanel | None:
    curves = tuple(read_curves(panel.series, read))
    if not curves:
        return None
    return ComplexityPanel(
        title=title,
        curves=curves,
        exponents=tuple(map(fit_pixel_exponent, curves)),
        guides=tuple(growth_guides(curves)),
    )


def draw_complexity(panels: Sequence[ComplexityPanel], palette: Palette, foot: Sequence[str], theme: Theme) -> Figure:
    """A panel for each quantity."""
    all_curves = [curve for panel in panels for curve in panel.curves]
    height_in = panel_height(max(len(panel.curves) + len(panel.guides) for panel in panels), theme)
    figure, axes = new_canvas(theme, len(panels), foot=foot, key=key_of(all_curves, theme), panel_in=height_in)
    names = []
    for frame, panel in zip(axes, panels, strict=True):
        set_size_axis(frame, all_curves)
        set_log_axis(frame, values_of(panel.curves), write_quantity)
        set_panel_title(frame, panel.title, theme)
        draw_curves(frame, panel.curves, palette, theme)
        texts = [
            curve.label if exponent is None else f"{curve.label} {exponent.value:.2f}"
            for curve, exponent in zip(panel.curves, panel.exponents, strict=True)
        ]
        labels = [*label_curves(panel.curves, texts, palette, theme), *_draw_guides(frame, panel.guides, theme)]
        names.append((frame, add_end_labels(frame, labels, theme)))
    return finish_names(figure, names, theme)


def _draw_guides(axes: Axes, guides: Sequence[Guide], theme: Theme) -> list[EndLabel]:
    """Thin lines behind the curves, each named where it is last seen."""
    highest = axes.get_ylim()[1]
    labels = []
    for guide in guides:
        axes.plot(guide.x, guide.y, color=theme.muted, linewidth=0.6, zorder=1)
        seen = [place for place, y in enumerate(guide.y) if y <= highest][-1]
        # What leaves at the top keeps its order there: the steepest law is named last, and highest.
        y = guide.y[seen] if guide.y[-1] <= highest else highest
        labels.append(EndLabel(text=guide.label, x=guide.x[seen], y=y, color=theme.muted))
    return labels
