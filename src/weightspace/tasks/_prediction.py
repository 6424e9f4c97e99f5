"""What the tasks share that predict something about each network of a zoo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .._errors import ZooError
from ..augment import Augmentation, Mixup, RandomElement
from ..engine import Split, collect, evaluating
from ..space import WeightFeatures
from ..zoo import Zoo
from ._augment import attempt

__all__ = ["Prediction"]

_ORBITS, _POINTS = 64, 8  # test networks of which the report shows the spread over the orbit, and points on each
_BATCH = 64


class Prediction(ABC):
    """A column of a zoo's metadata, to be predicted from the weights; subclasses say with which loss and metrics.

    Args:
        zoo: the networks.
        column: name of the column.
        kept: which networks count, ``[networks]``; all by default.
        augment: changes the networks of each training step.
        mixup: mixes them, and their targets, afterwards.

    Raises:
        ZooError: if the zoo has no such column, or no network counts.
        WeightspaceError: if its networks cannot be changed or mixed in this way.
    """

    name: str
    selection: str
    direction: Literal["min", "max"] = "max"
    outputs: int | None
    factor: float

    def __init__(
        self,
        zoo: Zoo,
        column: str,
        kept: np.ndarray | None = None,
        augment: Augmentation | None = None,
        mixup: Mixup | None = None,
    ) -> None:
        values = column_of(zoo, column)
        kept = np.ones(len(zoo), bool) if kept is None else kept
        if not kept.any():
            raise ZooError(f"{zoo.path}: no network is left of {len(zoo)}")
        self.zoo, self.space, self.column, self.augment, self.mixup = zoo, zoo.space, column, augment, mixup
        self.theta: dict[str, WeightFeatures] = {}
        self.targets: dict[str, Tensor] = {}
        for split, members in zoo.splits.items():
            index = members[torch.from_numpy(kept)[members]]
            if len(index):
                self.theta[split] = zoo.weights[index]
                self.targets[split] = self.target(values[index.numpy()])
        if "train" in self.theta:  # what is impossible is refused before anything is trained
            attempt(self.theta["train"][:2], augment, mixup)

    @abstractmethod
    def target(self, values: np.ndarray) -> Tensor:
        """Entries of the column as the loss takes them."""

    @abstractmethod
    def loss(self, outputs: Float[Tensor, "batch outputs"], targets: Tensor) -> Float[Tensor, " batch"]:
        """The loss of each network."""

    def soften(self, targets: Tensor) -> Tensor:
        """Targets as training takes them, which can be mixed; numbers as they are."""
        return targets

    @abstractmethod
    def predict(self, outputs: Float[Tensor, "n outputs"]) -> Tensor:
        """What a model says, from its outputs, in the units of the column, ``[n]``."""

    @abstractmethod
    def measure(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of predictions, `selection` among them."""

    def measure_test(self, model: nn.Module, predicted: Tensor, targets: Tensor, batch_size: int) -> dict[str, float]:
        """Further metrics of the test split alone; none by default."""
        return {}

    def size(self, split: Split) -> int:
        """The number of networks of a split that count."""
        return len(self.theta[split]) if split in self.theta else 0

    def to(self, device: torch.device | str) -> Prediction:
        """Moves the data to a device, in place."""
        self.theta = {split: theta.to(device) for split, theta in self.theta.items()}
        self.targets = {split: targets.to(device) for split, targets in self.targets.items()}
        return self

    def losses(self, model: nn.Module, split: Split, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The loss of each network; in training of changed and mixed ones."""
        theta, targets = self.theta[split][index], self.targets[split][index]
        if model.training:
            theta, targets = self._changed(theta, self.soften(targets))
        return self.loss(model(theta), targets)

    def _changed(self, theta: WeightFeatures, targets: Tensor) -> tuple[WeightFeatures, Tensor]:
        if self.augment is not None:
            theta = self.augment(theta)
        if self.mixup is None:
            return theta, targets
        mixed = self.mixup(theta)
        return mixed.theta, mixed.targets(targets)

    def evaluate(self, model: nn.Module, split: Split, batch_size: int) -> dict[str, float]:
        """The metrics over a split; over the test split all of them."""
        if split not in self.theta:
            raise ZooError(f"the zoo has no network in its {split} split that counts")
        predicted, targets = self.predictions(model, self.theta[split], batch_size), self.targets[split].cpu()
        metrics = self.measure(predicted, targets)
        return metrics | (self.measure_test(model, predicted, targets, batch_size) if split == "test" else {})

    def predictions(self, model: nn.Module, theta: WeightFeatures, batch_size: int) -> Tensor:
        """What the model says about some networks, on the CPU; several processes share the work."""
        shape = (self.outputs or 1,)
        with evaluating(model):
            outputs = collect(
                lambda index: model(theta[index]), len(theta), batch_size, shape=shape, device=theta.device
            )
        return self.predict(outputs.cpu().double())

    def references(self) -> dict[str, float]:
        """None by default."""
        return {}

    def samples(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Of the test networks "true" and "predicted" [n], and predictions along orbits of the first, "orbit" [m, 8].

        The orbits are those of the largest group of the networks, with scales U[1, 10] and general matrices of
        condition numbers up to 10.
        """
        theta = self.theta["test"]
        repeated = torch.arange(min(len(theta), _ORBITS), device=theta.device).repeat_interleave(_POINTS)
        moved = RandomElement(power=1.0)(theta[repeated], torch.Generator().manual_seed(0))
        predicted, orbit = (
            self.predict(torch.cat([model(each[i : i + _BATCH]) for i in range(0, len(each), _BATCH)]).cpu().double())
            for each in (theta, moved)
        )
        return {"true": self.targets["test"].cpu(), "predicted": predicted, "orbit": orbit.unflatten(0, (-1, _POINTS))}


def column_of(zoo: Zoo, column: str) -> np.ndarray:
    """A column of the metadata; ZooError lists the columns."""
    if column not in zoo.metadata:
        raise ZooError(f"{zoo.path} has no column {column!r} in its metadata; it has {', '.join(sorted(zoo.metadata))}")
    return np.asarray(zoo.metadata[column])
