"""`weightspace demo`."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from .. import report, tasks
from ..engine import keep_freed_memory
from ._command import console, continues
from ._fit import fit

__all__ = ["Demo"]


@dataclass(frozen=True)
class Demo:
    """The whole path on real data: fit INRs to MNIST digits, train editors on them, write a report with pictures.

    Run again after an interruption, it goes on where it stopped.
    """

    recipe: str = "demo"
    """The path of a recipe, or the name of one that comes with the package; its [zoo] is fitted first."""
    zoo: Path = Path("zoos/demo")
    """Where the fitted INRs go."""
    out: Path = Path("runs")
    """Where the run folders and the report go."""

    def run(self) -> None:
        """Fit, train, report."""
        start = perf_counter()
        keep_freed_memory()
        recipe = tasks.load_recipe(self.recipe)
        made = recipe.zoo
        console.print(f"1/3 fitting INRs to {made.images}", style="bold", markup=False)
        fitted = fit(made.images, self.zoo, made.recipe, made.split, made.count, made.seed)
        console.print(f"2/3 training the editors of recipe {recipe.name}", style="bold", markup=False)
        folders = tasks.run_recipe(recipe, fitted, self.out)
        console.print("3/3 writing the report", style="bold")
        page = report.write_report(folders, self.out / f"{recipe.name}.html")
        report.figure_demo(folders, self.out / f"{recipe.name}.png")
        console.print(f"done in {(perf_counter() - start) / 60:.1f} minutes; open the report in a browser:")
        console.print(str(page.resolve()), markup=False)

    def saved(self) -> str:
        """INRs, checkpoints and finished runs are kept."""
        return continues(self.out if self.out.exists() else self.zoo, "INRs and runs, and the checkpoint of the last,")
