"""Charts of predictions on given axes, in the colours of the style in force: the page's, or a picture's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from ._style import SERIES
from ._table import Group, power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["colours", "conditions", "draw_conditions", "draw_scatter", "draw_table"]

_POINTS = 600  # of a scatter plot; networks evenly chosen from the test split


def colours(group: Group) -> dict[str, str]:
    """The colour of each variant, the same in all its charts."""
    return {row.name: f"C{index % len(SERIES)}" for index, row in enumerate(group.rows)}


def draw_scatter(axes: Axes, true: Shaped[np.ndarray, " n"], predicted: Shaped[np.ndarray, " n"], colour: str) -> None:
    """Predicted against true values, both between 0 and 1."""
    import matplotlib as mpl

    chosen = np.linspace(0, len(true) - 1, min(_POINTS, len(true))).round().astype(int)
    axes.plot([0, 1], [0, 1], "-", color=mpl.rcParams["grid.color"], lw=1)
    axes.plot(true[chosen], predicted[chosen], "o", color=colour, ms=3, alpha=0.5, mew=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="true")


def conditions(group: Group) -> list[str]:
    """The prefixes of metrics under a condition that the runs have."""
    prefixes = ("tau_scale_1e", "tau_above_")
    return [prefix for prefix in prefixes if any(name.startswith(prefix) for name in group.metrics)]


def draw_conditions(axes: Axes, group: Group, prefix: str) -> None:
    """Metrics of one prefix as a curve for each variant, the metric itself in front of them."""
    import matplotlib as mpl

    keys = [name for name in group.metrics if name.startswith(prefix)]
    for index, (name, colour) in enumerate(colours(group).items()):
        measured = group.rows[index].metrics
        if not measured:
            continue
        points = [measured.get(key) for key in (group.metric, *keys)]
        heights: Float[np.ndarray, " keys"] = np.array([np.nan if point is None else point.mean for point in points])
        style = ("-", "--", ":")[index // len(SERIES) % 3]
        axes.plot(range(len(points)), heights, f"o{style}", color=colour, ms=4, lw=1.6, label=name)
    ticks = [key.removeprefix(prefix) for key in keys]
    scales = prefix == "tau_scale_1e"
    axes.set_xticks(range(1 + len(keys)), ["as it is", *(power_of_ten(t) if scales else f"≥ {t}" for t in ticks)])
    title = f"test τ, by the {'largest scale' if scales else 'accuracy of the networks'}"
    axes.set_title(title, color=mpl.rcParams["axes.labelcolor"], fontsize=10)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)


def draw_table(axes: Axes, true: Int[np.ndarray, " n"], found: Int[np.ndarray, " n"], count: int) -> None:
    """How many networks of each of ``count`` classes were taken for which, on shades of the share of a line."""
    from matplotlib.patches import Rectangle

    table = np.zeros((count, count), int)
    np.add.at(table, (true, found), 1)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    for (line, column), share in np.ndenumerate(shares):
        axes.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, color="C0", alpha=float(0.75 * share), lw=0))
        if table[line, column]:
            axes.text(column, line, str(table[line, column]), ha="center", va="center", fontsize=7)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(count))
    axes.set_yticks(range(count))
    axes.grid(visible=False)
