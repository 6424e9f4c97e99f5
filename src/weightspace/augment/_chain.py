"""What all augmentations have in common, several in turn, and one of several."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from .._errors import WeightspaceError
from ..space import WeightFeatures, check_features

__all__ = ["Augmentation", "Chain", "OneOf", "check"]


class Augmentation(Protocol):
    """A random map of networks to networks of the same space."""

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """The changed networks; draws come from a generator on the CPU, from the global one if it is None."""
        ...


class Chain:
    """Several augmentations, one after the other.

    Args:
        augmentations: in the order in which they are applied.

    Example:
        >>> import torch, weightspace as ws
        >>> from weightspace import augment
        >>> change = augment.Chain(augment.RotateInputs(45), augment.GaussianNoise(0.1))
        >>> theta = ws.siren([2, 32, 32, 1]).sample(5)
        >>> change(theta, torch.Generator().manual_seed(0))
        WeightFeatures(batch=5, channels=1, dtype=torch.float32, device=cpu, space=2-32-32-1)
    """

    def __init__(self, *augmentations: Augmentation) -> None:
        self.augmentations = augmentations

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        for augmentation in self.augmentations:
            theta = augmentation(theta, generator)
        return theta

    def __repr__(self) -> str:
        """The augmentations in their order."""
        return f"Chain({', '.join(map(repr, self.augmentations))})"


class OneOf:
    """One of several augmentations for each network, drawn at random, all equally likely.

    Shamsian et al. (2024, arXiv 2402.04081) mix networks with copies that are changed in this way, see `SelfMixup`.

    Args:
        augmentations: to draw from; ``Chain()`` among them leaves its networks as they are.

    Raises:
        WeightspaceError: without any.
    """

    def __init__(self, *augmentations: Augmentation) -> None:
        if not augmentations:
            raise WeightspaceError("OneOf: expected at least one augmentation to draw from, found none")
        self.augmentations = augmentations

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)
        choice = torch.randint(len(self.augmentations), (len(theta),), generator=generator)
        places = [(choice == number).nonzero()[:, 0] for number in range(len(self.augmentations))]
        parts = [
            augmentation(theta[place], generator)
            for augmentation, place in zip(self.augmentations, places, strict=True)
            if len(place)
        ]
        back = torch.cat(places).argsort()
        return parts[0].map(lambda *tensors: torch.cat(tensors)[back], *parts[1:]) if parts else theta

    def __repr__(self) -> str:
        """The augmentations to draw from."""
        return f"OneOf({', '.join(map(repr, self.augmentations))})"


def check(augmentation: object, name: str, value: float, low: float, high: float) -> None:
    """WeightspaceError unless a setting is a finite number from ``low`` to ``high``."""
    if not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
        expected = f"a number from {low:g} to {high:g}" if high < math.inf else f"a finite number from {low:g} on"
        raise WeightspaceError(f"{type(augmentation).__name__}: {name}: expected {expected}, found {value!r}")
