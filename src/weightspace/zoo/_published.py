"""State dicts of others: single files, and the layout of the published MNIST INRs. Nothing is ever unpickled freely."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, siren
from ._state_files import read_state

__all__ = ["load_state_dicts", "mnist_inrs"]


def load_state_dicts(paths: Iterable[str | os.PathLike[str]]) -> list[dict[str, Tensor]]:
    """State dicts of files and Hugging Face folders such as `read_checkpoints` takes, their keys as they are.

    Raises:
        ZooError: names a file that is missing, damaged, or holds anything that unpickling would have to run.
    """
    return [_read(Path(path)) for path in paths]


def mnist_inrs(folder: str | os.PathLike[str]) -> tuple[WeightFeatures, dict[str, np.ndarray]]:
    """The MNIST INRs of Navon et al. (2023, arXiv 2301.12780) as published.

    They lie in ``folder/mnist_png_{training|testing}_{label}_{image}/checkpoints/model_final.pth``.

    Returns:
        The weights, training images first, and columns for `write_zoo`: "label", "index" (of the image in its
        part of MNIST) and "split" ("train" or "test").

    Raises:
        ZooError: if there are none, or one is damaged.
    """
    found = []
    for file in Path(folder).glob("mnist_png_*_*_*/checkpoints/model_final.pth"):
        part, digit, image = file.parents[1].name.split("_")[2:]
        found.append((part != "training", int(image), int(digit), file))
    if not found:
        raise ZooError(f"{folder} has no files mnist_png_training_LABEL_IMAGE/checkpoints/model_final.pth")
    is_test, index, label, files = zip(*sorted(found), strict=True)
    space = siren([2, 32, 32, 1], layer_names=["seq.0", "seq.1", "seq.2"])
    columns: dict[str, Int64[np.ndarray, " networks"]] = {"label": np.array(label), "index": np.array(index)}
    return space.stack(load_state_dicts(files)), {**columns, "split": np.where(is_test, "test", "train")}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return read_state(path)
    except ZooError as error:
        raise ZooError(f"{path}: {error}") from error
