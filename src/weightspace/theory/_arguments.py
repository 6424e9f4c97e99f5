"""What functions of the theory ask of their arguments, with one sentence for each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import TheoryError
from ..space import WeightFeatures

__all__ = ["check_finite", "check_networks", "check_positive", "check_whole"]


def check_positive(name: str, value: object, *, zero: bool = False) -> None:
    """Refuses all but positive finite numbers, and perhaps zero."""
    if not (isinstance(value, int | float) and 0 <= value < math.inf and (zero or value > 0)):
        raise TheoryError(f"{name}: expected a positive number{' or zero' if zero else ''}, found {value!r}")


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuses all but whole numbers from the least one on."""
    if not (isinstance(value, int) and value >= least):
        raise TheoryError(f"{name}: expected a whole number, at least {least}, found {value!r}")


def check_finite(what: str, tensor: Tensor) -> None:
    """Refuses tensors with entries that are infinite or not a number."""
    if bad := int((~torch.isfinite(tensor)).sum()):
        raise TheoryError(f"{what}: expected finite numbers, found {bad} that are not, of {tensor.numel()}")


def check_networks(what: str, theta: WeightFeatures) -> None:
    """Refuses batches without networks, and weights that are infinite or not a number."""
    if not len(theta):
        raise TheoryError(f"{what}: expected at least one network, found an empty batch")
    for name, tensor in theta.items():
        check_finite(f"{what}: {name}", tensor)
