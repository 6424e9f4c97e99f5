"""The order of neurons in a canonical form: by a key, and by colour refinement where keys tie."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..space import SymmetryGroup, WeightFeatures
from ._colors import classes, refine
from ._normal import Normal
from ._structure import Place, columns, largest, midrange, permuted_units, places

__all__ = ["ordered"]


def ordered(normal: Normal, group: SymmetryGroup) -> tuple[dict[str, Tensor], Float[Tensor, "batch"]]:
    """Permutations that sort the neurons, and how far each network is from another order.

    Args:
        normal: networks whose scales and the like are normalised.
        group: says which neuron groups are sorted, and what else acts.

    Returns:
        For each neuron group [batch, n], and [batch] the smallest gap between two keys.
    """
    theta = normal.theta.detach()
    margin = theta.tensors[0].new_full((len(theta),), math.inf)
    tied = torch.zeros_like(margin, dtype=torch.bool)
    keys = {name: _key(theta, name, group) for name in permuted_units(group)}
    permutations: dict[str, Tensor] = {}
    for name, (key, size) in keys.items():
        ascending, permutations[name] = key.sort(dim=1, stable=True)
        if key.shape[1] > 1:
            gap = ascending.diff(dim=1).abs().amin(1)
            margin = torch.minimum(margin, gap)
            tied |= gap <= normal.noise * size
    if not tied.is_meta and bool(tied.any()):
        rows = tied.nonzero().squeeze(1)
        seeds = {name: classes(key[rows], 1, normal.noise * size[rows]) for name, (key, size) in keys.items()}
        entries = [classes(tensor, 1, normal.noise * largest(tensor)) for tensor in theta[rows].tensors]
        for name, colors in refine(theta.space, entries, seeds).items():
            permutations[name] = permutations[name].index_copy(0, rows, colors.argsort(dim=1, stable=True))
    return permutations, margin


def _key(theta: WeightFeatures, name: str, group: SymmetryGroup) -> tuple[Tensor, Tensor]:
    """[batch, n] the sort key of each unit, and [batch] the largest entry of what it is made from.

    No key moves by more than the entry that moves most.

    It is the first vector on the units; without one the midrange of what enters them; the root mean square over the
    parameters of each head, if general linear groups act on its coordinates.
    """
    space = theta.space
    found = places(space, name)
    if not found:  # colours decide
        return theta.tensors[0].new_zeros(len(theta), space.group(name).size), theta.tensors[0].new_ones(len(theta))
    vectors = [
        (i, axis) for i, axis in found if torch.Size(space.parameters[i].shape).numel() == space.group(name).size
    ]
    if vectors:
        key = columns(theta, [min(vectors, key=lambda place: _rank(group, place))])
        return key.squeeze(2), largest(key)
    if any(g.over == name and group.factor(g.name).scales == "linear" for g in space.groups):
        entries = columns(theta, found)
        return entries.square().mean(2).sqrt(), largest(entries)
    entering = [(i, axis) for i, axis in found if space.parameters[i].axes[axis - 1].side == "out"]
    entries = columns(theta, entering or found)
    return midrange(entries), largest(entries)


def _rank(group: SymmetryGroup, place: Place) -> tuple[bool, bool, int]:
    """Biases and the like come first, of these the ones that are not normalised; gains, variances and matrices last."""
    parameter = group.space.parameters[place[0]]
    carried = [name for axis in parameter.axes for name, _ in axis.carried()]
    return len(carried) != 1, any(group.factor(name).scales != "none" for name in carried), place[0]
