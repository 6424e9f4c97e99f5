"""From a loss to new weights: optimiser, gradient clipping, loss scaling and learning-rate schedule."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .._errors import EngineError
from ._config import TrainConfig

__all__ = ["Optimization", "learning_rate"]


class Optimization:
    """Updates the trainable parameters of a model by the settings of a run.

    Args:
        model: the model, on its device.
        config: the settings.
        total_steps: of the whole run.
        device: of the model.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, total_steps: int, device: torch.device) -> None:
        self.config, self.total_steps = config, total_steps
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise EngineError(f"{type(model).__name__} has no trainable parameter")
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, amsgrad=config.amsgrad
        )
        self.plateau = ReduceLROnPlateau(
            self.optimizer,
            factor=config.plateau_factor,
            patience=config.plateau_patience,
            min_lr=config.min_learning_rate,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

    @property
    def rate(self) -> float:
        """The present learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, loss: Tensor, step: int) -> None:
        """Follow the gradient of a loss; ``step`` counts from 0 over the whole run."""
        if self.config.schedule != "plateau":
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.config, step, self.total_steps)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def end_epoch(self, train_loss: float) -> None:
        """Lower the learning rate if the training loss has stopped falling and the schedule asks for it."""
        if self.config.schedule == "plateau":
            self.plateau.step(train_loss)

    def state_dict(self) -> dict[str, Any]:
        """The state of all parts."""
        return {name: getattr(self, name).state_dict() for name in ("optimizer", "plateau", "scaler")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """The learning rate of step ``step`` (the first is 0) for the schedules that are functions of time.

    Linear warm-up: η·(step + 1)/w. Cosine after it, with t from 0 to 1: η_min + (η − η_min)·(1 + cos πt)/2.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule != "warmup-cosine":
        return config.learning_rate
    time = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    amplitude = (config.learning_rate - config.min_learning_rate) / 2
    return config.min_learning_rate + amplitude * (1 + math.cos(math.pi * time))
