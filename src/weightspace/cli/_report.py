"""`weightspace report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .. import report
from ._command import console

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Write one HTML page about runs: tables beside the published figures, curves and pictures."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders that hold some at any depth."""
    out: Path = Path("report.html")
    """The page to write; replaced if it is there."""
    figure: Path | None = None
    """A PNG written too if given: edited test images with their errors, or predictions against the truth."""

    def run(self) -> None:
        """Write the page, and the figure if asked for."""
        if self.figure is not None:
            console.print(str(report.write_figure(self.folders, self.figure)), markup=False)
        console.print(str(report.write_report(self.folders, self.out)), markup=False)

    def saved(self) -> str:
        """An interrupted report leaves what was there before."""
        return f"{self.out} is as it was before; run the command again."
