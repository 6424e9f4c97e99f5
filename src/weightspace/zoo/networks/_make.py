"""Zoos of trained classifiers, shard by shard, on the cores of a machine or on several processes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..._errors import ZooError
from ...space import from_module
from .._images import as_images
from .._store import ZooFolder
from .._zoo import Zoo, load, split_names
from ._recipe import Architecture, NetworkRecipe
from ._shards import fill, process, wait
from ._train import Examples
from ._transformer import WIDTH
from ._words import Words

__all__ = ["make_zoo"]

_GREY = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601
_TOGETHER = {"cnn": 16, "transformer": 8, "text-transformer": 8}
_LENGTH = 64  # words of a text that count


def make_zoo(
    architecture: Architecture,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    out: str | os.PathLike[str],
    *,
    networks: int,
    activation: Literal["relu", "tanh"] = "relu",
    epochs: int = 10,
    checkpoints: Sequence[int] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    splits: Sequence[int] | np.ndarray | None = None,
    image_set: str = "",
    progress: bool = True,
) -> Zoo:
    """Trains classifiers with hyper-parameters drawn at random, many at once, and stores them shard by shard.

    "cnn" is the Small CNN Zoo (Unterthiner et al., 2020, arXiv 2002.11448; `SmallCNN`), "transformer" and
    "text-transformer" are the Small Transformer Zoo (Tran et al., 2024, arXiv 2410.04209; `SmallViT` and
    `SmallTextTransformer`), each with the grid of its paper. One zoo has one activation, as the symmetry group is that
    of the activation.

    The zoo has one entry for each checkpoint, those of a network side by side and in the same split. Columns: "index"
    of the network, "split", "step" (the epoch), "test_accuracy", "test_loss", "train_accuracy" and "train_loss" (on as
    many training as test examples), "diverged" (a network that would leave the finite numbers stays as
    it was), and "config.*", the hyper-parameters under their published names.

    An interrupted call loses at most the shards in progress, of 128 CNNs or 64 transformers each; the same call again
    continues, with the result of an uninterrupted one. Under ``torchrun`` the shards are split over the processes. A
    network depends on the seed and its number alone, but for rounding.

    Args:
        architecture: "cnn", "transformer" or "text-transformer".
        train: training images, uint8 ``[N, H, W]`` or ``[N, H, W, 3]`` (made grey, as in the published zoos), and
            their labels, classes from 0 on. Transformers need sides that are multiples of 4. For text transformers a
            list of texts and their labels: the first 64 words of a text count, and words have the vectors that their
            company in the training texts gives them.
        test: the images, or texts, and labels on which test accuracy is measured.
        out: the folder of the zoo.
        networks: how many to train.
        activation: of all networks; transformers have "relu".
        epochs: passes of each network over its part of the training examples.
        checkpoints: epochs after which networks are stored; by default a tenth, three and six tenths of the epochs
            and the last one for CNNs, the first, a half, three quarters and the last one for transformers.
        batch_size: examples in a step; 64 for CNNs and 32 for transformers by default.
        seed: of hyper-parameters, training and splits.
        splits: sizes of training, validation and test set in networks, drawn at random; or a name for each network. By
            default 80 %, 10 % and 10 %.
        image_set: name of the set of images or texts, for the manifest.
        progress: show a progress bar.

    Raises:
        ZooError: for images, texts or labels of a wrong kind, settings out of range, or a folder with another zoo.
        KeyboardInterrupt: tells what is stored.
    """
    if networks < 1 or seed < 0 or epochs < 1:
        raise ZooError(f"expected at least 1 network, 1 epoch and a seed of 0, found {networks}, {epochs} and {seed}")
    if batch_size is None:
        batch_size = {"cnn": 64}.get(architecture, 32)
    if batch_size < 1:
        raise ZooError(f"batch_size: expected at least 1 example in a step, found {batch_size}")
    labels = [_labels(part) for part in (train, test)]
    recipe = NetworkRecipe(
        architecture,
        activation,
        classes=int(max(part.max() for part in labels)) + 1,
        epochs=epochs,
        checkpoints=_stops(architecture, epochs) if checkpoints is None else tuple(checkpoints),
        batch_size=batch_size,
        together=_TOGETHER.get(architecture, 1),
    )
    parts = train[0], test[0]
    inputs, vectors = _texts(*parts) if architecture == "text-transformer" else _images(*parts, architecture)
    seen, unseen = (Examples(x, y, vectors) for x, y in zip(inputs, labels, strict=True))
    names = split_names(networks, splits, seed)
    space = from_module(recipe.module(), unseen.take(torch.zeros(2, dtype=torch.long)))
    about = {
        "recipe": asdict(recipe),
        "seed": seed,
        "image_set": image_set,
        "input_shape": [*inputs[0].shape[1:], *([] if vectors is None else [WIDTH])],
        "content": _content(*inputs, *labels, names),
    }
    if process()[0]:
        wait(Path(out, "manifest.json").is_file)  # the first process makes it
    folder = ZooFolder.begin(Path(out), space, networks * len(recipe.checkpoints), about)
    if folder.manifest["metadata"] is None:
        fill(folder, recipe, seen, unseen, seed, names, progress)
    return load(out)


def _images(train: Any, test: Any, architecture: str) -> tuple[list[Tensor], None]:
    """Grey images as the networks take them, ``[images, 1, height, width]``: to CNNs from 0 to 1, else from -1 to 1."""
    parts = [_grey(images)[:, None] for images in (train, test)]
    shapes = {tuple(part.shape[2:]) for part in parts}
    height, width = min(shapes)
    if len(shapes) > 1:
        raise ZooError(f"images: expected one size for training and test, found {sorted(shapes)}")
    if architecture == "cnn" and min(height, width) < 15:
        raise ZooError(f"images: a CNN zoo needs at least 15 × 15 pixels, found {height} × {width}")
    if architecture == "transformer" and (height % 4 or width % 4):
        raise ZooError(f"images: a transformer zoo needs sides that are multiples of 4, found {height} × {width}")
    return (parts if architecture == "cnn" else [part * 2 - 1 for part in parts]), None


def _grey(images: Any) -> "Float[Tensor, 'images height width']":
    """Grey values in [0, 1]."""
    if not isinstance(images, Tensor) and np.asarray(images).dtype.kind in "OSU":
        raise ZooError(
            f"images: expected uint8 [N, H, W], found {type(images).__name__}; texts are for architecture "
            "'text-transformer'"
        )
    pixels = as_images(images).float() / 255
    if pixels.dim() == 4:
        if pixels.shape[3] != 3:
            raise ZooError(f"images: expected 3 channels, or no axis for them, found {pixels.shape[3]}")
        pixels = pixels @ torch.tensor(_GREY)
    return pixels


def _texts(train: Any, test: Any) -> tuple[list[Tensor], Tensor]:
    """Numbers of words, ``[texts, 64]``, and the vectors of the words."""
    if not all(isinstance(text, str) for part in (train, test) for text in part):
        raise ZooError("texts: expected a list of strings")
    words = Words.of(train, WIDTH)
    return [words.numbers(part, _LENGTH) for part in (train, test)], words.vectors


def _labels(part: tuple[Any, Any]) -> Tensor:
    values = np.asarray(part[1])
    if values.shape != (len(part[0]),) or values.dtype.kind not in "iu" or not len(values):
        raise ZooError(
            f"labels: expected a class from 0 on for each of {len(part[0])} examples, found shape {values.shape} of "
            f"dtype {values.dtype}"
        )
    if (lowest := values.min()) < 0:
        raise ZooError(f"labels: expected classes from 0 on, found {lowest}; leave out examples without a class")
    return torch.from_numpy(values.astype(np.int64))


def _stops(architecture: str, epochs: int) -> tuple[int, ...]:
    shares = (0.1, 0.3, 0.6, 1.0) if architecture == "cnn" else (0.0, 0.5, 0.75, 1.0)
    return tuple(sorted({max(1, round(share * epochs)) for share in shares}))


def _content(*parts: Any) -> str:
    """A checksum of what the zoo is made from, to recognise it when a call continues."""
    digest = hashlib.sha256()
    for part in map(np.asarray, parts):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
