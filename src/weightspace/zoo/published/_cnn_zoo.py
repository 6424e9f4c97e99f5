"""The Small CNN Zoo (Unterthiner et al., 2020, arXiv 2002.11448)."""

import ast
import math
import random
from pathlib import Path

import numpy as np
import torch

from ..._errors import ZooError
from ...space import WeightFeatures, from_module
from .._zoo import Zoo
from ..networks import SmallCNN
from ._files import Source, read_table

__all__ = ["small_cnn_zoo"]

_LAYERS = ("conv0", "conv1", "conv2", "fc")


def small_cnn_zoo(source: Source, *, activation: str | None = None, step: int = 86) -> tuple[Zoo, ...]:
    """CNNs in ``weights.npy``, described by ``metrics.csv.gz`` and ``layout.csv``; a zoo for each activation."""
    folder = source.folder
    weights = _weights(folder / "weights.npy")
    metrics = read_table(folder / "metrics.csv.gz", ("step", "test_accuracy", "config.activation"))
    if len(metrics["step"]) != len(weights):
        raise ZooError(f"{folder}: weights.npy has {len(weights)} rows, metrics.csv.gz {len(metrics['step'])}")
    places = _places(folder / "layout.csv", weights.shape[1])
    order = _order(source, len(weights))
    rows = order[metrics["step"][order] == step]
    if activation is not None:
        rows = rows[metrics["config.activation"][rows] == activation]
    if not len(rows):
        raise ZooError(f"{folder} has no networks at step {step} with activation {activation or 'relu or tanh'}")
    split, zoos = _halves(len(rows)), []
    for name in dict.fromkeys(metrics["config.activation"][rows].tolist()):
        mine = metrics["config.activation"][rows] == name
        theta = _theta(weights, rows[mine], places, name)
        columns = {key: column[rows[mine]] for key, column in metrics.items()}
        columns |= {"index": rows[mine], "split": split[mine]}
        recipe = {"architecture": "cnn", "activation": name, "classes": theta.space.groups[-1].size}
        zoos.append(source.zoo(theta, columns, recipe=recipe, input_shape=[1, 28, 28]))
    return tuple(zoos)


def _weights(file: Path) -> np.ndarray:
    """The matrix of all weights, mapped into memory."""
    try:
        weights: np.ndarray = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:  # a pickle is a ValueError
        raise ZooError(f"{file} cannot be read as an array: {error}") from error
    if weights.ndim != 2 or weights.dtype.kind != "f":
        raise ZooError(f"{file}: expected a row of weights for each network, found {weights.dtype} {weights.shape}")
    return weights


def _order(source: Source, networks: int) -> np.ndarray:
    """The rows in the order in which they are divided.

    The published lists begin with a header, "0", which the published code reads as an index: row 0 stands in front.
    """
    if not source.published and source.splits is None and not sorted(source.folder.glob("*_split.csv")):
        return np.random.default_rng(source.seed).permutation(networks)
    file = source.split_file("*_split.csv", "the published order")
    try:
        order = np.loadtxt(file, dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as error:
        raise ZooError(f"{file}: expected the number of a row in each line: {error}") from error
    if not source.published and len(order) == networks + 1 and order[0] == 0:
        order = order[1:]
    wrong = order.min(initial=0) < 0 or order.max(initial=0) >= networks
    if wrong or (not source.published and len(np.unique(order)) < len(order)):
        raise ZooError(f"{file}: expected rows of {source.folder / 'weights.npy'}, 0 to {networks - 1}, none twice")
    return order


def _halves(networks: int) -> np.ndarray:
    """The second half for testing; of the first, drawn by Python's generator from seed 0, 80 % for training."""
    half = int(0.5 * networks)
    first = list(range(half))
    random.Random(0).shuffle(first)
    names = np.full(networks, "test", dtype="<U10")
    names[first[: int(0.8 * half)]] = "train"
    names[first[int(0.8 * half) :]] = "validation"
    return names


def _places(file: Path, width: int) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Where each tensor lies in a row, and its shape there, by the name that it gets."""
    layout = read_table(file, ("varname", "start_idx", "end_idx", "shape"))
    for bound in ("start_idx", "end_idx"):
        if (column := layout[bound]).dtype.kind not in "iu":
            raise ZooError(f"{file}: {bound}: expected a whole number in each line, found {column.tolist()[:3]}, …")
    layers: dict[str, str] = {}
    places = {}
    for name, start, end, text in zip(
        *(layout[key] for key in ("varname", "start_idx", "end_idx", "shape")), strict=True
    ):
        prefix, _, kind = str(name).rpartition("/")
        layer = layers.setdefault(prefix, _LAYERS[min(len(layers), 3)])
        try:
            shape = tuple(int(size) for size in ast.literal_eval(str(text)))
        except (ValueError, SyntaxError, TypeError) as error:
            raise ZooError(f"{file}: {name}: {text!r} is no shape") from error
        key = {"kernel:0": "weight", "bias:0": "bias"}.get(kind)
        fits = len(shape) in (1, 2, 4) and math.prod(shape) == end - start and 0 <= start < end <= width
        if key is None or not fits:
            raise ZooError(
                f"{file}: {name}: expected a kernel or bias {shape} within {width} weights, found {start}:{end}"
            )
        places[f"{layer}.{key}"] = slice(int(start), int(end)), shape
    expected = [f"{layer}.{key}" for layer in _LAYERS for key in ("weight", "bias")]
    if sorted(places) != sorted(expected) or len(layers) != len(_LAYERS):
        raise ZooError(f"{file}: expected kernels and biases of three convolutions and a linear layer")
    return places


def _theta(
    weights: np.ndarray, rows: np.ndarray, places: dict[str, tuple[slice, tuple[int, ...]]], activation: str
) -> WeightFeatures:
    """Networks of one activation. TensorFlow has kernels (height, width, in, out) and matrices (in, out)."""
    if activation not in ("relu", "tanh"):
        raise ZooError(f"metrics.csv.gz: expected the activations relu and tanh, found {activation!r}")
    space = from_module(SmallCNN("relu" if activation == "relu" else "tanh"), torch.randn(2, 1, 28, 28))
    flat = np.asarray(weights[rows], dtype=np.float32)
    if len(bad := np.flatnonzero(~np.isfinite(flat).all(1))):
        raise ZooError(
            f"weights.npy: row {rows[bad[0]]} has weights that are not finite, as have {len(bad) - 1} others"
        )
    tensors = {}
    for name, (place, shape) in places.items():
        part = flat[:, place].reshape(len(rows), *shape)
        axes = {4: (0, 4, 3, 1, 2), 2: (0, 2, 1), 1: (0, 1)}[len(shape)]
        tensors[name] = torch.from_numpy(np.ascontiguousarray(part.transpose(axes)))[..., None]
    return space.features(tensors)
