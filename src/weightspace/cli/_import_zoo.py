"""`weightspace import-zoo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .. import zoo
from .._errors import ZooError
from ._command import console

__all__ = ["ImportZoo"]


@dataclass(frozen=True)
class ImportZoo:
    """Write a published data set of networks as a zoo, with its split and all columns.

    A data set of several architectures becomes several zoos: OUT/000, OUT/001, ...
    """

    kind: Annotated[str, tyro.conf.Positional]
    """small-cnn-zoo, cnn-wild-park, small-transformer-zoo, mnist-inrs, fmnist-inrs or nfn-sirens."""
    folder: Annotated[Path, tyro.conf.Positional]
    """Where it lies, unpacked."""
    out: Path
    """The zoo's folder; it must not hold anything yet."""
    split: Literal["published", "corrected"] = "published"
    """The split of the papers' code with its quirks, or one without them."""
    splits: Path | None = None
    """The file of the published split; by default the only such file in the folder."""
    seed: int = 0
    """Seed of what a corrected split draws."""
    activation: Literal["relu", "tanh"] | None = None
    """small-cnn-zoo: take these networks alone, and then divide them; by default a zoo for each activation."""
    data: Literal["mnist", "ag_news"] | None = None
    """small-transformer-zoo: mnist by default."""
    cut_off: float | None = None
    """small-transformer-zoo: the least accuracy; 0 by default."""
    split_points: tuple[int, int] | None = None
    """nfn-sirens: the first image of validation and that of test; 45000 50000 by default."""
    copies: bool = False
    """nfn-sirens: add the further SIRENs of training images."""

    def run(self) -> None:
        """Read and write."""
        if self.out.exists() and any(self.out.iterdir()):
            raise ZooError(f"{self.out} is not empty; choose another --out, or delete it")
        named = ("activation", "data", "cut_off", "split_points", "copies")
        given: dict[str, Any] = {name: getattr(self, name) for name in named}
        options = {name: value for name, value in given.items() if value not in (None, False)}
        found = zoo.read_published(
            self.kind, self.folder, split=self.split, splits=self.splits, seed=self.seed, **options
        )
        about = {"published": self.kind, "split": self.split, "seed": self.seed, "options": options}
        for number, each in enumerate(found):
            path = self.out if len(found) == 1 else self.out / f"{number:03d}"
            runs = {key: each.manifest[key] for key in ("recipe", "input_shape") if key in each.manifest}
            zoo.write_zoo(path, each.weights, columns=each.metadata, about=about | runs)
            console.print(f"{len(each)} networks {each.space.summary()} in {path}", markup=False)

    def saved(self) -> str:
        """Files are whole or absent."""
        return f"{self.out} is not complete; delete it and run the command again."
