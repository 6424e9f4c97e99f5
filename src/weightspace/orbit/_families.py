"""Families of neuron groups that are matched together, and how similar their units are in two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Size, Tensor

from ..group import GENERAL_LINEAR, TRIVIAL, GeneralLinearGroup, Linear, Monomial
from ..space import Axis, GroupElement, Parameter, SymmetryGroup, WeightSpace
from ._structure import units_of

__all__ = ["Family", "Kind", "Place", "Scores", "families"]

_WIDE = 64  # entries of a unit from which on a product is worth being kept


class Kind(NamedTuple):
    """What multiplies the entries of a unit, beside its permutation.

    Attributes:
        signs: the neuron groups whose signs do.
        frame: the neuron group on whose coordinates a general matrix does, if any.
    """

    signs: frozenset[str] = frozenset()
    frame: str | None = None


class Place(NamedTuple):
    """An axis of a parameter that carries the units of a family.

    Attributes:
        parameter: its index among those of the family.
        axes: the axis of the units, then that of their coordinates, if there is one; counted from 1.
        kind: what multiplies its entries.
    """

    parameter: int
    axes: tuple[int, ...]
    kind: Kind


Scores = dict[Kind, Float[Tensor, "batch rows rows"]]
"""Inner products of the units of a network (rows) with those of another one (columns), by kind. A row is a unit, or a
unit with one of its coordinates."""


@dataclass(frozen=True)
class Family:
    """Neuron groups of the same units, whose matrices are found together.

    Attributes:
        name: the neuron group whose permutations they share.
        space: the parameters that carry the units.
        parameters: the indices of these parameters in the whole space.
        permutes: whether the units are permuted.
        signs: the neuron groups that have signs.
        frames: the neuron groups on whose coordinates general matrices act, each with whether its determinant must be
            positive: those of every unit, which is a head, or else the family itself.
        movers: all neuron groups of the whole space that move.
    """

    name: str
    space: WeightSpace
    parameters: tuple[int, ...]
    permutes: bool
    signs: tuple[str, ...]
    frames: tuple[tuple[str, bool], ...]
    movers: frozenset[str]

    @property
    def size(self) -> int:
        """The number of units; units that are no heads, but have a frame, count as one with so many coordinates."""
        return 1 if self.name in dict(self.frames) else self.space.group(self.name).size

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where the parameters carry the units."""
        return tuple(
            Place(index, (position, *self._coordinates(parameter, position)), self._kind(parameter, axis))
            for index, parameter in enumerate(self.space.parameters)
            for position, axis in enumerate(parameter.axes, start=1)
            if units_of(self.space, axis) == self.name
        )

    def _coordinates(self, parameter: Parameter, units: int) -> tuple[int, ...]:
        return tuple(
            i for i, axis in enumerate(parameter.axes, start=1) if i != units and axis.group in dict(self.frames)
        )

    def _kind(self, parameter: Parameter, axis: Axis) -> Kind:
        frames = [other.group for other in parameter.axes if other.group in dict(self.frames)]
        return Kind(frozenset(n for n, _ in axis.carried()) & frozenset(self.signs), frames[0] if frames else None)

    @cached_property
    def repeated(self) -> bool:
        """Whether a parameter carries the family twice: then the inner product is not linear in its element."""
        return len({place.parameter for place in self.places}) < len(self.places)

    @cached_property
    def constant(self) -> tuple[Place, ...]:
        """Places with many entries that nothing else moves: their products are needed once."""
        return tuple(place for place in self.places if self._is_constant(place))

    def _is_constant(self, place: Place) -> bool:
        return not self.frames and self.entries(place) >= _WIDE and not self.moved_by(place)

    def entries(self, place: Place) -> int:
        """The number of entries that a unit has there."""
        shape = self.space.parameters[place.parameter].shape
        return Size(shape).numel() // shape[place.axes[0] - 1]

    def moved_by(self, place: Place) -> set[str]:
        """The neuron groups that move the other axes there."""
        axes = self.space.parameters[place.parameter].axes
        others = {n for i, axis in enumerate(axes, start=1) if i not in place.axes for n in _names(self.space, axis)}
        return others & self.movers

    def relabelled(self, order: Tensor | None, like: Tensor) -> GroupElement:
        """The element that permutes the units and does nothing else; in tensors that can be written to."""
        batch, linear = len(like), dict(self.frames)
        element: GroupElement = {}
        for neurons in self.space.groups:
            own = None if order is None else order.clone()
            if neurons.name in linear:
                heads = () if neurons.name == self.name else (self.size,)
                eye = torch.eye(neurons.size, dtype=like.dtype, device=like.device)
                element[neurons.name] = Linear(eye.repeat(batch, *heads, 1, 1), own)
            elif neurons.units == self.name:
                ones = torch.ones(batch, self.size, dtype=like.dtype, device=like.device)
                element[neurons.name] = Monomial(own, ones if neurons.name in self.signs else None)
        return element

    def act(self, element: GroupElement, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The action of an element, which need not name what it does not move, on the family's parameters."""
        everything: GroupElement = {group.name: Monomial() for group in self.space.groups}
        everything |= element
        factors = (GENERAL_LINEAR if isinstance(everything[g.name], Linear) else TRIVIAL for g in self.space.groups)
        group = SymmetryGroup(self.space, tuple(factors))
        sides = group.sides(everything, tensors[0])
        return [group.act_on(p, t, sides) for p, t in zip(self.space.parameters, tensors, strict=True)]

    def scores(
        self,
        moved: Sequence[Tensor],
        fixed: Sequence[Tensor],
        places: Sequence[Place],
        onto: Scores | None = None,
        *,
        stride: int = 1,
    ) -> Scores:
        """The inner products of the units over some places, in the parameters of one network and of another one.

        They are added to those in ``onto``. Of the entries of each unit every ``stride``-th one counts.
        """
        by_kind: dict[Kind, list[Place]] = {}
        for place in places:
            by_kind.setdefault(place.kind, []).append(place)
        found: Scores = dict(onto or {})
        for kind, same in by_kind.items():
            pairs = [
                (_rows(moved[p.parameter], p.axes, stride), _rows(fixed[p.parameter], p.axes, stride)) for p in same
            ]
            found[kind] = _product(pairs, found.get(kind))
        return found


def families(group: SymmetryGroup) -> list[Family]:
    """The families of a group, in the order of its neuron groups."""
    space = group.space
    moving = [
        g.name
        for g, f in zip(space.groups, group.factors, strict=True)
        if f.permutes or f.scales not in ("none", "positive")
    ]
    movers = frozenset(moving) | {space.group(name).units for name in moving}
    found: dict[str, Family] = {}
    for name in moving:
        neurons = space.group(name)
        root = neurons.units if neurons.over is None or group.factor(name).scales != "linear" else neurons.over
        if root in found:
            continue
        same = [g.name for g in space.groups if g.units == root]
        linear = [n for n in moving if group.factor(n).scales == "linear" and root in (n, space.group(n).over)]
        indices = [i for i, p in enumerate(space.parameters) if any(units_of(space, a) == root for a in p.axes)]
        found[root] = Family(
            root,
            WeightSpace(space.groups, tuple(space.parameters[i] for i in indices)),
            tuple(indices),
            group.factor(root).permutes and root not in linear,
            tuple(n for n in same if group.factor(n).scales in ("signs", "nonzero")),
            tuple((n, _is_positive(group, n)) for n in linear),
            movers,
        )
    return list(found.values())


def _is_positive(group: SymmetryGroup, name: str) -> bool:
    factor = group.factor(name)
    return isinstance(factor, GeneralLinearGroup) and factor.positive


def _names(space: WeightSpace, axis: Axis) -> set[str]:
    """The neuron groups that move an axis or multiply it."""
    units = units_of(space, axis)
    return {name for name, _ in axis.carried()} | ({units} if units else set())


def _rows(tensor: Tensor, axes: tuple[int, ...], stride: int = 1) -> Tensor:
    """[batch, *axes, 1] -> [batch, units (times coordinates), entries]."""
    ahead = tensor.squeeze(-1).movedim(axes, tuple(range(1, 1 + len(axes))))
    rows = ahead.flatten(1, len(axes)).flatten(2) if ahead.dim() > 1 + len(axes) else ahead.flatten(1)[..., None]
    return rows if stride == 1 else rows[..., ::stride].contiguous()


def _product(pairs: list[tuple[Tensor, Tensor]], total: Tensor | None) -> Tensor:
    """The sum of the products and of ``total``; factors with few columns are put side by side first."""
    narrow = [pair for pair in pairs if pair[0].shape[2] < _WIDE]
    wide = [pair for pair in pairs if pair[0].shape[2] >= _WIDE]
    if narrow:
        wide.append((torch.cat([a for a, _ in narrow], dim=2), torch.cat([b for _, b in narrow], dim=2)))
    for a, b in wide:
        total = a @ b.mT if total is None else torch.baddbmm(total, a, b.mT)
    assert total is not None
    return total
