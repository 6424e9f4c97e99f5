"""Image sets by name, and CIFAR-10."""

import io
import os
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

from .._errors import ZooError
from ._images import ImageSet, fashion_mnist, idx, mnist5k

__all__ = ["cifar10", "image_set"]

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_BYTES = 3 * 32 * 32


def cifar10(
    folder: str | os.PathLike[str], split: Literal["train", "test"] = "train"
) -> tuple["UInt8[np.ndarray, 'images 32 32 3']", "Int64[np.ndarray, ' images']"]:
    """CIFAR-10 from its files, of either version: ``cifar-10-batches-bin`` or ``cifar-10-batches-py``.

    The latter are pickles, of which nothing but numbers is accepted.

    Args:
        folder: holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or the same without ``.bin``.
        split: "train" or "test".

    Returns:
        Images ``[N, 32, 32, 3]`` (uint8, red, green, blue) and labels ``[N]``.

    Raises:
        ZooError: names the file that is missing or damaged.
    """
    if split not in _BATCHES:
        raise ZooError(f"split: expected 'train' or 'test', found {split!r}")
    binary = Path(folder, f"{_BATCHES[split][0]}.bin").is_file()
    read = _binary if binary else _pickled
    parts = [read(Path(folder, f"{name}.bin" if binary else name)) for name in _BATCHES[split]]
    pixels, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels.astype(np.int64)


def image_set(name: str, split: Literal["train", "test"] = "train") -> ImageSet:
    """An image set by name: "mnist5k", "fashion-mnist", or a folder with CIFAR-10 or with IDX files.

    Raises:
        ZooError: if it is not there, or has no such split.
    """
    if name == "mnist5k":
        if split != "train":
            raise ZooError(f"mnist5k has training images only, {split!r} was asked for")
        return mnist5k()
    if name == "fashion-mnist":
        return fashion_mnist(split)
    is_cifar10 = any(Path(name, f"data_batch_1{end}").is_file() for end in ("", ".bin"))
    return cifar10(name, split) if is_cifar10 else idx(name, split)


def _binary(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of a label and the red, green and blue pixels, row by row."""
    content = np.frombuffer(_read(file), np.uint8)
    if not len(content) or len(content) % (1 + _BYTES):
        raise ZooError(f"{file}: expected records of {1 + _BYTES} bytes, found {len(content)} bytes")
    records = content.reshape(-1, 1 + _BYTES)
    return records[:, 1:], records[:, 0]


def _pickled(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """A dictionary with an array ``data`` and a list ``labels``, as Python 2 pickled it."""
    try:
        content = _Numbers(io.BytesIO(_read(file)), encoding="bytes").load()
        pixels, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    except ZooError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise ZooError(f"{file} is no batch of CIFAR-10: {error!r}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _BYTES) or labels.dtype.kind not in "iu":
        raise ZooError(
            f"{file}: expected uint8 data of shape ({len(labels)}, {_BYTES}) and integers as labels, found "
            f"{pixels.dtype} of shape {pixels.shape} and {labels.dtype}"
        )
    return pixels, labels


class _Numbers(pickle.Unpickler):
    """Reads arrays, lists, dictionaries and strings; refuses whatever else a pickle would run."""

    def find_class(self, module: str, name: str) -> Any:
        rebuild = np.empty(0).__reduce__()[0]  # numpy has moved it over the years
        known = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": rebuild}
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in known:
            return known[name]
        raise pickle.UnpicklingError(f"it would run {module}.{name}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ZooError(f"{file} cannot be read: {error}") from error
