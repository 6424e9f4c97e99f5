"""`weightspace make-zoo`."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import numpy as np
import tyro

from .. import zoo
from ._command import console, continues

__all__ = ["MakeZoo"]


@dataclass(frozen=True)
class MakeZoo:
    """Train many small image classifiers with hyper-parameters drawn at random, and store them as a zoo.

    Run again after an interruption, it goes on with the first shard (128 CNNs or 64 transformers) not finished. Under
    torchrun the shards are split over the processes: torchrun --nproc-per-node 2 -m weightspace make-zoo ...
    """

    architecture: Annotated[Literal["cnn", "transformer"], tyro.conf.Positional]
    """cnn: the networks and the grid of the Small CNN Zoo (4970 parameters). transformer: those of the Small
    Transformer Zoo (18 506 parameters)."""
    out: Path
    """The zoo's folder."""
    images: str = "mnist5k"
    """mnist5k (the last 1000 of its images are the test images), fashion-mnist (from Debian's dataset-fashion-mnist),
    or a folder with CIFAR-10 or with IDX files. Colour images are made grey."""
    networks: int = 1000
    """How many to train."""
    activation: Literal["relu", "tanh"] = "relu"
    """Of all CNNs of the zoo; transformers have relu."""
    epochs: int | None = None
    """Passes over the training images; by default 10 for CNNs and 20 for transformers."""
    checkpoints: tuple[int, ...] | None = None
    """Epochs after which each network is stored; four of them by default, the last one included."""
    train_images: int | None = None
    """Number of training images, from the first one on; all of them by default."""
    seed: int = 0
    """Seed of the hyper-parameters, of training and of the zoo's splits (80/10/10 % of the networks)."""

    def run(self) -> None:
        """Read the images and train."""
        start = perf_counter()
        train, test = _parts(self.images, self.train_images)
        made = zoo.make_zoo(
            self.architecture,
            train,
            test,
            self.out,
            networks=self.networks,
            activation=self.activation,
            epochs=self.epochs or {"cnn": 10, "transformer": 20}[self.architecture],
            checkpoints=self.checkpoints,
            seed=self.seed,
            image_set=self.images,
        )
        last = made.metadata["step"] == made.metadata["step"].max()
        deciles = np.quantile(made.metadata["test_accuracy"][last], np.linspace(0, 1, 11))
        shown = " ".join(f"{value:.2f}" for value in deciles)
        minutes = (perf_counter() - start) / 60
        console.print(f"{last.sum()} networks, {len(made)} checkpoints in {self.out} after {minutes:.1f} minutes")
        console.print(f"deciles of their test accuracy: {shown}")

    def saved(self) -> str:
        """Finished shards are kept."""
        return continues(self.out, "shards")


def _parts(name: str, count: int | None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and test images with labels."""
    images, labels = zoo.image_set(name)
    if name == "mnist5k":  # has no test images; its digits come in turn, so that both parts are balanced
        return (images[:4000][:count], labels[:4000][:count]), (images[4000:], labels[4000:])
    return (images[:count], labels[:count]), zoo.image_set(name, "test")
