"""What runs have shown: one self-contained HTML page, and the picture of the README."""

from ._page import write_report
from ._pictures import figure_demo
from ._runs import Run, find_runs

__all__ = ["Run", "figure_demo", "find_runs", "write_report"]
