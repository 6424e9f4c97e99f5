"""State dicts of others: single files, and the layout of the published MNIST INRs. Nothing is ever unpickled freely."""

import os
import pickle
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, siren

__all__ = ["load_state_dicts", "mnist_inrs"]


def load_state_dicts(paths: Iterable[str | os.PathLike[str]]) -> list[dict[str, Tensor]]:
    """State dicts from .safetensors files, or from .pt and .pth files that hold nothing but tensors.

    Raises:
        ZooError: names a file that is missing, damaged, or holds anything that unpickling would have to run.
    """
    return [_load(Path(path)) for path in paths]


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


def _load(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns before it refuses
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ZooError(
            f"{path} is a pickle that holds more than tensors, and may run any code when it is loaded: refused. "
            "If you trust it, load it yourself and save its state dict with safetensors.torch.save_file"
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise ZooError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ZooError(f"{path}: expected a state dict, names with tensors, found {type(state).__name__}")
    return state
