"""What all augmentations have in common, and several in turn."""

from __future__ import annotations

from typing import Protocol

import torch

from .._errors import WeightspaceError
from ..space import WeightFeatures

__all__ = ["Augmentation", "Chain", "check"]


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


def check(augmentation: object, name: str, value: float, low: float, high: float) -> None:
    """WeightspaceError unless a setting is a number from ``low`` to ``high``."""
    if not isinstance(value, int | float) or not low <= value <= high:
        raise WeightspaceError(
            f"{type(augmentation).__name__}: {name}: expected a number from {low:g} to {high:g}, found {value!r}"
        )
