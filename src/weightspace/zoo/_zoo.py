"""Zoos in memory: `load`, `write_zoo`, and the split of the networks into training, validation and test sets."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import LongTensor, Tensor

from .._errors import ZooError
from ..space import WeightFeatures, WeightSpace
from ._images import as_images
from ._memory import InMemory
from ._store import RESERVED, ZooFolder

__all__ = ["Zoo", "check_raw", "load", "split_names", "write_zoo"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Zoo:
    """Networks of one architecture with what they were made from. Made by `load`, `fit_inrs` and `read_published`.

    Attributes:
        path: the folder.
        manifest: format, weight space, recipe, seed, image set, shards with their checksums; of published networks
            what they are and how they were split.
        metadata: columns, one entry for each network: "index" in the image set, "split", and what else is known
            ("label"; "psnr" in dB, "mse" and "steps" of fitted INRs).
    """

    path: Path
    manifest: Mapping[str, Any]
    metadata: Mapping[str, np.ndarray]
    _folder: ZooFolder | InMemory
    _shards: tuple[int, ...]

    def __repr__(self) -> str:
        """A line that tells the number of networks, their space and the folder."""
        return f"Zoo({len(self)} networks {self.space.summary()} in {str(self.path)!r})"

    def __len__(self) -> int:
        """The number of networks."""
        return len(self.metadata["index"])

    @cached_property
    def space(self) -> WeightSpace:
        """The weight space of the networks."""
        return self._folder.space

    @cached_property
    def weights(self) -> WeightFeatures:
        """All networks as raw weights. A zoo of one shard stays on the disk until its entries are used."""
        tensors = [self._joined(p.name) for p in self.space.parameters]
        missing = [p.name for p, t in zip(self.space.parameters, tensors, strict=True) if t is None]
        if missing:
            raise ZooError(f"{self.path}: the shards lack the tensors {', '.join(missing)}")
        return WeightFeatures(self.space, tuple(t[..., None] for t in tensors if t is not None))

    @cached_property
    def images(self) -> "UInt8[Tensor, 'networks height width *channels'] | None":
        """The images, or None for a zoo without."""
        return self._joined("image")

    @cached_property
    def splits(self) -> dict[str, LongTensor]:
        """Positions of the networks of each split: "train", "validation", "test"."""
        column = self.metadata["split"]
        return {name: torch.from_numpy(np.flatnonzero(column == name)) for name in SPLITS}  # type: ignore[misc]

    def verify(self) -> None:
        """Compares every shard with its checksum; ZooError names the first one that differs."""
        for number in self._shards:
            self._folder.check_shard(number, checksum=True)

    def _joined(self, name: str) -> Tensor | None:
        parts = [self._folder.shard(number, only=(name,)).get(name) for number in self._shards]
        found = [part for part in parts if part is not None]
        if len(found) != len(parts) or not found:
            return None
        return found[0] if len(found) == 1 else torch.cat(found)


def load(path: str | os.PathLike[str], *, checksums: bool = True, skip_damaged: bool = False) -> Zoo:
    """Loads a zoo. Shards are safetensors files, mapped into memory; nothing is ever unpickled.

    Args:
        path: the folder.
        checksums: compare every shard with its SHA-256 (1 GB takes seconds); otherwise its size alone.
        skip_damaged: leave damaged shards out, with a warning, instead of refusing the zoo.

    Raises:
        ZooError: if the folder is not a zoo, is not complete, or has a damaged shard, which it names.
    """
    folder = ZooFolder.open(Path(path))
    total, manifest = folder.manifest["networks"], folder.manifest
    if manifest["metadata"] is None:
        raise ZooError(f"{path} holds {folder.written} of {total} networks; call what made it again: it continues")
    rows, shards, start = [], [], 0
    for number, shard in enumerate(manifest["shards"]):
        try:
            folder.check_shard(number, checksum=checksums or skip_damaged)
        except ZooError as error:
            if not skip_damaged:
                raise ZooError(f"{error}; load(..., skip_damaged=True) leaves damaged shards out") from error
            warnings.warn(f"left out {shard['networks']} networks: {error}", stacklevel=2)
        else:
            shards.append(number)
            rows.append(np.arange(start, start + shard["networks"]))
        start += shard["networks"]
    if not shards:
        raise ZooError(f"{path}: every shard is damaged")
    keep = np.concatenate(rows)
    metadata = {name: column[keep] for name, column in folder.metadata().items()}
    return Zoo(Path(path), manifest, metadata, folder, tuple(shards))


def write_zoo(
    path: str | os.PathLike[str],
    theta: WeightFeatures,
    *,
    images: Any = None,
    columns: Mapping[str, Any] | None = None,
    splits: Sequence[int] | np.ndarray | None = None,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    shard_size: int = 4096,
) -> Zoo:
    """Writes networks, e.g. edited ones, as a zoo.

    Args:
        path: a folder that does not exist or is empty.
        theta: raw weights (one channel).
        images: uint8 ``[N, H, W]`` or ``[N, H, W, C]``, if the networks have images.
        columns: metadata, one entry for each network, e.g. ``{"label": ..., "index": ...}``. A column "split" holds
            "train", "validation" or "test", and stands for ``splits``.
        splits: as for `fit_inrs`.
        seed: of the split.
        about: anything that JSON can hold; goes into the manifest, beside its own keys.
        shard_size: networks in a file.

    Raises:
        ZooError: for numbers of networks that disagree, no networks, weights of several channels, or unknown splits.
            Nothing is written then.
    """
    if len(theta) == 0 or shard_size < 1:
        raise ZooError(f"expected at least 1 network and shard_size at least 1, found {len(theta)} and {shard_size}")
    if reserved := sorted(set(about or {}) & set(RESERVED)):
        raise ZooError(f"about: the manifest has keys {', '.join(reserved)} of its own; choose other names")
    check_raw(theta)
    rows = {name: np.asarray(column) for name, column in (columns or {}).items()}
    if flat := {name: column.shape for name, column in rows.items() if column.ndim != 1}:
        raise ZooError(f"columns: expected one axis, one entry for each network, found the shapes {flat}")
    stacked = {} if images is None else {"image": as_images(images)}
    wrong = {name: len(x) for name, x in (rows | stacked).items() if len(x) != len(theta)}
    if wrong:
        raise ZooError(f"expected one entry for each of {len(theta)} networks, found {wrong}")
    if unknown := sorted(set(map(str, rows.get("split", ()))) - set(SPLITS)):
        raise ZooError(f"column 'split': expected {', '.join(SPLITS)}, found {', '.join(unknown)}")
    rows = {"index": np.arange(len(theta)), "split": split_names(len(theta), splits, seed)} | rows
    folder = ZooFolder.create(Path(path), theta.space, len(theta), **(about or {}))
    theta = theta.detach().to("cpu")
    for start in range(0, len(theta), shard_size):
        part = slice(start, start + shard_size)
        folder.append(theta[part], {name: tensor[part] for name, tensor in stacked.items()})
    folder.finish(rows)
    return load(path)


def check_raw(theta: WeightFeatures) -> None:
    """ZooError unless these are finite raw weights."""
    if not isinstance(theta, WeightFeatures):
        raise ZooError(
            f"expected weight features, as space.stack([...]) makes them of modules; found {type(theta).__name__}"
        )
    if theta.channels != 1:
        raise ZooError(f"raw weights have 1 channel, found {theta.channels}; select one channel first")
    broken = [name for name, tensor in theta.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ZooError(f"non-finite weights in {', '.join(broken)}; drop these networks first")


def split_names(networks: int, splits: Sequence[int] | np.ndarray | None, seed: int) -> np.ndarray:
    """The split of each network, ``[networks]`` strings.

    Args:
        networks: how many there are.
        splits: three sizes (training, validation, test), drawn at random from the seed; or the names themselves, one
            for each network. By default 80 %, 10 % and 10 %.
        seed: of the draw.

    Raises:
        ZooError: for sizes that do not add up to at most ``networks``, or unknown names.
    """
    if splits is None:
        tenth = networks // 10
        splits = (networks - 2 * tenth, tenth, tenth)
    given = np.asarray(splits)
    if given.dtype.kind in "UO":
        unknown = sorted(set(given.tolist()) - set(SPLITS))
        if given.shape != (networks,) or unknown:
            raise ZooError(
                f"splits: expected {networks} names out of {', '.join(SPLITS)}, found {given.size} with {unknown}"
            )
        return given.astype(str)
    if given.shape != (3,) or given.dtype.kind not in "iu" or (given < 0).any() or given.sum() != networks:
        raise ZooError(f"splits: expected three sizes that add up to {networks}, found {list(splits)}")
    names = np.empty(networks, dtype="<U10")
    names[np.random.default_rng(seed).permutation(networks)] = np.repeat(SPLITS, given)
    return names
