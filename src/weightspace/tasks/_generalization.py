"""Predicting the test accuracy of trained networks from their weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import RecipeError, ZooError
from ..augment import Augmentation, Mixup, RandomElement
from ..zoo import Zoo
from ._augment import AugmentSettings
from ._metrics import kendall_tau, r_squared
from ._prediction import Prediction, column_of
from ._task import TaskSettings

__all__ = [
    "CnnGeneralizationSettings",
    "Generalization",
    "TransformerGeneralizationSettings",
]

Loss = Literal["bce", "mse"]


class Generalization(Prediction):
    """The test accuracy of each network of a zoo, through a sigmoid; metrics Kendall's τ-b, R² and L1.

    On the test split also, if asked for:

    - ``tau_scale_1e0``, ``tau_scale_1e1``, ...: τ on test networks moved by `augment.RandomElement` of that power, by
      random elements of their group, with scales U[1, 10^k] where it has scales: the same ones for every model;
    - ``tau_above_0.2``, ...: τ on the test networks with at least that accuracy.

    Args:
        zoo: trained networks with a column of test accuracies between 0 and 1.
        name: of the task.
        column: name of the column.
        loss: "bce", binary cross-entropy with the accuracy as the probability, or "mse".
        scales: powers k of ten.
        thresholds: accuracies.
        minimum: networks with a lower accuracy are left out of every split.
        step: only the networks stored after so many epochs count, by the zoo's column "step"; None for all.
        train_on_all_steps: those stored at other times count in training, but not in validation and test.
        augment: changes the networks of each training step.
        mixup: mixes them, and their accuracies, afterwards.

    Raises:
        ZooError: if the zoo has no such column, or it is no accuracy, or no network is left; with
            ``train_on_all_steps``, if one network is in the training split and in another one.
        RecipeError: for another loss, powers that are no numbers from 0 to 30, or thresholds that are no accuracies; or
            one of them twice; for ``train_on_all_steps`` without a step.
    """

    selection = "tau"
    outputs: int | None = 1
    factor = 1.0

    def __init__(
        self,
        zoo: Zoo,
        name: str = "cnn-generalization",
        column: str = "test_accuracy",
        *,
        loss: Loss = "bce",
        scales: tuple[int, ...] = (),
        thresholds: tuple[float, ...] = (),
        minimum: float = 0.0,
        step: int | None = None,
        train_on_all_steps: bool = False,
        augment: Augmentation | None = None,
        mixup: Mixup | None = None,
    ) -> None:
        _check(loss, scales, thresholds, minimum)
        accuracy = column_of(zoo, column)
        if accuracy.dtype.kind != "f" or not ((accuracy >= 0) & (accuracy <= 1)).all():
            raise ZooError(f"{zoo.path}: column {column!r} holds no accuracies, which are numbers from 0 to 1")
        kept = accuracy >= minimum
        if step is not None:
            counted = _stored_after(zoo, step)
            if train_on_all_steps and "train" in zoo.splits:
                _check_divided(zoo, counted)
                counted[zoo.splits["train"].numpy()] = True
            kept &= counted
        elif train_on_all_steps:
            raise RecipeError("train_on_all_steps: expected a step for validation and test beside it, found none")
        super().__init__(zoo, column, kept, augment, mixup)
        self.name, self.scales, self.thresholds = name, scales, thresholds
        self._loss = F.binary_cross_entropy_with_logits if loss == "bce" else _squared_error

    def check_selection(self) -> None:
        """ZooError if τ is not defined on the validation networks, so that no epoch could be the best one."""
        accuracy = self.targets["validation"]
        if len(accuracy.unique()) < 2:
            raise ZooError(
                f"{self.zoo.path}: validation split: expected networks of several accuracies, as τ compares their "
                f"order, found {len(accuracy)} of accuracy {accuracy[0]:g}; make the split larger"
            )

    def target(self, values: np.ndarray) -> Tensor:
        """Accuracies."""
        return torch.from_numpy(values).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, or the squared error of the sigmoid."""
        return self._loss(outputs[:, 0], targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Accuracies, of logits."""
        return outputs[:, 0].sigmoid()

    def measure(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """τ-b, R² and the mean absolute error."""
        return {
            "tau": kendall_tau(predicted, targets),
            "r2": r_squared(predicted, targets),
            "l1": float((predicted - targets).abs().mean()),
        }

    def measure_test(self, model: nn.Module, predicted: Tensor, targets: Tensor, batch_size: int) -> dict[str, float]:
        """τ-b above the thresholds, and on moved networks."""
        metrics = {}
        for value in self.thresholds:
            above = targets >= value
            metrics[f"tau_above_{value:g}"] = kendall_tau(predicted[above], targets[above])
        for power in self.scales:
            moved = RandomElement(power)(self.theta["test"], torch.Generator().manual_seed(power))
            metrics[f"tau_scale_1e{power}"] = kendall_tau(self.predictions(model, moved, batch_size), targets)
        return metrics


def _stored_after(zoo: Zoo, step: int) -> np.ndarray:
    """Which networks were stored after so many epochs, ``[networks]``; ZooError if none was."""
    steps = column_of(zoo, "step")
    stored: np.ndarray = steps == step
    if not stored.any():
        raise ZooError(
            f"{zoo.path}: step: expected one of {', '.join(map(str, np.unique(steps)))}, after which its networks "
            f"were stored, found {step}"
        )
    return stored


def _check_divided(zoo: Zoo, counted: np.ndarray) -> None:
    """ZooError if a network of the training split, at whatever step, is among those that count in another one."""
    column = "run" if "run" in zoo.metadata else "index"
    names = np.asarray(zoo.metadata[column])
    train = zoo.splits["train"].numpy()
    counted = counted.copy()
    counted[train] = False
    if len(shared := np.intersect1d(names[train], names[counted])):
        raise ZooError(
            f"{zoo.path}: train_on_all_steps: expected all checkpoints of a network in one split, found some in "
            f"training and some in another ({column} {', '.join(map(str, shared[:5]))}); divide the zoo by its column "
            f"{column!r}"
        )


def _check(loss: str, scales: tuple[int, ...], thresholds: tuple[float, ...] = (), minimum: float = 0.0) -> None:
    """RecipeError for impossible settings."""
    if loss not in ("bce", "mse"):
        raise RecipeError(f"loss: expected 'bce' or 'mse', found {loss!r}")
    if not all(0 <= power <= 30 for power in scales):
        raise RecipeError(f"scales: expected powers of ten from 0 to 30, found {list(scales)}")
    if not all(0 <= value <= 1 for value in (minimum, *thresholds)):
        raise RecipeError(f"minimum, thresholds: expected accuracies, found {minimum} and {list(thresholds)}")
    for name, values in {"scales": scales, "thresholds": thresholds}.items():
        if len(set(values)) < len(values):
            raise RecipeError(f"{name}: expected none of them twice, found {list(values)}")


def _squared_error(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    return F.mse_loss(logits.sigmoid(), targets, reduction=reduction)


@dataclass(frozen=True)
class _GeneralizationSettings(TaskSettings):
    """What predicting the accuracy of networks takes, whatever they are."""

    column: str = "test_accuracy"
    step: int | None = None
    train_on_all_steps: bool = False
    loss: Loss = "bce"
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    mixup: Mixup | None = None

    def _task(self, zoo: Zoo, **own: Any) -> Generalization:
        steps: dict[str, Any] = {"step": self.step, "train_on_all_steps": self.train_on_all_steps}
        changes: dict[str, Any] = {"augment": self.augment.chain(), "mixup": self.mixup}
        return Generalization(zoo, self.kind, self.column, loss=self.loss, **steps, **changes, **own)


@dataclass(frozen=True)
class CnnGeneralizationSettings(_GeneralizationSettings):
    """The test accuracy of CNNs. Unterthiner et al. (2020), arXiv 2002.11448.

    Attributes:
        column: of the zoo's metadata.
        step: epochs after which the networks were stored; None for all that there are of each.
        train_on_all_steps: whether ``step`` is that of validation and test alone.
        loss: "bce" or "mse".
        augment: random changes of the networks of each training step.
        mixup: settings of `augment.Mixup`, which mixes them afterwards; None for none.
        scales: powers k of the test-time augmentation with scales U[1, 10^k].
    """

    kind: ClassVar[str] = "cnn-generalization"
    scales: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        _check(self.loss, self.scales)

    def task(self, zoo: Zoo) -> Generalization:
        """The task on the networks of a zoo."""
        return self._task(zoo, scales=self.scales)


@dataclass(frozen=True)
class TransformerGeneralizationSettings(_GeneralizationSettings):
    """The test accuracy of transformers. Tran et al. (2024), arXiv 2410.04209.

    Attributes:
        column: of the zoo's metadata.
        step: epochs after which the networks were stored; None for all that there are of each.
        train_on_all_steps: whether ``step`` is that of validation and test alone.
        loss: "bce" or "mse".
        augment: random changes of the networks of each training step.
        mixup: settings of `augment.Mixup`, which mixes them afterwards; None for none.
        thresholds: accuracies; τ is also measured on the test networks above each.
        minimum: networks with a lower accuracy are left out of training, validation and test, as in the published
            protocol with one data set for each threshold.
    """

    kind: ClassVar[str] = "transformer-generalization"
    thresholds: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6)
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _check(self.loss, (), self.thresholds, self.minimum)

    def task(self, zoo: Zoo) -> Generalization:
        """The task on the networks of a zoo."""
        return self._task(zoo, thresholds=self.thresholds, minimum=self.minimum)
