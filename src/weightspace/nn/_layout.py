"""How the axes of each parameter enter an equivariant map: those that the group moves first, the others as channels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .._errors import ModelError
from ..space import Axis, Parameter, SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["Layout", "Way", "autocast_dtype", "check_space", "layouts", "ways"]

Charge = tuple[tuple[str, int], ...]
"""How often an index is scaled by which neuron groups: (name, exponent), sorted, exponents modulo 2 for signs."""

Label = tuple[str, Charge]
"""The neuron group whose permutations move an index, and the charge with which it is scaled."""


@dataclass(frozen=True)
class Layout:
    """The axes of one parameter, split into those that a group moves and dense ones.

    Attributes:
        units: for each moving axis the neuron group whose permutations move it.
        charges: how each moving axis is scaled; empty where nothing scales it.
        signs: the neuron groups whose scales are signs.
        order: axes of a tensor [batch, *axes, channels] with the moving axes in front.
        sizes: of the moving axes.
        dense: sizes of the dense axes; they are folded into the channels.
    """

    units: tuple[str, ...]
    charges: tuple[Charge, ...]
    signs: frozenset[str]
    order: tuple[int, ...]
    sizes: tuple[int, ...]
    dense: tuple[int, ...]

    @property
    def multiplicity(self) -> int:
        """How many folded channels stand for one channel."""
        return int(torch.Size(self.dense).numel())

    def fold(self, tensor: Tensor) -> Tensor:
        """[batch, *axes, channels] -> [batch, *moving, dense * channels]; a view where no dense axis comes first."""
        return tensor.permute(self.order).flatten(1 + len(self.units)) if self.dense else tensor

    def unfold(self, tensor: Tensor) -> Tensor:
        """The inverse of `fold`."""
        if not self.dense:
            return tensor
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        unfolded: Tensor = tensor.unflatten(-1, (*self.dense, -1))
        return unfolded.permute(inverse)

    def label(self, block: tuple[int, ...]) -> Label:
        """Neuron group and charge of an index that runs over several moving axes at once."""
        return self.units[block[0]], _product((self.charges[i] for i in block), self.signs)


def _product(charges: Iterable[Charge], signs: frozenset[str]) -> Charge:
    total: dict[str, int] = {}
    for name, exponent in itertools.chain.from_iterable(charges):
        total[name] = total.get(name, 0) + exponent
    reduced = {name: exponent % 2 if name in signs else exponent for name, exponent in total.items()}
    return tuple(sorted((name, exponent) for name, exponent in reduced.items() if exponent))


@dataclass(frozen=True)
class Way:
    """One way to read, or to write, a parameter with fewer indices than it has moving axes.

    Attributes:
        parameter: position of the parameter.
        blocks: the moving axes, partitioned: axes of one block share an index.
        kept: positions of the blocks whose index is kept; reading pools over the others, writing broadcasts over them.
    """

    parameter: int
    blocks: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]


def layouts(space: WeightSpace, symmetry: SymmetryGroup) -> tuple[Layout, ...]:
    """The layout of each parameter of a space.

    A permuted group of one unit has nothing to permute and counts as dense: tying and pooling coincide on it, and the
    basis of equivariant maps would hold every such term twice.

    Raises:
        ModelError: for general linear groups, and for scales of neurons that are not permuted.
    """
    for group, factor in zip(space.groups, symmetry.factors, strict=True):
        if factor.scales == "linear":
            raise ModelError(
                f"neuron group {group.name!r}: no entry-wise map commutes with general matrices; take permutations in "
                "their place, with symmetry.restricted(linear=False)"
            )
        if factor.scales != "none" and not symmetry.factor(group.units).permutes:
            raise ModelError(f"neuron group {group.name!r}: a group that scales neurons must permute them too")
    return tuple(_layout(parameter, space, symmetry) for parameter in space.parameters)


def _layout(parameter: Parameter, space: WeightSpace, symmetry: SymmetryGroup) -> Layout:
    signs = frozenset(g.name for g in space.groups if symmetry.factor(g.name).scales == "signs")

    def charge(axis: Axis) -> Charge:
        scaled = [(name, side) for name, side in axis.carried() if symmetry.factor(name).scales != "none"]
        return _product((((name, 1 if side == "out" else -1),) for name, side in scaled), signs)

    def moves(axis: Axis) -> bool:
        if axis.group is None:
            return False
        return bool(charge(axis)) or (axis.size > 1 and symmetry.factor(space.group(axis.group).units).permutes)

    moving = [i for i, axis in enumerate(parameter.axes) if moves(axis)]
    dense = [i for i in range(len(parameter.axes)) if i not in moving]
    axes = [parameter.axes[i] for i in moving]
    return Layout(
        units=tuple(space.group(str(axis.group)).units for axis in axes),
        charges=tuple(map(charge, axes)),
        signs=signs,
        order=(0, *(1 + i for i in moving), *(1 + i for i in dense), 1 + len(parameter.axes)),
        sizes=tuple(axis.size for axis in axes),
        dense=tuple(parameter.axes[i].size for i in dense),
    )


def ways(i: int, layout: Layout) -> Iterator[Way]:
    """All ways to read parameter i that a symmetry allows: what is pooled over must not be scaled."""
    for blocks in _partitions(layout.units, len(layout.units)):
        free = [b for b, block in enumerate(blocks) if not layout.label(block)[1]]
        for count in range(len(free) + 1):
            for pooled in itertools.combinations(free, count):
                yield Way(i, blocks, tuple(b for b in range(len(blocks)) if b not in pooled))


def _partitions(units: tuple[str, ...], n: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The partitions of the first n axes into blocks of the same units each."""
    if n == 0:
        yield ()
        return
    for rest in _partitions(units, n - 1):
        yield (*rest, (n - 1,))
        for b, block in enumerate(rest):
            if units[block[0]] == units[n - 1]:
                yield (*rest[:b], (*block, n - 1), *rest[b + 1 :])


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype in which autocast makes matrix products on a kind of device; None where it is off or unknown."""
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def check_space(
    expected: WeightSpace, theta: WeightFeatures, channels: int | None = None, like: Tensor | None = None
) -> None:
    """Refuses weight features of another space, number of channels, dtype or device with a `ModelError`."""
    if not isinstance(theta, WeightFeatures):
        raise ModelError(
            f"expected weight features, found {type(theta).__name__}; space.stack or space.features make them"
        )
    if theta.space != expected:
        raise ModelError(f"this network is for another weight space: {expected.difference(theta.space)}")
    if channels is not None and theta.channels != channels:
        raise ModelError(f"this network takes weight features with {channels} channels, found {theta.channels}")
    if like is None or autocast_dtype(like.device.type) is not None:
        return
    if theta.dtype != like.dtype or theta.device != like.device:
        raise ModelError(
            f"this network is {like.dtype} on {like.device}, the weight features are {theta.dtype} on {theta.device}; "
            "use theta.to(...)"
        )
