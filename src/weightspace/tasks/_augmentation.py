"""Networks moved along their orbits: the same functions with other weights."""

from __future__ import annotations

import torch

from ..group import Monomial
from ..space import WeightFeatures

__all__ = ["orbit_points", "scale_augmented"]


def scale_augmented(theta: WeightFeatures, power: int, generator: torch.Generator | None = None) -> WeightFeatures:
    """Each network moved by a random element of its group: neurons permuted, scaled by U[1, 10^power], signs flipped.

    What the group of a neuron group lacks is left out: tanh and sine have signs and no scales, GELU has neither, and
    of general matrices only the permutations are drawn. Power 0 has permutations and signs alone. The function of a
    network stays the same; the arithmetic of the action is in float64.

    Source: Tran et al. (2024), arXiv 2409.11697, the augmentation of the CNN zoo.

    Args:
        theta: raw weights.
        power: of ten, the largest scale.
        generator: of the draws, on the CPU.
    """
    group = theta.space.symmetry().restricted(linear=False)
    element = group.sample(len(theta), generator, dtype=torch.float64, scale_range=1.0)
    for neurons, factor in zip(theta.space.groups, group.factors, strict=True):
        if factor.scales in ("positive", "nonzero"):
            index, signs = element[neurons.name]
            assert signs is not None  # the group has scales
            uniform = torch.rand(signs.shape, generator=generator, dtype=torch.float64)
            element[neurons.name] = Monomial(index, signs * (1 + (10.0**power - 1) * uniform))
    return group.act(element, theta.to(torch.float64)).to(theta.dtype)


def orbit_points(theta: WeightFeatures, points: int, generator: torch.Generator | None = None) -> WeightFeatures:
    """``points`` random points on the orbit of each network under its largest group, scales within [1/10, 10].

    Returns:
        The points of the first network, then those of the second, and so on.
    """
    group = theta.space.symmetry()
    repeated = theta[torch.arange(len(theta), device=theta.device).repeat_interleave(points)].to(torch.float64)
    element = group.sample(len(repeated), generator, dtype=torch.float64, device=theta.device)
    return group.act(element, repeated).to(theta.dtype)
