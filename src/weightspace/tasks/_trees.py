"""Trees on weight statistics as a model that a task can measure."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import RecipeError
from ..models import StatisticsPredictor
from ..space import WeightFeatures
from ._prediction import Prediction
from ._task import RecipeTask

__all__ = ["TREES", "Trees"]

TREES: dict[str, Literal["boosting", "forest"]] = {"statistics-boosting": "boosting", "statistics-forest": "forest"}
"""Baselines that recipes know as architectures: statistics of the weights into trees."""

_EDGE = 1e-6  # accuracies that trees predict lie this far inside of 0 and 1, where logits are finite


class Trees(nn.Module):
    """`StatisticsPredictor` with the outputs of a network: logits of an accuracy, or of classes. It has no parameters.

    Args:
        architecture: a name in `TREES`.
        task: what they predict.
        seed: of the trees.

    Raises:
        RecipeError: for a task that asks for changed networks.
        ModelError: if scikit-learn is not installed.
    """

    def __init__(self, architecture: str, task: RecipeTask, seed: int) -> None:
        super().__init__()
        if not isinstance(task, Prediction):
            raise RecipeError(f"{architecture} predicts numbers and classes; task {task.name!r} asks for networks")
        self.task = task
        self.classes = task.outputs if not task.targets["train"].is_floating_point() else None
        target: Literal["regression", "classification"] = "regression" if self.classes is None else "classification"
        self.predictor = StatisticsPredictor(TREES[architecture], target, seed)

    def fit(self) -> None:
        """Grows the trees on the training split."""
        self.predictor.fit(self.task.theta["train"], self.task.targets["train"])

    def forward(self, theta: WeightFeatures) -> Float[Tensor, "batch outputs"]:
        """Logits of accuracies, ``[batch, 1]``, or the class as a unit vector."""
        found = self.predictor.predict(theta).to(theta.device)
        if self.classes is None:
            return torch.logit(found, eps=_EDGE)[:, None].float()
        return F.one_hot(found, self.classes).float()
