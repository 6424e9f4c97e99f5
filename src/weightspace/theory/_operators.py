"""An equivariant operator that no architecture of colour refinement comes near."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..space import WeightFeatures
from ._pairs import Pair, wl_pair

__all__ = ["EquivariantPair", "equivariant_pair"]

_MIDDLE = "2.weight"


@dataclass(frozen=True, eq=False)
class EquivariantPair(Pair):
    """A pair of networks, and an equivariant operator that takes different values on them.

    Attributes:
        both: the two networks as one batch.
        functional: tells them apart, as in `Pair`.
        formula: the functional in words.
    """

    def target(self, theta: WeightFeatures) -> WeightFeatures:
        """The operator: W_2 becomes W_2 W_2^T W_2, all else 0. A polynomial that commutes with permutations."""
        zero = theta.map(torch.zeros_like)
        middle: Tensor = theta[_MIDDLE][..., 0]
        return theta.space.features({**zero, _MIDDLE: (middle @ middle.mT @ middle)[..., None]})

    @property
    def l2_lower_bound(self) -> float:
        """No operator that gives all weights of one colour one value has a smaller error on both networks.

        The error is the Euclidean distance to the target, the larger of those on the two networks. Weights of equal
        value have one colour here, in both networks. Sorted by colour, the output is one vector for both, and no vector
        is nearer to both targets than half of their distance.
        """
        order = self.both[_MIDDLE].flatten(1).argsort(dim=1, stable=True)
        first, second = self.target(self.both)[_MIDDLE].flatten(1).gather(1, order)
        return float((first - second).norm() / 2)


def equivariant_pair() -> EquivariantPair:
    """The pair of `wl_pair` with an equivariant operator whose approximation by colour refinement fails.

    Source: arXiv 2602.01083, proposition 7.3; the bound is sharpened here.

    Example:
        >>> equivariant_pair().l2_lower_bound
        2.0
    """
    pair = wl_pair("c8")
    return EquivariantPair(pair.both, pair.functional, pair.formula)
