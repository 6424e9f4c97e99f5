"""The charts of a group of runs, as inline SVG."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ._runs import Run
from ._style import MUTED, PAPER, SERIES, SIZE, STYLE, svg
from ._table import Estimate, Group, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["capacity_chart", "curves_charts"]


def capacity_chart(group: Group) -> str | None:
    """The test metric against the number k of predicted networks: seeds, their mean, and the published figures.

    More families than lines can be told apart are drawn as a ranking instead, a line of dots for each.

    Returns:
        The SVG; None if no family was trained with two values of k.
    """
    families = _families(group.rows)
    if not any(len({row.k for row in rows if row.test}) > 1 for rows in families.values()):
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        if len(families) > len(SERIES):
            return _ranking(families, group)
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for colour, rows in zip(itertools.cycle(SERIES), families.values(), strict=False):
            _draw_capacity(axes, rows, group.factor, colour)
        ticks = sorted({row.k for row in group.rows})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"k = {k}" for k in ticks])
        axes.set_xlim(ticks[0] / 1.2, ticks[-1] * (ticks[-1] / ticks[0]) ** 0.45)
        axes.set_ylim(bottom=0)
        axes.set_title(f"test {group.unit}, by number of networks", color=MUTED, fontsize=10)
        return svg(figure, f"capacity of {group.name}")


def _ranking(families: dict[str, list[Row]], group: Group) -> str:
    """Seeds (small) and means (large) of each family, a colour for each k; the best family on top."""
    from matplotlib.figure import Figure

    measured = {name: [row for row in rows if row.test] for name, rows in families.items()}
    measured = {name: rows for name, rows in measured.items() if rows}
    best = min if group.direction == "min" else max
    order = sorted(measured, key=lambda name: best(_mean(row.test) for row in measured[name]), reverse=best is min)
    figure = Figure(figsize=(SIZE[0], 0.6 + 0.26 * len(order)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(sorted({row.k for row in group.rows}), itertools.cycle(SERIES), strict=False))
    for height, name in enumerate(order):
        for row in measured[name]:
            values = [group.factor * run.measured("test") for run in row.runs if run.result]
            axes.plot(values, [height] * len(values), "o", color=colours[row.k], ms=4, alpha=0.4, mew=0)
            axes.plot(group.factor * _mean(row.test), height, "o", color=colours[row.k], ms=7, mec=PAPER, mew=0.8)
    for k, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=f"k = {k}")
    axes.legend(loc="lower left", frameon=False)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlim(left=0)
    axes.set_title(f"test {group.unit}, by number of networks", color=MUTED, fontsize=10)
    return svg(figure, f"ranking of {group.name}")


def _draw_capacity(axes: "Axes", rows: Sequence[Row], factor: float, colour: str) -> None:
    measured = [row for row in rows if row.test]
    published = [row for row in rows if row.published]
    axes.plot([row.k for row in published], [_mean(row.published) for row in published], "--", color=colour, lw=1.2)
    axes.plot([row.k for row in measured], [factor * _mean(row.test) for row in measured], "-", color=colour, lw=2)
    for row in measured:
        values = [factor * run.measured("test") for run in row.runs if run.result]
        axes.plot([row.k] * len(values), values, "o", color=colour, ms=5, mec=PAPER, mew=0.8)
    for style, ends in (("", measured[-1:]), (", published", published[-1:])):
        for row in ends:
            height = _mean(row.published) if style else factor * _mean(row.test)
            axes.annotate(f"{row.family}{style}", (row.k, height), (8, 0), textcoords="offset points", va="center")


def curves_charts(group: Group) -> list[str]:
    """Validation metric (solid, one line a seed) and training loss (dotted) over the epochs, a chart per family.

    All charts have the same axes. Families without a run of two epochs yet have none.
    """
    families = _families([row for row in group.rows if any(len(_losses(run, group)[0]) > 1 for run in row.runs)])
    if not families:
        return []
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figures = [Figure(figsize=SIZE, layout="constrained") for _ in families]
        panels = [figure.subplots() for figure in figures]
        for axes, colour, (name, rows) in zip(panels, itertools.cycle(SERIES), families.items(), strict=False):
            for row, alpha in zip(rows, _shades(len(rows)), strict=True):
                _draw_curves(axes, row, group, colour, alpha)
            training = ", training dotted" if group.metric == "mse" else ""
            axes.set_title(f"{name}, {group.unit}: validation{training}", color=MUTED, fontsize=10)
            axes.set_xlabel("epoch")
            if group.direction == "min":
                axes.set_yscale("log")
        _same_axes(panels)
        return [svg(figure, f"curves {index} of {group.name}") for index, figure in enumerate(figures)]


def _same_axes(panels: Sequence["Axes"]) -> None:
    """Give all panels the range of all data, and plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter

    limits = [(axes.dataLim.x1, axes.dataLim.y0, axes.dataLim.y1) for axes in panels]
    limits = [limit for limit in limits if all(map(math.isfinite, limit))]
    if not limits:
        return  # no validation was finite: nothing is drawn
    low, high = min(y0 for _, y0, _ in limits), max(y1 for _, _, y1 in limits)
    for axes in panels:
        axes.set_xlim(0, 1.16 * max(x1 for x1, _, _ in limits))
        if axes.get_yscale() == "log":
            axes.set_ylim(0.9 * low, 1.1 * high)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_curves(axes: "Axes", row: Row, group: Group, colour: str, alpha: float) -> None:
    end = None
    for run in row.runs:
        if group.metric == "mse":  # the loss is the metric: both on one axis
            axes.plot(*_losses(run, group), ":", color=colour, alpha=0.6 * alpha, lw=1.2)
        epochs, values = _validations(run, group)
        axes.plot(epochs, values, "-", color=colour, alpha=alpha, lw=1.6)
        end = (epochs[-1], values[-1]) if epochs else end
    if end is not None and group.several:
        axes.annotate(f"k = {row.k}", end, (5, 0), textcoords="offset points", va="center", annotation_clip=False)


def _losses(run: Run, group: Group) -> tuple[tuple[float, ...], ...]:
    """Epochs and training losses."""
    return _finite((record["epoch"], group.factor * record["train_loss"]) for record in run.records)


def _validations(run: Run, group: Group) -> tuple[tuple[float, ...], ...]:
    """Epochs and validation metrics, where there was a validation."""
    metrics = ((record["epoch"], record.get("validation", {})) for record in run.records)
    return _finite((epoch, group.factor * found[group.metric]) for epoch, found in metrics if group.metric in found)


def _finite(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, ...], ...]:
    """Columns of the points with a finite value; two empty ones without any."""
    return tuple(zip(*(point for point in points if math.isfinite(point[1])), strict=True)) or ((), ())


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each family, by k."""
    families: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.k):
        families.setdefault(row.family, []).append(row)
    return dict(sorted(families.items()))


def _shades(count: int) -> list[float]:
    return [1.0] if count == 1 else [0.45 + 0.55 * index / (count - 1) for index in range(count)]


def _mean(estimate: Estimate | None) -> float:
    return math.nan if estimate is None else estimate.mean
