"""`weightspace theory`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import track
from rich.table import Table

from .. import report, theory
from .._errors import TheoryError
from ._command import console

__all__ = ["Theory"]


@dataclass(frozen=True)
class Theory:
    """Run the theory: compute what each statement about weight-space networks predicts, in float64, and draw it.

    Without names and without --all, lists the statements.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Statements to check; their numbers are printed, their pictures written to OUT/NAME.png."""
    all: bool = False
    """Check every statement, and write OUT/theory.html: words, constructions, pictures, numbers, whether they agree."""
    out: Path = Path("theory")
    """Where the page and the pictures go; files there are replaced."""

    def run(self) -> None:
        """Check, print, draw."""
        chosen = theory.statements(*self.names)
        if self.all and self.names:
            raise TheoryError(f"--all checks every statement; leave out {', '.join(self.names)}, or --all")
        if not self.names and not self.all:
            return self._list(chosen)
        if self.out.exists() and not self.out.is_dir():
            raise TheoryError(f"{self.out} is a file; --out takes a folder")
        found = []
        for statement in track(chosen, "checking", console=console, disable=len(chosen) == 1):
            evidence = statement.run()
            found.append((statement, evidence))
            self._print(statement, evidence)
            if picture := report.figure_statement(evidence, self.out / f"{statement.name}.png"):
                console.print(str(picture), markup=False)
            if self.all:
                page = report.write_theory(found, self.out / "theory.html")
        if self.all:
            console.print(str(page), markup=False)
        if wrong := [statement.name for statement, evidence in found if not evidence.holds]:
            raise TheoryError(f"numbers that do not agree with their statements: see {', '.join(wrong)} above")

    @staticmethod
    def _list(chosen: tuple[theory.Statement, ...]) -> None:
        table = Table("name", "statement", "source", box=None, pad_edge=False)
        for statement in chosen:
            table.add_row(statement.name, statement.title, statement.source)
        console.print(table)
        console.print("\nweightspace theory NAME checks one, weightspace theory --all all of them.", markup=False)

    @staticmethod
    def _print(statement: theory.Statement, evidence: theory.Evidence) -> None:
        console.print(f"\n{statement.title}", style="bold", markup=False)
        console.print(statement.claim, markup=False)
        table = Table("quantity", "measured", "expected", "", box=None, pad_edge=False)
        for m in evidence.measurements:
            mark = "[green]agrees[/]" if m.holds else "[red]does not agree[/]"
            table.add_row(m.what, f"{m.value:.4g}", m.expected, mark)
        console.print(table)
        console.print(f"{evidence.seconds:.1f} seconds", style="dim")

    def saved(self) -> str:
        """What the statements that are done have left."""
        kept = f"The statements that were done are in {self.out}" if self.out.exists() else "Nothing was saved"
        return f"{kept}; the same command starts anew."
