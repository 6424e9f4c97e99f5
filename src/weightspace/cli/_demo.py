"""`weightspace demo`."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from .. import report, tasks
from ..engine import keep_freed_memory
from ..zoo import Zoo
from ._command import console, continues
from ._fit import fit
from ._make_zoo import make

__all__ = ["Demo"]


@dataclass(frozen=True)
class Demo:
    """The whole path on real data: make a zoo, train models on its weights, write a report with pictures.

    By default INRs of MNIST digits and editors of them; with --recipe demo-generalization CNNs and predictors of their
    accuracy. Run again after an interruption, it goes on where it stopped.
    """

    recipe: str = "demo"
    """The path of a recipe, or the name of one that comes with the package; its [zoo] is made first."""
    zoo: Path | None = None
    """Where the networks go; by default zoos/ and the name of the recipe."""
    out: Path = Path("runs")
    """Where the run folders and the report go."""

    def run(self) -> None:
        """Make the zoo, train, report."""
        start = perf_counter()
        keep_freed_memory()
        recipe = tasks.load_recipe(self.recipe)
        console.print(f"1/3 {_making(recipe.zoo)}", style="bold", markup=False)
        networks = _make(recipe.zoo, self._zoo(recipe.name))
        models = "editors" if isinstance(recipe.task, tasks.EditingSettings) else "predictors"
        console.print(f"2/3 training the {models} of recipe {recipe.name}", style="bold", markup=False)
        folders = tasks.run_recipe(recipe, networks, self.out)
        console.print("3/3 writing the report", style="bold")
        page = report.write_report(folders, self.out / f"{recipe.name}.html")
        report.write_figure(folders, self.out / f"{recipe.name}.png")
        console.print(f"done in {(perf_counter() - start) / 60:.1f} minutes; open the report in a browser:")
        console.print(str(page.resolve()), markup=False)

    def saved(self) -> str:
        """Networks, checkpoints and finished runs are kept."""
        made = self._zoo(tasks.load_recipe(self.recipe).name)
        folder = self.out if self.out.exists() else made
        return continues(folder, "networks and runs, and the checkpoint of the last,")

    def _zoo(self, name: str) -> Path:
        return self.zoo or Path("zoos") / name


def _making(zoo: tasks.ZooSettings) -> str:
    """The first step in words."""
    if zoo.networks == "inr":
        return f"fitting INRs to {zoo.images}"
    return f"training {zoo.count} {'CNNs' if zoo.networks == 'cnn' else 'transformers'} on {zoo.images}"


def _make(zoo: tasks.ZooSettings, out: Path) -> Zoo:
    """The zoo that a recipe asks for."""
    if zoo.networks == "inr":
        return fit(zoo.images, out, zoo.recipe, zoo.split, zoo.count, zoo.seed, activation=zoo.activation or "sine")
    assert zoo.count is not None  # ZooSettings asks for it
    assert zoo.activation != "sine"  # and refuses this one
    return make(
        zoo.networks,
        out,
        images=zoo.images,
        networks=zoo.count,
        activation=zoo.activation or "relu",
        epochs=zoo.epochs,
        train_count=zoo.train_count,
        seed=zoo.seed,
        splits=zoo.splits,
    )
