"""`weightspace train` and `weightspace evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.table import Table

from .. import tasks, zoo
from ..engine import Result, keep_freed_memory
from ._command import console, continues

__all__ = ["Evaluate", "Train"]


@dataclass(frozen=True)
class Train:
    """Train the variants of a recipe, each with each seed, in OUT/recipe/variant/seed."""

    recipe: Annotated[str, tyro.conf.Positional]
    """The path of a recipe, or the name of one that comes with the package."""
    zoo: Path
    """The zoo to train on, as fit-inrs makes it."""
    out: Path = Path("runs")
    """Where the run folders go."""
    variants: tuple[str, ...] | None = None
    """Names of variants; all of the recipe by default."""
    seeds: tuple[int, ...] | None = None
    """Seeds of initialisation and batch order; those of the recipe by default."""
    resume: bool = True
    """Go on with runs that are there already; otherwise they are refused."""

    def run(self) -> None:
        """Train one run after the other."""
        keep_freed_memory()
        recipe = tasks.load_recipe(self.recipe)
        folders = tasks.run_recipe(
            recipe, zoo.load(self.zoo), self.out, variants=self.variants, seeds=self.seeds, resume=self.resume
        )
        console.print("\n".join(map(str, folders)), markup=False)

    def saved(self) -> str:
        """The engine keeps a checkpoint of each run."""
        return continues(self.out, "runs, and the last checkpoint of the one that was going on,")


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained run on a split of a zoo, the one it was trained on or another."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    zoo: Path
    """The zoo."""
    split: Literal["train", "validation", "test"] = "test"
    """The part of the zoo."""
    batch_size: int = 64
    """Networks at a time."""

    def run(self) -> None:
        """Print the metrics, beside those that a finished run itself recorded for this split."""
        metrics = tasks.evaluate_run(self.folder, zoo.load(self.zoo), self.split, batch_size=self.batch_size)
        finished = (self.folder / "result.json").is_file()
        recorded = Result.load(self.folder).metrics.get(self.split, {}) if finished else {}
        table = Table(
            "metric", f"{self.split} split of {self.zoo}", *(["recorded by the run"] * bool(recorded)), box=None
        )
        for name, value in metrics.items():
            table.add_row(name, f"{value:.6g}", *([f"{recorded[name]:.6g}"] if name in recorded else []))
        console.print(table)

    def saved(self) -> str:
        """Evaluation writes nothing."""
        return "Nothing is written by this command; run it again."
