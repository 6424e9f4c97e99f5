"""Canonical forms by scaling and sorting neurons.

Off the set of networks with a tie of sort keys, ``canonicalize(g theta) = canonicalize(theta)`` for every g of the
group, and the canonical form is in the orbit of theta: two networks are in the same orbit if and only if their forms
agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import SymmetryError
from ..group import Monomial
from ..space import GroupElement, SymmetryGroup, WeightFeatures

__all__ = ["Canonical", "canonical_element", "canonicalize"]


class Canonical(NamedTuple):
    """A batch of networks in canonical form.

    Attributes:
        theta: the canonical form, ``group.act(element, original)``.
        element: the group elements that lead there.
        margin: [batch], how near each network is to a change of its order: while no bias (after normalisation, under
            positive scales) moves by half of it, the permutations and signs of ``element`` stay as they are. It is 0
            for a network with a tie, whose form depends on the order in which its neurons were given.
    """

    theta: WeightFeatures
    element: GroupElement
    margin: Float[Tensor, "batch"]


def canonicalize(theta: WeightFeatures, group: SymmetryGroup | str | None = None) -> Canonical:
    """Brings networks into canonical form; differentiable in the weights.

    The sort key of a neuron is its bias (the first vector of its neuron group), and keys ascend. Before that, each
    group with scales normalises its neurons: under signs every bias becomes non-negative; under positive scales the
    incoming weights and the bias of every neuron together get Euclidean norm 1, layer after layer, and the outgoing
    weights make up for it.

    Args:
        theta: raw weights (one channel).
        group: the symmetry, or its name; the largest known one if None. Neuron groups may have different ones.

    Raises:
        SymmetryError: for weight features with several channels, a group of another space, a permuted neuron group
            without a bias, or positive scales on a parameter that leads back into its own neuron group.

    Example:
        >>> import weightspace as ws
        >>> space = ws.mlp([2, 8, 8, 1])
        >>> theta, group = space.sample(5), space.symmetry("permutation")
        >>> moved = group.act(group.sample(5), theta)
        >>> bool((ws.canonicalize(moved, group).theta - ws.canonicalize(theta, group).theta).flatten().any())
        False
    """
    if not isinstance(group, SymmetryGroup):
        group = theta.space.symmetry(group)
    element, margin = canonical_element(theta, group)
    return Canonical(group.act(element, theta), element, margin)


def canonical_element(theta: WeightFeatures, group: SymmetryGroup) -> tuple[GroupElement, Float[Tensor, "batch"]]:
    """The ``element`` and the ``margin`` of `canonicalize` alone.

    To canonicalise features with several channels, take the element from the channel that holds the weights and let it
    act on all of them.

    Raises:
        SymmetryError: as `canonicalize` does.
    """
    space = theta.space
    if group.space != space:
        raise SymmetryError(f"the group is of another weight space: {space.difference(group.space)}")
    if theta.channels != 1:
        raise SymmetryError(
            f"a canonical form is of networks, which have 1 channel; found weight features with {theta.channels}"
        )
    unmoved: GroupElement = {neurons.name: Monomial() for neurons in space.groups}
    element = dict(unmoved)
    margin = theta.tensors[0].new_full((len(theta),), math.inf)
    for neurons, factor in zip(space.groups, group.factors, strict=True):
        if not factor.permutes and factor.scales == "none":
            continue
        scale = None
        if factor.scales == "positive":
            scale, normal = _norm_scale(theta, neurons.name)
            margin = torch.where(normal, margin, 0.0)
        elif factor.scales == "signs":
            key = _key(theta, neurons.name)
            scale = torch.where(key >= 0, 1.0, -1.0).to(key)
            margin = torch.minimum(margin, key.detach().abs().amin(1))
        # groups come in the order of computation: later ones see their incoming weights normalised
        theta = group.act({**unmoved, neurons.name: Monomial(None, scale)}, theta)
        permutation = None
        if factor.permutes:
            key, permutation = _key(theta, neurons.name).detach().sort(dim=1, stable=True)
            if neurons.size > 1:
                margin = torch.minimum(margin, key.diff(dim=1).amin(1))
        element[neurons.name] = Monomial(permutation, scale)
    return element, margin


def _key(theta: WeightFeatures, name: str) -> Float[Tensor, "batch n"]:
    """The bias of each neuron of a group: its first vector."""
    for parameter, tensor in zip(theta.space.parameters, theta.tensors, strict=True):
        if [(axis.group, axis.side) for axis in parameter.axes] == [(name, "out")]:
            return tensor.squeeze(-1)
    raise SymmetryError(f"neuron group {name!r} has no bias: there is nothing to sort its neurons by")


def _norm_scale(theta: WeightFeatures, name: str) -> tuple[Float[Tensor, "batch n"], Tensor]:
    """One over the norm of all that enters each neuron of a group (1 for a neuron that nothing enters).

    Returns:
        The scales, and [batch] whether something enters every neuron.
    """
    earlier = {group.name for group in theta.space.groups[: [g.name for g in theta.space.groups].index(name)]}
    squares = torch.zeros_like(_key(theta, name))
    for parameter, tensor in zip(theta.space.parameters, theta.tensors, strict=True):
        sides = [(axis.group, axis.side) for axis in parameter.axes]
        if (name, "out") not in sides:
            continue
        if not all(group in earlier for group, side in sides if side == "in" and group is not None):
            raise SymmetryError(
                f"parameter {parameter.name!r} leads into neuron group {name!r} from the same or a later one: its "
                "rows cannot be normalised one neuron group after the other"
            )
        squares = squares + tensor.movedim(1 + sides.index((name, "out")), 1).flatten(2).square().sum(2)
    entered = squares > 0
    return torch.where(entered, squares, 1.0).rsqrt(), entered.all(1)
