"""The [task.augment] section of a recipe: random changes of the networks of a training step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .._errors import RecipeError
from ..augment import (
    Augmentation,
    Chain,
    DropWeights,
    GaussianNoise,
    Mixup,
    OneOf,
    PruneSmallest,
    RandomElement,
    RotateInputs,
    ScaleInputs,
    SelfMixup,
    SineShifts,
    SineSigns,
    TranslateInputs,
)
from ..space import WeightFeatures

__all__ = ["AugmentSettings", "attempt"]


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentations of `weightspace.augment`, one after the other; None leaves one out.

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
        one_of: for each network one of them alone, drawn at random (`OneOf`).
        self_mixup: alpha of `SelfMixup`: networks are mixed with copies that are changed by all of this.

    Raises:
        RecipeError: for ``one_of`` or ``self_mixup`` without augmentations.
        WeightspaceError: for an impossible setting of one of them.
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
    one_of: bool = False
    self_mixup: float | None = None

    def __post_init__(self) -> None:
        if self.chain() is None and (self.one_of or self.self_mixup is not None):
            raise RecipeError("augment: one_of and self_mixup need augmentations, such as rotate = 30")

    def chain(self) -> Augmentation | None:
        """All that is set as one augmentation; None without any."""
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
        if not steps:
            return None
        change = OneOf(*steps) if self.one_of else Chain(*steps)
        return change if self.self_mixup is None else SelfMixup(change, self.self_mixup)


def attempt(theta: WeightFeatures, augment: Augmentation | None, mixup: Mixup | None) -> None:
    """Changes and mixes some networks, and forgets them: what does not go with their space is refused.

    Each part of the augmentation is applied, as `OneOf` might not draw it. No draw comes from the global generator.

    Raises:
        WeightspaceError: of an augmentation, such as a rotation of inputs that are no plane, or of the alignment.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for part in _parts(augment):
            part(theta)
        if mixup is not None:
            mixup(theta)


def _parts(augment: Augmentation | None) -> list[Augmentation]:
    """An augmentation and all that it is made of."""
    if augment is None:
        return []
    inner: tuple[Augmentation, ...] = ()
    if isinstance(augment, Chain | OneOf):
        inner = tuple(augment.augmentations)
    elif isinstance(augment, SelfMixup):
        inner = (augment.change,)
    return [*itertools.chain.from_iterable(map(_parts, inner)), augment]
