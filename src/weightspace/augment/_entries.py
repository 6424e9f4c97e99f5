"""Changes of single entries: noise, dropout, pruning. They change the function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..space import WeightFeatures, check_features
from ._chain import check

__all__ = ["DropWeights", "GaussianNoise", "PruneSmallest"]


@dataclass(frozen=True)
class GaussianNoise:
    """Adds independent normal noise to every entry, in proportion to the spread of its tensor.

    The noise of an entry has the standard deviation ``relative * std``, where std is that of the entries of this
    parameter of this network; a parameter of one entry has none. (The published augmentation of INRs adds the constant
    0.1 std instead of noise.)

    Attributes:
        relative: 0.1 in Navon et al. (2023, arXiv 2301.12780), 0.32 in Shamsian et al. (2024, arXiv 2402.04081).
    """

    relative: float = 0.1

    def __post_init__(self) -> None:
        check(self, "relative", self.relative, 0, float("inf"))

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)

        def noisy(tensor: Tensor) -> Tensor:
            entries = _entries(tensor)
            spread = entries.std(1, keepdim=True, correction=1 if entries.shape[1] > 1 else 0)
            noise = torch.randn(entries.shape, generator=generator, dtype=tensor.dtype).to(tensor)
            return (entries + self.relative * spread * noise).view(tensor.shape)

        return theta.map(noisy)


@dataclass(frozen=True)
class DropWeights:
    """Sets every entry to zero with a probability, and divides the others by the probability to stay.

    The mean of an entry over the draws is the entry.

    Attributes:
        probability: to become zero, below 1; 0.01 in Navon et al. (2023), 0.1 in Shamsian et al. (2024).
    """

    probability: float = 0.01

    def __post_init__(self) -> None:
        check(self, "probability", self.probability, 0, 0.999)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)

        def dropped(tensor: Tensor) -> Tensor:
            stays = torch.rand(tensor.shape, generator=generator) >= self.probability
            return tensor * stays.to(tensor) / (1 - self.probability)

        return theta.map(dropped)


@dataclass(frozen=True)
class PruneSmallest:
    """Sets the smallest entries of every parameter to zero: a share uniform in [0, highest] for each network.

    Of n entries the ``floor(share * n)`` of the smallest magnitude become zero, less those that equal the next one.

    Attributes:
        highest: the largest share; 0.1 in Shamsian et al. (2024, arXiv 2402.04081).
    """

    highest: float = 0.1

    def __post_init__(self) -> None:
        check(self, "highest", self.highest, 0, 1)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)
        share = torch.rand(len(theta), generator=generator, dtype=torch.float64).to(theta.device) * self.highest

        def pruned(tensor: Tensor) -> Tensor:
            entries = _entries(tensor)
            magnitude = entries.abs()
            place = (share * entries.shape[1]).long()[:, None, None].expand(-1, 1, entries.shape[2])
            smallest = magnitude.sort(1).values.take_along_dim(place, 1)
            return entries.where(magnitude >= smallest, 0).view(tensor.shape)

        return theta.map(pruned)


def _entries(tensor: Tensor) -> Tensor:
    """[batch, entries, channels]."""
    return tensor.reshape(len(tensor), -1, tensor.shape[-1])
