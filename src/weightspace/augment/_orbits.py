"""Moves along the orbit: the same function with other weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .._errors import WeightspaceError
from ..group import Monomial
from ..orbit import Phase, PhaseGroup
from ..space import WeightFeatures, check_features
from ._chain import check

__all__ = ["RandomElement", "SineShifts", "SineSigns"]


@dataclass(frozen=True)
class RandomElement:
    """Moves each network by a random element of its symmetry group; what it computes stays the same.

    Permutations and signs are uniform, positive scales uniform in [1, 10^power] as in Tran et al. (2024, arXiv
    2409.11697), and general matrices, where there are any, have condition numbers up to 10^power. The arithmetic is in
    float64.

    Attributes:
        power: of ten; 0 leaves all scales at 1.
        group: name of the group, as `WeightSpace.symmetry` knows it; the largest one if None.
    """

    power: float = 0.0
    group: str | None = None

    def __post_init__(self) -> None:
        check(self, "power", self.power, 0, 30)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)
        highest = 10.0**self.power
        group = theta.space.symmetry(self.group)
        element = group.sample(len(theta), generator, dtype=torch.float64, scale_range=highest)
        for neurons, factor in zip(theta.space.groups, group.factors, strict=True):
            matrix = element[neurons.name]
            if factor.scales in ("positive", "nonzero") and isinstance(matrix, Monomial) and matrix.scale is not None:
                uniform = torch.rand(matrix.scale.shape, generator=generator, dtype=torch.float64)
                element[neurons.name] = matrix._replace(scale=matrix.scale.sign() * (1 + (highest - 1) * uniform))
        return group.act(element, theta.to(torch.float64)).to(theta.dtype)


@dataclass(frozen=True)
class SineSigns:
    """Flips the sign of each unit of a SIREN with probability 1/2: of all that enters it and all that leaves it.

    The function stays the same (Shamsian et al., 2024, arXiv 2402.04081).
    """

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`; SymmetryError for networks without sines."""
        return _moved(theta, generator, signs=True, turns=0)


@dataclass(frozen=True)
class SineShifts:
    """Shifts the bias of each unit of a SIREN by k π / ω, k uniform in -turns, ..., turns - 1.

    What leaves the unit changes its sign with odd k, and the function stays the same (Shamsian et al., 2024, arXiv
    2402.04081).

    Attributes:
        turns: the largest number of half periods; 4 as published.
    """

    turns: int = 4

    def __post_init__(self) -> None:
        check(self, "turns", self.turns, 1, 1000)
        if not isinstance(self.turns, int):
            raise WeightspaceError(f"SineShifts: turns: expected a whole number, found {self.turns!r}")

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`; SymmetryError for networks without sines."""
        return _moved(theta, generator, signs=False, turns=self.turns)


def _moved(theta: WeightFeatures, generator: torch.Generator | None, *, signs: bool, turns: int) -> WeightFeatures:
    """The action of a random element of the phase group without permutations, in float64: biases are far from 0."""
    check_features(theta)
    group = PhaseGroup(theta.space)
    element = {}
    for name in group.periods:
        shape = (len(theta), theta.space.group(name).size)
        sign = torch.ones(shape, dtype=torch.float64)
        shift = torch.zeros_like(sign)
        if signs:
            sign = torch.randint(0, 2, shape, generator=generator).to(sign) * 2 - 1
        if turns:
            shift = torch.randint(-turns, turns, shape, generator=generator).to(sign)
        element[name] = Phase(None, sign, shift)
    return group.act(element, theta.to(torch.float64)).to(theta.dtype)
