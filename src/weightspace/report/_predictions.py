"""Charts of what models predict about networks: against the truth, under augmentation, along orbits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..tasks import tau_interval
from ._drawing import colours, conditions, draw_conditions, draw_scatter, draw_table
from ._said import Said, all_said, best, first_seeds, number_of_classes
from ._style import MUTED, PAPER, SERIES, SIZE, STYLE, svg
from ._table import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Part", "prediction_parts"]

_CONFUSIONS = 4
_SMALLEST = 1e-8  # spreads below are drawn here, on a logarithmic axis


@dataclass(frozen=True)
class Part:
    """A headline, a sentence and some charts as inline SVG."""

    title: str
    text: str
    charts: tuple[str, ...]


def prediction_parts(group: Group) -> list[Part]:
    """The charts of a group of runs that predict; none for runs that edit."""
    said = all_said(group)
    if not said:
        return []
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return [part for make in _PARTS if (part := make(group, said)) is not None]


# ------------------------------------------------------------------------------------------------ the parts
def _intervals(group: Group, said: Sequence[Said]) -> Part | None:
    """τ of every run with its bootstrap interval."""
    if group.metric != "tau":
        return None

    def draw(axes: Axes, height: float, each: Said, colour: str) -> None:
        low, high = tau_interval(torch.from_numpy(each.predicted), torch.from_numpy(each.true))
        axes.plot([low, high], [height, height], "-", color=colour, lw=1.4, alpha=0.7)
        axes.plot(each.run.measured("test"), height, "o", color=colour, ms=5, mec=PAPER, mew=0.8)

    chart = _lines(said, draw, "test τ", f"intervals of {group.name}")
    text = "A dot for each seed, and the percentile bootstrap interval of 95 % over the test networks."
    return Part("Kendall's τ with its uncertainty", text, (chart,))


def _scatter(group: Group, said: Sequence[Said]) -> Part | None:
    """Predicted against true values."""
    first = [each for each in first_seeds(said) if not each.classes]
    if not first:
        return None
    charts = []
    for each in first:
        axes = _axes()
        draw_scatter(axes, each.true, each.predicted, colours(group)[each.row.name])
        axes.set_title(f"{each.row.name}: predicted", color=MUTED, fontsize=10)
        charts.append(_svg(axes, f"scatter of {each.row.name} in {group.name}"))
    return Part("Predicted against true accuracy", "Test networks, of the first seed of each model.", tuple(charts))


def _robustness(group: Group, said: Sequence[Said]) -> Part | None:
    """τ over the power of the scale augmentation."""
    if "tau_scale_1e" not in conditions(group):
        return None
    text = (
        "Test networks moved by random elements of their group: neurons permuted, scaled by U[1, 10ᵏ], signs flipped. "
        "They compute the same, so a model with that symmetry stays where it is."
    )
    axes = _axes()
    draw_conditions(axes, group, "tau_scale_1e")
    return Part("Robustness to scale augmentation", text, (_svg(axes, f"robustness of {group.name}"),))


def _thresholds(group: Group, said: Sequence[Said]) -> Part | None:
    """τ over the smallest accuracy."""
    if "tau_above_" not in conditions(group):
        return None
    axes = _axes()
    draw_conditions(axes, group, "tau_above_")
    text = "τ on test networks above a threshold."
    return Part("Networks that learnt something", text, (_svg(axes, f"thresholds of {group.name}"),))


def _orbits(group: Group, said: Sequence[Said]) -> Part | None:
    """The spread of predictions along orbits."""
    classes = said[0].classes

    def draw(axes: Axes, height: float, each: Said, colour: str) -> None:
        axes.plot(each.spread if classes else max(each.spread, _SMALLEST), height, "o", color=colour, ms=6, mec=PAPER)

    what = "share of changed classes" if classes else "standard deviation along the orbit"
    chart = _lines(said, draw, what, f"orbits of {group.name}", logarithmic=not classes)
    text = (
        "Random elements of the largest group of the networks, scales U[1, 10], leave what they compute as it "
        f"is; a prediction should not move. A dot for each seed: {what}, the mean over test networks."
    )
    return Part("Spread over the symmetry orbit", text, (chart,))


def _confusion(group: Group, said: Sequence[Said]) -> Part | None:
    """Which classes are taken for which."""
    first = [each for each in first_seeds(said) if each.classes]
    if not first:
        return None
    charts = []
    for each in best(group, first, _CONFUSIONS):
        axes = _axes()
        draw_table(axes, each.true, each.predicted, number_of_classes(first))
        axes.set_title(f"{each.row.name}: true class by line, found class by column", color=MUTED, fontsize=10)
        charts.append(_svg(axes, f"confusion of {each.row.name} in {group.name}"))
    text = "Numbers of test networks, of the first seed of the best models; shades are shares of a line."
    return Part("Which classes are taken for which", text, tuple(charts))


_PARTS: tuple[Callable[[Group, Sequence[Said]], Part | None], ...] = (
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
    said: Sequence[Said],
    draw: Callable[[Axes, float, Said, str], None],
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
