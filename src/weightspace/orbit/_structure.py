"""Where a neuron group is in the parameters, and how to move one group alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .._errors import SymmetryError
from ..group import GENERAL_LINEAR, TRIVIAL, Linear, Matrix, Monomial
from ..space import Axis, GroupElement, SymmetryGroup, WeightFeatures, WeightSpace

__all__ = [
    "Carrier",
    "Place",
    "carriers",
    "check",
    "columns",
    "largest",
    "midrange",
    "moved",
    "permuted_units",
    "places",
    "relabelled",
    "units_of",
]


Place = tuple[int, int]
"""The index of a parameter, and an axis of its tensors [batch, *axes, channels]."""


class Carrier(NamedTuple):
    """An axis of a parameter whose entries are multiplied by the matrices of a neuron group.

    Attributes:
        place: the parameter and the axis.
        side: on which it carries the group, "out" or "in".
        others: the other neuron groups whose matrices multiply the parameter.
        width: number of its entries for each unit (of each head).
    """

    place: Place
    side: str
    others: frozenset[str]
    width: int


def carriers(space: WeightSpace) -> dict[str, list[Carrier]]:
    """For each neuron group its carriers; a parameter that carries the group twice is none."""
    found: dict[str, list[Carrier]] = {group.name: [] for group in space.groups}
    for index, parameter in enumerate(space.parameters):
        carried = [(n, s, i) for i, axis in enumerate(parameter.axes, start=1) for n, s in axis.carried()]
        names = [name for name, _, _ in carried]
        entries = torch.Size(parameter.shape).numel()
        for name, side, position in carried:
            if names.count(name) > 1:
                continue
            group = space.group(name)
            units = group.size if group.over is None else group.size * space.group(group.over).size
            found[name].append(Carrier((index, position), side, frozenset(names) - {name}, entries // units))
    return found


def places(space: WeightSpace, name: str) -> list[Place]:
    """The axes whose entries the units of a neuron group move, one of a parameter; none if it has several of them."""
    found = []
    for index, parameter in enumerate(space.parameters):
        axes = [i for i, axis in enumerate(parameter.axes, start=1) if units_of(space, axis) == name]
        if len(axes) == 1:
            found.append((index, axes[0]))
    return found


def columns(theta: WeightFeatures, chosen: Iterable[Place], over: str | None = None) -> Tensor:
    """All entries of some parameters by the unit that they belong to: [batch, (heads,) units, entries]."""
    parts = []
    for index, axis in chosen:
        tensor = theta.tensors[index]
        if over is None:
            parts.append(tensor.movedim(axis, 1).flatten(2))
        else:
            heads = [other.group for other in theta.space.parameters[index].axes].index(over) + 1
            parts.append(tensor.movedim((heads, axis), (1, 2)).flatten(3))
    return torch.cat(parts, dim=-1)


def midrange(x: Tensor) -> Tensor:
    """The mean of the largest and the smallest entry along the last axis.

    It is odd, no order of the entries changes a bit of it, and it moves by no more than the entry that moves most.
    """
    return (x.amax(-1) + x.amin(-1)) / 2


def largest(x: Tensor) -> Tensor:
    """[batch] the largest magnitude of the entries of each network."""
    return x.flatten(1).abs().amax(1)


def units_of(space: WeightSpace, axis: Axis) -> str | None:
    """The neuron group whose permutations move an axis, if any."""
    return None if axis.group is None else space.group(axis.group).units


def permuted_units(group: SymmetryGroup) -> Iterator[str]:
    """The neuron groups whose units the elements permute; others are tied to them."""
    for neurons, factor in zip(group.space.groups, group.factors, strict=True):
        if neurons.tied is None and factor.permutes and factor.scales != "linear":
            yield neurons.name


def moved(theta: WeightFeatures, name: str, matrix: Matrix) -> WeightFeatures:
    """The action of a matrix on one neuron group alone."""
    space = theta.space
    factors = [GENERAL_LINEAR if isinstance(matrix, Linear) and g.name == name else TRIVIAL for g in space.groups]
    unmoved: GroupElement = {group.name: Monomial() for group in space.groups}
    return SymmetryGroup(space, tuple(factors)).act(unmoved | {name: matrix}, theta)


def relabelled(theta: WeightFeatures, permutations: dict[str, Tensor]) -> WeightFeatures:
    """The action of permutations of some neuron groups."""
    space = theta.space
    element: GroupElement = {group.name: Monomial(permutations.get(group.name)) for group in space.groups}
    return SymmetryGroup(space, (TRIVIAL,) * len(space.groups)).act(element, theta)


def check(theta: WeightFeatures, space: WeightSpace) -> None:
    """Refuses weight features of another space, and such that are no networks."""
    if space != theta.space:
        raise SymmetryError(f"the group is of another weight space: {theta.space.difference(space)}")
    if theta.channels != 1:
        raise SymmetryError(
            f"a canonical form is of networks, which have 1 channel; found weight features with {theta.channels}"
        )
