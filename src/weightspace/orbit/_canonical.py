"""Canonical forms: one network chosen from each orbit of a symmetry group.

Off the networks whose neurons cannot be told apart, ``canonicalize(g theta) = canonicalize(theta)`` for every g of the
group, and the canonical form is in the orbit of theta: two networks are in the same orbit if and only if their forms
agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..group import Linear, Monomial
from ..space import GroupElement, SymmetryGroup, WeightFeatures, check_features
from ._normal import normalized
from ._order import ordered
from ._phase import PhaseGroup
from ._sine import phase_element
from ._structure import check

__all__ = ["Canonical", "canonical_element", "canonicalize"]


class Canonical(NamedTuple):
    """A batch of networks in canonical form.

    Attributes:
        theta: the canonical form, ``group.act(element, original)``.
        element: the group elements that lead there.
        margin: [batch], how near each network is to a change of its order: while no entry of the normalised network
            moves by half of it, the permutations and signs of ``element`` stay as they are. It is 0 for a network with
            a tie of sort keys. Where general linear groups act, the smallest relative gap of singular values counts
            too.
    """

    theta: WeightFeatures
    element: dict[str, Any]
    margin: Float[Tensor, "batch"]


def canonicalize(theta: WeightFeatures, group: SymmetryGroup | PhaseGroup | str | None = None) -> Canonical:
    """Brings networks into canonical form; differentiable in the weights.

    First all that is not a permutation is normalised, neuron group after neuron group in an order in which the other
    ends of its parameters are normalised before:

    * positive scales: what enters each neuron (all parameters with the group on their *out* side) gets norm 1;
    * signs: the first vector of the neurons becomes non-negative; where there is none or it is 0, the mean of the
      largest and the smallest entering entry;
    * general linear groups: the balanced singular value decomposition of what enters times what leaves the units;
    * the phase group of the sine: its biases come to lie between 0 and a quarter period.

    Then the neurons are sorted by their first vector (bias, shift of a norm, running mean), or else by the mean of the
    largest and the smallest entering entry, heads by their norm. Ties are broken by colour refinement, see `wl_colors`.

    Args:
        theta: raw weights (one channel).
        group: the symmetry, or its name; the largest known linear one if None. ``"phase"`` is the `PhaseGroup`.

    Raises:
        SymmetryError: for weight features with several channels, a group of another space, and scales or matrices that
            no parameter determines.

    Example:
        >>> import weightspace as ws
        >>> space = ws.mlp([2, 8, 8, 1])
        >>> theta, group = space.sample(5), space.symmetry("permutation")
        >>> moved = group.act(group.sample(5), theta)
        >>> bool((ws.canonicalize(moved, group).theta - ws.canonicalize(theta, group).theta).flatten().any())
        False
    """
    check_features(theta)
    if group == "phase":
        group = PhaseGroup(theta.space)
    if isinstance(group, PhaseGroup):
        element, margin = phase_element(theta, group)
        return Canonical(group.act(element, theta), element, margin)
    if not isinstance(group, SymmetryGroup):
        group = theta.space.symmetry(group)
    matrices, margin = canonical_element(theta, group)
    return Canonical(group.act(matrices, theta), matrices, margin)


def canonical_element(theta: WeightFeatures, group: SymmetryGroup) -> tuple[GroupElement, Float[Tensor, "batch"]]:
    """The ``element`` and the ``margin`` of `canonicalize` alone.

    To canonicalise features with several channels, take the element from the channel that holds the weights and let it
    act on all of them.

    Raises:
        SymmetryError: as `canonicalize` does.
    """
    check(theta, group.space)
    normal = normalized(theta, group)
    permutations, margin = ordered(normal, group)
    element: GroupElement = {}
    for neurons in theta.space.groups:
        matrix = normal.element[neurons.name]
        if isinstance(matrix, Linear):
            heads = None if neurons.over is None else permutations.get(neurons.over)
            element[neurons.name] = Linear(matrix.matrix, heads)
        else:
            element[neurons.name] = Monomial(permutations.get(neurons.units), matrix.scale)
    return element, torch.minimum(margin, normal.margin)
