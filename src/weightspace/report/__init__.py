"""Self-contained HTML pages: what runs have shown, and what the theory says; and their pictures."""

from ._figure import figure_predictions, write_figure
from ._page import write_report
from ._pictures import figure_demo
from ._runs import Run, find_runs
from ._theory import figure_statement, write_theory

__all__ = [
    "Run",
    "figure_demo",
    "figure_predictions",
    "figure_statement",
    "find_runs",
    "write_figure",
    "write_report",
    "write_theory",
]
