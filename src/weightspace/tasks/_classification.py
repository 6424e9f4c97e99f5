"""Telling what an INR shows from its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RecipeError, ZooError
from ..augment import Augmentation, Mixup
from ..zoo import Zoo
from ._augment import AugmentSettings
from ._prediction import Prediction, column_of
from ._task import TaskSettings

__all__ = ["InrClassification", "InrClassificationSettings"]


class InrClassification(Prediction):
    """The class of the image that each INR shows; the loss is the cross-entropy, the metric the accuracy.

    Args:
        zoo: INRs with a column of classes.
        column: name of the column.
        classes: the values that are classes, those that a model was trained on; by default all of the column.
            Outputs stand for them in increasing order.
        augment: changes the networks of each training step.
        mixup: mixes them, and their classes, afterwards.
        smoothing: the share of a training target that goes to all classes alike (Szegedy et al., 2016, arXiv
            1512.00567); 0.1 in Shamsian et al. (2024, arXiv 2402.04081).

    Raises:
        ZooError: if the zoo has no such column, or it holds numbers that are not whole, or not among ``classes``.
        RecipeError: for smoothing outside of [0, 1].
    """

    name = "inr-classification"
    selection = "accuracy"
    outputs: int | None
    factor = 100.0

    def __init__(
        self,
        zoo: Zoo,
        column: str = "label",
        *,
        classes: Sequence[object] | None = None,
        augment: Augmentation | None = None,
        mixup: Mixup | None = None,
        smoothing: float = 0.0,
    ) -> None:
        _check_smoothing(smoothing)
        self.smoothing = smoothing
        values = _labels(zoo, column)
        self.classes = np.unique(values if classes is None else np.asarray(classes))
        if unknown := sorted(set(values.tolist()) - set(self.classes.tolist())):
            raise ZooError(
                f"{zoo.path}: column {column!r}: expected the classes {_some(self.classes.tolist())}, found "
                f"{_some(unknown)} too; leave networks of other classes out, or train on a zoo that has them"
            )
        self.outputs = len(self.classes)
        super().__init__(zoo, column, augment=augment, mixup=mixup)

    def target(self, values: np.ndarray) -> Tensor:
        """Positions in `classes`."""
        return torch.from_numpy(np.searchsorted(self.classes, values))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy with classes, or with shares of classes ``[batch, classes]``."""
        shares = targets.to(outputs) if targets.is_floating_point() else targets
        return F.cross_entropy(outputs, shares, reduction="none")

    def soften(self, targets: Tensor) -> Tensor:
        """Shares of classes."""
        one_hot = F.one_hot(targets, len(self.classes)).float()
        return one_hot.lerp(torch.full_like(one_hot, 1 / len(self.classes)), self.smoothing)

    def predict(self, outputs: Tensor) -> Tensor:
        """Positions in `classes`."""
        return outputs.argmax(1)

    def measure(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """The share of INRs whose class is found."""
        return {"accuracy": float((predicted == targets).double().mean())}

    def references(self) -> dict[str, float]:
        """The most frequent training class, for every test INR."""
        return {
            "most frequent class": self.measure(self.targets["train"].mode().values, self.targets["test"])["accuracy"]
        }


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing <= 1:
        raise RecipeError(f"smoothing: expected a number from 0 to 1, found {smoothing}")


@dataclass(frozen=True)
class InrClassificationSettings(TaskSettings):
    """The class of the image that an INR shows.

    Attributes:
        column: of the zoo's metadata.
        augment: random changes of the networks of each training step.
        mixup: settings of `augment.Mixup`, which mixes them afterwards; None for none.
        smoothing: share of a training target that goes to all classes alike.
    """

    kind: ClassVar[str] = "inr-classification"
    column: str = "label"
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    mixup: Mixup | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)

    def task(self, zoo: Zoo, classes: Sequence[object] | None = None) -> InrClassification:
        """The task on the networks of a zoo, with its classes or those given."""
        changes: dict[str, Any] = {"augment": self.augment.chain(), "mixup": self.mixup}
        return InrClassification(zoo, self.column, classes=classes, smoothing=self.smoothing, **changes)


def _labels(zoo: Zoo, column: str) -> np.ndarray:
    """A column whose values can be classes: texts and whole numbers."""
    values = column_of(zoo, column)
    if values.dtype.kind not in "biufUS":
        raise ZooError(f"{zoo.path}: column {column!r}: expected whole numbers or texts as classes, found other values")
    if values.dtype.kind == "f" and len(bad := np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)))):
        raise ZooError(
            f"{zoo.path}: column {column!r}: expected whole numbers or texts as classes, found {values[bad[0]]:g} at "
            f"network {bad[0]} ({len(bad)} such); leave these networks out, or name another column"
        )
    return values


def _some(values: Sequence[object], shown: int = 12) -> str:
    """The first of them, for messages."""
    return ", ".join(map(repr, values[:shown])) + (", …" if len(values) > shown else "")
