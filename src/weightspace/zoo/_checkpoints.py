"""Batches of networks from checkpoints of one architecture, in any of the usual formats."""

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .._errors import SpaceError, ZooError
from ..space import WeightFeatures, WeightSpace
from ._state_files import Paths, find_networks, read_state

__all__ = ["Checkpoints", "read_checkpoints", "with_bar"]

Item = TypeVar("Item")

_PREFIXES = ("module.", "_orig_mod.")  # DataParallel and DistributedDataParallel; torch.compile


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoints:
    """Networks read from files. Made by `read_checkpoints`.

    Attributes:
        theta: the networks as raw weights.
        names: one name for each network: its path below the folder that was read, without the suffix of a file.
        skipped: names of the checkpoints that were left out, with the reason.
    """

    theta: WeightFeatures
    names: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of networks."""
        return len(self.names)

    def __repr__(self) -> str:
        """A line that tells the number of networks, their space and how many were left out."""
        without = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"Checkpoints({len(self)} networks {self.theta.space.summary()}{without})"


def read_checkpoints(
    path: Paths,
    space: WeightSpace,
    *,
    dtype: torch.dtype | None = None,
    skip_damaged: bool = False,
    progress: bool = True,
) -> Checkpoints:
    """Reads checkpoints of one architecture as a batch of networks. No pickle is ever run.

    A network is a file (.safetensors, or a state dict of `torch.save` in .pt, .pth, .bin or .ckpt), or a folder with
    model.safetensors or pytorch_model.bin and a config.json, or with the index of their parts. The state dict may be
    wrapped: as the entry "state_dict", "model_state_dict" or "model", and with the prefix "module." or "_orig_mod." on
    every key. Networks are read one after the other, straight into the batch.

    Args:
        path: one network; or a folder, where networks are looked for at every depth and sorted by name; or a list of
            such paths, in its order. In folders, hidden files and what trainers put beside the weights (optimizer,
            scheduler, ...) do not count.
        space: the weight space of the networks.
        dtype: cast all weights to it; without it, those of another dtype than the first network are refused.
        skip_damaged: leave out what cannot be used, with one warning, instead of refusing everything: damaged files,
            other architectures, weights that are not finite.
        progress: show a bar if the error stream is a terminal.

    Raises:
        ZooError: if there is nothing to read, or two networks have one name; else names every checkpoint that cannot
            be used, with the reason: for one of another architecture its missing and unexpected keys.

    Example:
        >>> import tempfile, weightspace as ws
        >>> space = ws.mlp([2, 8, 1])
        >>> folder = tempfile.mkdtemp()
        >>> _ = ws.zoo.write_checkpoints(space.sample(3), folder, "pt", names=["a", "b", "c"])
        >>> read_checkpoints(folder, space).names
        ('a', 'b', 'c')
    """
    if not isinstance(space, WeightSpace):
        raise ZooError(f"space: expected a weight space, as ws.from_module makes it, found {type(space).__name__}")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ZooError(f"dtype: expected a floating dtype such as torch.float32, found {dtype!r}")
    found = find_networks(path)
    batch, refused = _Batch(space, len(found), dtype), {}
    for name, file in with_bar(found.items(), progress):
        try:
            batch.add(read_state(file))
        except (ZooError, SpaceError) as error:
            refused[name] = _without_number(str(error))
    if refused:
        what, reasons = f"{len(refused)} of {len(found)} checkpoints", _listed(refused, found)
        if len(refused) == len(found):
            raise ZooError(f"cannot use {what}: {reasons}")
        if not skip_damaged:
            raise ZooError(f"cannot use {what} (skip_damaged=True leaves them out): {reasons}")
        warnings.warn(f"left out {what}: {reasons}", stacklevel=2)
    return Checkpoints(batch.weights(), tuple(name for name in found if name not in refused), refused)


class _Batch:
    """Stacked weights of a known number of networks, filled one by one."""

    def __init__(self, space: WeightSpace, size: int, dtype: torch.dtype | None) -> None:
        self.space, self.size, self.dtype, self.count = space, size, dtype, 0
        self.names = {name for stored in space.stored for name in (stored.name, *stored.aliases)}
        self.rows: list[Tensor] = []

    def add(self, state: dict[str, Tensor]) -> None:
        """Appends a network, or refuses it and leaves the batch as it was."""
        state = _without_prefix(state, self.names)
        floating = {key: state[key] for key in self.names if key in state and state[key].is_floating_point()}
        if self.dtype is not None:
            state |= {key: tensor.to(self.dtype) for key, tensor in floating.items()}
        elif len(kinds := sorted({str(tensor.dtype) for tensor in floating.values()})) > 1:
            raise ZooError(f"the weights are {' and '.join(kinds)}; dtype={kinds[-1]}, say, casts all")
        one = self.space.stack([state])
        if not self.rows and self.size > 1:
            self.rows = [tensor.new_empty(self.size, *tensor.shape[1:]) for tensor in one.tensors]
        self.rows = self.rows or list(one.tensors)
        if one.dtype != self.rows[0].dtype:
            raise ZooError(
                f"the weights are {one.dtype}, those of the first network {self.rows[0].dtype}; "
                "dtype=torch.float32, say, casts all"
            )
        for row, tensor in zip(self.rows, one.tensors, strict=True):
            row[self.count] = tensor[0]
        self.count += 1

    def weights(self) -> WeightFeatures:
        """The networks added."""
        return WeightFeatures(self.space, tuple(row[: self.count] for row in self.rows))


def with_bar(networks: Collection[Item], progress: bool = True) -> Iterable[Item]:
    """The items, with a bar that tells how many were taken if the error stream is a terminal."""
    if progress:
        try:
            from tqdm import tqdm
        except ImportError:  # a bar is no reason to need it
            return networks
        bar: Iterable[Item] = tqdm(networks, disable=None, unit="network", desc="reading checkpoints")
        return bar
    return networks


def _without_prefix(state: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """The state dict with the keys that the module had before it was wrapped."""
    while state and not names & state.keys():
        prefix = next((p for p in _PREFIXES if all(str(key).startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _without_number(message: str) -> str:
    """A message of `WeightSpace.stack` on a batch of one, without the number of the network."""
    return message.removeprefix("network 0: ").replace(" of network 0", "").replace(" in network 0", "")


def _listed(refused: Mapping[str, str], found: Mapping[str, Path]) -> str:
    """The paths of all checkpoints that were refused, with the reason, those with the same one together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in refused.items():
        by_reason.setdefault(reason, []).append(str(found[name]))
    lines = [f"{', '.join(files)}: {reason}" for reason, files in by_reason.items()]
    return lines[0] if len(lines) == 1 else "\n  ".join(["", *lines])
