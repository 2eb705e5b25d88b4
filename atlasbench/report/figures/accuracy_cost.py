"""Accuracy against cost, counted and measured, with the front that no model beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from atlasbench.analysis.panels import has_time, split_settings
from atlasbench.analysis.points import Point, read_flops, read_time_per_image
from atlasbench.analysis.trade import AccuracyTable, Trade, find_trade, split_tables
from atlasbench.core.record import Environment
from atlasbench.core.workload import Mode
from atlasbench.report.figures.axes import Format, set_accuracy_axis, set_log_axis, write_quantity, write_seconds
from atlasbench.report.figures.canvas import finish_layout, new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import draw_curves, explain_fallback, explain_uncounted, key_of, label_curves
from atlasbench.report.figures.labels import EndLabel
from atlasbench.report.figures.material import Material, slug
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.point_labels import add_point_labels
from atlasbench.report.figures.theme import Palette, Theme

_PANEL_IN = 2.5
_FRONT_WIDTH = 0.8  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePanel:
    """One cost.

    Attributes:
        title: What it costs, and where.
        label: Of the horizontal axis, with the kind of its numbers.
        write: How ticks are written.
        trade: The points and their front.
        environments: Where the costs are from.
        remark: What to know about the costs; empty for nothing.
    """

    title: str
    label: str
    write: Format
    trade: Trade
    environments: tuple[Environment, ...]
    remark: str = ""


def trade_pictures(material: Material) -> list[Picture]:
    """One picture for each table of accuracies that the records know the cost of."""
    pictures = []
    for table in split_tables(material.accuracy):
        panels = [*_flops_panels(table, material), *_time_panels(table, material)]
        if not panels:
            continue
        foot = write_foot(
            [environment for panel in panels for environment in panel.environments],
            f"Accuracy: {table.title}.",
            *(panel.remark for panel in panels),
            explain_fallback(curve for panel in panels for curve in panel.trade.curves),
        )
        pictures.append(
            Picture(
                name=slug(f"accuracy cost {table.name}"),
                title="Accuracy against cost",
                caption=(
                    f"Top-1 accuracy ({table.title}) against what an image costs, logarithmic; better is up and left. "
                    "The grey steps go through what nothing else beats in both (Pareto front)."
                ),
                draw=partial(draw_trade, panels, material.palette, foot),
            )
        )
    return pictures


def _flops_panels(table: AccuracyTable, material: Material) -> Iterator[TradePanel]:
    found = [
        (machine.environment, record)
        for machine in reversed(material.machines)  # the newest record comes last
        for record in machine.records
        if record.workload.mode is Mode.INFER and any(point.matches(record.workload) for point in table.points)
    ]
    trade = find_trade(table, [record for _, record in found], read_flops)
    if trade is not None:
        yield TradePanel(
            title="Accuracy against FLOPs",
            label="FLOPs per image, forward (counted)",
            write=write_quantity,
            trade=trade,
            environments=tuple(environment for environment, _ in reversed(found)),
            remark=explain_uncounted(record for _, record in found),
        )


def _time_panels(table: AccuracyTable, material: Material) -> Iterator[TradePanel]:
    """For each machine, the setting and the arithmetic that have the most points."""
    for machine in material.machines:
        trades = [
            TradePanel(
                title=panel.title,
                label=f"time per image, {setting.words} (measured)",
                write=write_seconds,
                trade=trade,
                environments=panel.environments,
            )
            for setting in split_settings([machine], has_time)
            for panel in setting.panels
            if (trade := find_trade(table, panel.records, read_time_per_image)) is not None
        ]
        if trades:
            yield max(trades, key=lambda panel: sum(len(curve.points) for curve in panel.trade.curves))


def draw_trade(panels: Sequence[TradePanel], palette: Palette, foot: Sequence[str], theme: Theme) -> Figure:
    """A panel for each cost or machine."""
    curves = [curve for panel in panels for curve in panel.trade.curves]
    front = Line2D([], [], color=theme.muted, linewidth=_FRONT_WIDTH, label="Pareto front; better is up and left")
    figure, axes = new_canvas(theme, len(panels), foot=foot, key=[*key_of(curves, theme), front], panel_in=_PANEL_IN)
    for frame, panel in zip(axes, panels, strict=True):
        points = [point for curve in panel.trade.curves for point in curve.points]
        set_log_axis(frame, [point.x for point in points], panel.write, which="x")
        set_accuracy_axis(frame, [point.y for point in points])
        set_panel_title(frame, panel.title, theme)
        frame.set_xlabel(panel.label)
        x, y = zip(*_outline_front(frame, panel.trade.front), strict=True)
        frame.plot(x, y, color=theme.muted, linewidth=_FRONT_WIDTH, zorder=1)
        draw_curves(frame, panel.trade.curves, palette, theme)
    finish_layout(figure)
    for frame, panel in zip(axes, panels, strict=True):
        outlines = [[(point.x, point.y) for point in curve.points] for curve in panel.trade.curves]
        names = _name_points(panel.trade, palette, theme)
        add_point_labels(frame, names, outlines, [_outline_front(frame, panel.trade.front)], theme)
    return figure


def _outline_front(axes: Axes, front: Sequence[Point]) -> list[tuple[float, float]]:
    """Steps from the cheapest point up, and on to the right: what a cost buys at best."""
    corners = [(front[0].x, axes.get_ylim()[0])]
    for point in front:
        corners += [(point.x, corners[-1][1]), (point.x, point.y)]
    return [*corners, (axes.get_xlim()[1], front[-1].y)]


def _name_points(trade: Trade, palette: Palette, theme: Theme) -> list[EndLabel]:
    """A name for the largest image of every model; where models have several sizes, with the size."""
    has_sizes = any(len(curve.points) > 1 for curve in trade.curves)
    texts = [f"{curve.label} {curve.points[-1].resolution}" if has_sizes else curve.label for curve in trade.curves]
    return label_curves(trade.curves, texts, palette, theme)
