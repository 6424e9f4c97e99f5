"""The picture of a table: of predictions, or of edited images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import ReportError
from .._files import atomic_write
from ._drawing import colours, conditions, draw_conditions, draw_scatter, draw_table
from ._pictures import figure_demo
from ._runs import find_runs, output_file
from ._said import Said, all_said, best, first_seeds, number_of_classes
from ._style import picture_style
from ._table import Group, group_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_predictions", "write_figure"]


def write_figure(folders: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Draw the picture that runs call for: `figure_predictions` if some of them predict, otherwise `figure_demo`.

    Args:
        folders: run folders, or folders that hold some.
        out: the PNG to write; replaced if it is there.

    Returns:
        The path of the picture.

    Raises:
        ReportError: if there are no runs, none of them has predictions or pictures, or ``out`` is a folder.
    """
    folders = list(folders)
    predict = any(all_said(group) for group in group_runs(find_runs(folders)))
    return (figure_predictions if predict else figure_demo)(folders, out)


def figure_predictions(folders: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str], models: int = 3) -> Path:
    """Draw predicted against true values for the best models, and τ under scale augmentation or above thresholds.

    Of several recipes, the first one in the order of names whose runs predict. Classes are drawn as a table.

    Args:
        folders: run folders, or folders that hold some.
        out: the PNG to write; replaced if it is there.
        models: the number of models, the best ones on the test split, each with its first seed.

    Returns:
        The path of the picture.

    Raises:
        ReportError: if there are no runs, none of them has predictions, or ``out`` is a folder.
    """
    import matplotlib as mpl

    path = output_file(out, "figure.png")
    found = ((group, first_seeds(all_said(group))) for group in group_runs(find_runs(folders)))
    group, first = next(((group, first) for group, first in found if first), (None, []))
    if group is None:
        raise ReportError("none of these runs has predictions: samples.safetensors with true, predicted and orbit")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, mpl.rc_context(picture_style()):
        _draw(group, best(group, first, models)).savefig(temporary, format="png", dpi=160, facecolor="white")
    return path


def _draw(group: Group, shown: Sequence[Said]) -> Figure:
    """A panel for each model, and the curves of all."""
    from matplotlib.figure import Figure

    curves = conditions(group)
    widths = [3.0] * len(shown) + [5.0] * len(curves[:1])
    figure = Figure(figsize=(sum(widths), 3.6), layout="constrained")
    figure.suptitle(str(group.recipe.get("title", group.name)), fontsize=11)
    panels = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for axes, each in zip(panels, shown, strict=False):
        if each.classes:
            draw_table(axes, each.true, each.predicted, number_of_classes(shown))
        else:
            draw_scatter(axes, each.true, each.predicted, colours(group)[each.row.name])
            axes.set_ylabel("predicted")
        value = group.factor * each.run.measured("test")
        axes.set_title(f"{each.row.name}\n{group.unit}: {value:.{group.digits}f}", fontsize=10)
    if curves:
        draw_conditions(panels[-1], group, curves[0])
    return figure
