"""Charts of what models predict about networks: against the truth, under augmentation, along orbits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped

from ..tasks import tau_interval
from ._runs import Run
from ._style import INK, MUTED, PAPER, RULE, SERIES, SIZE, STYLE, svg
from ._table import Group, Row, power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Part", "prediction_parts"]

_POINTS = 600  # of a scatter plot; networks evenly chosen from the test split
_CONFUSIONS = 4
_SMALLEST = 1e-8  # spreads below are drawn here, on a logarithmic axis


@dataclass(frozen=True)
class Part:
    """A headline, a sentence and some charts as inline SVG."""

    title: str
    text: str
    charts: tuple[str, ...]


@dataclass(frozen=True)
class _Said:
    """What one run says about the test networks, and about the first of them along their orbits."""

    row: Row
    run: Run
    true: Shaped[np.ndarray, " n"]
    predicted: Shaped[np.ndarray, " n"]
    orbit: Shaped[np.ndarray, "m points"]

    @property
    def classes(self) -> bool:
        """Whether these are classes, not numbers."""
        return bool(self.predicted.dtype.kind == "i")

    @property
    def spread(self) -> float:
        """Along an orbit: the standard deviation, or how often the class is not that of the network as it is."""
        if self.classes:
            return float((self.orbit != self.predicted[: len(self.orbit), None]).mean())
        return float(self.orbit.std(1).mean())


def prediction_parts(group: Group) -> list[Part]:
    """The charts of a group of runs that predict; none for runs that edit."""
    said = [found for row in group.rows for run in row.runs if (found := _read(row, run)) is not None]
    if not said:
        return []
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return [part for make in _PARTS if (part := make(group, said)) is not None]


def _read(row: Row, run: Run) -> _Said | None:
    """The predictions of a finished run; None if it has none, or they do not fit each other."""
    arrays = run.samples() or {}
    if run.result is None or not {"true", "predicted", "orbit"} <= arrays.keys():
        return None
    true, predicted, orbit = (arrays[name] for name in ("true", "predicted", "orbit"))
    if true.ndim != 1 or true.shape != predicted.shape or orbit.ndim != 2 or len(orbit) > len(true):
        return None
    return _Said(row, run, true, predicted, orbit)


def _first(said: Sequence[_Said]) -> list[_Said]:
    """The first seed of each variant."""
    return list({each.row.name: each for each in reversed(said)}.values())[::-1]


# ------------------------------------------------------------------------------------------------ the parts
def _intervals(group: Group, said: Sequence[_Said]) -> Part | None:
    """τ of every run with its bootstrap interval."""
    if group.metric != "tau":
        return None

    def draw(axes: Axes, height: float, each: _Said, colour: str) -> None:
        low, high = tau_interval(torch.from_numpy(each.predicted), torch.from_numpy(each.true))
        axes.plot([low, high], [height, height], "-", color=colour, lw=1.4, alpha=0.7)
        axes.plot(each.run.measured("test"), height, "o", color=colour, ms=5, mec=PAPER, mew=0.8)

    chart = _lines(said, draw, "test τ", f"intervals of {group.name}")
    text = "A dot for each seed, and the percentile bootstrap interval of 95 % over the test networks."
    return Part("Kendall's τ with its uncertainty", text, (chart,))


def _scatter(group: Group, said: Sequence[_Said]) -> Part | None:
    """Predicted against true values."""
    first = [each for each in _first(said) if not each.classes]
    if not first:
        return None
    charts = []
    for each, colour in zip(first, itertools.cycle(SERIES), strict=False):
        axes = _axes()
        chosen = np.linspace(0, len(each.true) - 1, min(_POINTS, len(each.true))).round().astype(int)
        axes.plot([0, 1], [0, 1], "-", color=RULE, lw=1)
        axes.plot(each.true[chosen], each.predicted[chosen], "o", color=colour, ms=3, alpha=0.5, mew=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="true")
        axes.set_title(f"{each.row.name}: predicted", color=MUTED, fontsize=10)
        charts.append(_svg(axes, f"scatter of {each.row.name} in {group.name}"))
    return Part("Predicted against true accuracy", "Test networks, of the first seed of each model.", tuple(charts))


def _robustness(group: Group, said: Sequence[_Said]) -> Part | None:
    """τ over the power of the scale augmentation."""
    chart = _conditions(group, "tau_scale_1e", power_of_ten, "test τ, by the largest scale")
    text = (
        "Test networks moved by random elements of their group: neurons permuted, scaled by U[1, 10ᵏ], signs flipped. "
        "They compute the same, so a model with that symmetry stays where it is."
    )
    return Part("Robustness to scale augmentation", text, (chart,)) if chart else None


def _thresholds(group: Group, said: Sequence[_Said]) -> Part | None:
    """τ over the smallest accuracy."""
    chart = _conditions(group, "tau_above_", lambda value: f"≥ {value}", "test τ, by the accuracy of the networks")
    return Part("Networks that learnt something", "τ on test networks above a threshold.", (chart,)) if chart else None


def _orbits(group: Group, said: Sequence[_Said]) -> Part | None:
    """The spread of predictions along orbits."""
    classes = said[0].classes

    def draw(axes: Axes, height: float, each: _Said, colour: str) -> None:
        axes.plot(each.spread if classes else max(each.spread, _SMALLEST), height, "o", color=colour, ms=6, mec=PAPER)

    what = "share of changed classes" if classes else "standard deviation along the orbit"
    chart = _lines(said, draw, what, f"orbits of {group.name}", logarithmic=not classes)
    text = (
        "Random elements of the largest group of the networks, scales U[1, 10], leave what they compute as it "
        f"is; a prediction should not move. A dot for each seed: {what}, the mean over test networks."
    )
    return Part("Spread over the symmetry orbit", text, (chart,))


def _confusion(group: Group, said: Sequence[_Said]) -> Part | None:
    """Which classes are taken for which."""
    first = [each for each in _first(said) if each.classes]
    if not first:
        return None
    best = sorted(first, key=lambda each: each.run.measured("test"), reverse=True)[:_CONFUSIONS]
    count = 1 + max(int(max(each.true.max(), each.predicted.max())) for each in first)
    charts = []
    for each in best:
        axes = _axes()
        table = np.zeros((count, count), int)
        np.add.at(table, (each.true, each.predicted), 1)
        _draw_table(axes, table)
        axes.set_title(f"{each.row.name}: true class by line, found class by column", color=MUTED, fontsize=10)
        charts.append(_svg(axes, f"confusion of {each.row.name} in {group.name}"))
    text = "Numbers of test networks, of the first seed of the best models; shades are shares of a line."
    return Part("Which classes are taken for which", text, tuple(charts))


_PARTS: tuple[Callable[[Group, Sequence[_Said]], Part | None], ...] = (
    _intervals,
    _scatter,
    _robustness,
    _thresholds,
    _orbits,
    _confusion,
)


# ------------------------------------------------------------------------------------------------ drawing
def _axes(height: float = SIZE[1]) -> Axes:
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=(SIZE[0], height), layout="constrained").subplots()
    return axes


def _svg(axes: Axes, name: str) -> str:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return svg(figure, name)


def _lines(
    said: Sequence[_Said],
    draw: Callable[[Axes, float, _Said, str], None],
    label: str,
    name: str,
    *,
    logarithmic: bool = False,
) -> str:
    """A line for each variant, its seeds side by side; the first variant on top."""
    rows = list(dict.fromkeys(each.row.name for each in said))
    axes = _axes(0.8 + 0.32 * len(rows))
    for height, row in enumerate(reversed(rows)):
        seeds = [each for each in said if each.row.name == row]
        for offset, each in zip(np.linspace(-0.2, 0.2, len(seeds)) if len(seeds) > 1 else [0.0], seeds, strict=True):
            draw(axes, height - float(offset), each, SERIES[rows.index(row) % len(SERIES)])
    if logarithmic:
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(reversed(rows)))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(label)
    return _svg(axes, name)


def _conditions(group: Group, prefix: str, tick: Callable[[str], str], title: str) -> str | None:
    """Metrics of one prefix as a curve for each variant, the metric itself in front of them."""
    keys = [name for name in group.metrics if name.startswith(prefix)]
    if not keys:
        return None
    axes = _axes()
    styles = itertools.product(("-", "--", ":"), SERIES)
    measured = [row for row in group.rows if row.metrics]
    for row, (style, colour) in zip(measured, itertools.cycle(styles), strict=False):
        points = [row.metrics.get(key) for key in (group.metric, *keys)]
        heights: Float[np.ndarray, " keys"] = np.array([np.nan if point is None else point.mean for point in points])
        axes.plot(range(len(points)), heights, f"o{style}", color=colour, ms=4, lw=1.6, label=row.name)
    axes.set_xticks(range(1 + len(keys)), ["as it is", *(tick(key.removeprefix(prefix)) for key in keys)])
    axes.set_title(title, color=MUTED, fontsize=10)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return _svg(axes, f"{prefix} of {group.name}")


def _draw_table(axes: Axes, table: Float[np.ndarray, "true found"]) -> None:
    """Numbers on shades of the share that they are of their line."""
    from matplotlib.patches import Rectangle

    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    for (line, column), share in np.ndenumerate(shares):
        axes.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, color=SERIES[0], alpha=float(0.75 * share), lw=0))
        if table[line, column]:
            axes.text(column, line, str(table[line, column]), ha="center", va="center", fontsize=7, color=INK)
    axes.set(xlim=(-0.5, len(table) - 0.5), ylim=(len(table) - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(len(table)))
    axes.set_yticks(range(len(table)))
    axes.grid(visible=False)
