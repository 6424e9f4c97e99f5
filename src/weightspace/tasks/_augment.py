"""The [task.augment] section of a recipe: random changes of the networks of a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..augment import (
    Augmentation,
    Chain,
    DropWeights,
    GaussianNoise,
    PruneSmallest,
    RandomElement,
    RotateInputs,
    ScaleInputs,
    SineShifts,
    SineSigns,
    TranslateInputs,
)

__all__ = ["AugmentSettings"]


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentations of `weightspace.augment`; None leaves one out.

    Attributes:
        rotate: degrees of `RotateInputs`.
        translate: distance of `TranslateInputs`.
        scale: amount of `ScaleInputs`.
        element: power of `RandomElement`.
        sine_signs: whether to apply `SineSigns`.
        sine_shifts: turns of `SineShifts`.
        noise: relative size of `GaussianNoise`.
        drop: probability of `DropWeights`.
        prune: highest share of `PruneSmallest`.
    """

    rotate: float | None = None
    translate: float | None = None
    scale: float | None = None
    element: float | None = None
    sine_signs: bool = False
    sine_shifts: int | None = None
    noise: float | None = None
    drop: float | None = None
    prune: float | None = None

    def chain(self) -> Augmentation | None:
        """The augmentations one after the other; None without any."""
        chosen: dict[Callable[[Any], Augmentation], float | None] = {
            RotateInputs: self.rotate,
            TranslateInputs: self.translate,
            ScaleInputs: self.scale,
            RandomElement: self.element,
            SineShifts: self.sine_shifts,
            GaussianNoise: self.noise,
            DropWeights: self.drop,
            PruneSmallest: self.prune,
        }
        steps: list[Augmentation] = [SineSigns()] if self.sine_signs else []
        steps += [make(value) for make, value in chosen.items() if value is not None]
        return Chain(*steps) if steps else None
