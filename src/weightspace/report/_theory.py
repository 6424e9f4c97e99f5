"""One page about the statements of the theory, and their pictures as files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import atomic_write
from ..theory import Evidence, Statement
from ._runs import output_file
from ._style import STYLE, environment, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_statement", "write_theory"]

_SIZE = (9.2, 3.6)


def write_theory(found: Iterable[tuple[Statement, Evidence]], out_html: str | os.PathLike[str]) -> Path:
    """Write one HTML file: every statement with its construction, its picture and its numbers.

    Args:
        found: statements and what their computations have found.
        out_html: the file to write; replaced if it is there.

    Returns:
        The path of the page.

    Raises:
        ReportError: if ``out_html`` is a folder.
    """
    path = output_file(out_html, "theory.html")
    items = [
        {
            "statement": statement,
            "evidence": evidence,
            "agreeing": sum(m.holds for m in evidence.measurements),
            "picture": _inline(statement, evidence),
        }
        for statement, evidence in found
    ]
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = environment().get_template("theory.html").render(items=items, written=written)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def figure_statement(evidence: Evidence, out_png: str | os.PathLike[str]) -> Path | None:
    """Write the picture of a statement as a PNG file; None if it has none.

    Raises:
        ReportError: if ``out_png`` is a folder.
    """
    path = output_file(out_png, "picture.png")
    if evidence.draw is None:
        return None
    figure = _empty()
    evidence.draw(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path


def _inline(statement: Statement, evidence: Evidence) -> str | None:
    if evidence.draw is None:
        return None
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = _empty()
        evidence.draw(figure)
        return svg(figure, statement.name)


def _empty() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=_SIZE, layout="constrained")
