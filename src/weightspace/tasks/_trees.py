"""Trees on features of networks, as a model that a task can measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import RecipeError
from ..models import StatisticsPredictor, weight_statistics
from ..orbit import canonicalize
from ..space import WeightFeatures
from ._prediction import Prediction
from ._probes import random_probes
from ._task import RecipeTask

__all__ = ["TREES", "Trees"]

TREES: dict[str, Literal["boosting", "forest"]] = {
    "statistics-boosting": "boosting",
    "statistics-forest": "forest",
    "canonical-boosting": "boosting",
    "probes-boosting": "boosting",
}
"""Baselines that recipes know as architectures: `weight_statistics` of the networks or of their canonical forms, or
`random_probes`, into trees."""

_EDGE = 1e-6  # accuracies that trees predict lie this far inside of 0 and 1, where logits are finite


class Trees(nn.Module):
    """Trees from scikit-learn with the outputs of a network: logits of an accuracy, or of classes. No parameters.

    Args:
        architecture: a name in `TREES`.
        task: what they predict.
        seed: of the trees.

    Raises:
        RecipeError: for a task that asks for changed networks.
        ZooError: for random probes of networks that cannot be run.
        SymmetryError: once they grow, for networks without a canonical form.
        ModelError: if scikit-learn is not installed.
    """

    def __init__(self, architecture: str, task: RecipeTask, seed: int) -> None:
        super().__init__()
        if not isinstance(task, Prediction):
            raise RecipeError(f"{architecture} predicts numbers and classes; task {task.name!r} asks for networks")
        self.task = task
        self.classes = task.outputs if not task.targets["train"].is_floating_point() else None
        self.features: Callable[[WeightFeatures], Tensor] = weight_statistics
        if architecture.startswith("canonical"):
            self.features = _canonical_statistics
        elif architecture.startswith("probes"):
            self.features = random_probes(task.zoo)
        target: Literal["regression", "classification"] = "regression" if self.classes is None else "classification"
        self.trees = StatisticsPredictor(TREES[architecture], target, seed).trees

    def fit(self) -> None:
        """Grows the trees on the training split."""
        self.trees.fit(self._rows(self.task.theta["train"]), self.task.targets["train"].cpu().numpy())

    def forward(self, theta: WeightFeatures) -> Float[Tensor, "batch outputs"]:
        """Logits of accuracies, ``[batch, 1]``, or the class as a unit vector."""
        found = torch.from_numpy(self.trees.predict(self._rows(theta))).to(theta.device)
        if self.classes is None:
            return torch.logit(found, eps=_EDGE)[:, None].float()
        return F.one_hot(found, self.classes).float()

    def _rows(self, theta: WeightFeatures) -> object:
        return self.features(theta.detach()).detach().double().cpu().numpy()


def _canonical_statistics(theta: WeightFeatures) -> Tensor:
    """`weight_statistics` of the canonical forms, which no symmetry changes, in double precision."""
    return weight_statistics(canonicalize(theta.to(torch.float64)).theta)
