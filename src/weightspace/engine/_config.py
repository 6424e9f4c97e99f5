"""The settings of one training run."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from .._errors import EngineError

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run; together with model, task and device they fix its result.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples a step, over all processes together. The last batch of an epoch may be smaller.
        learning_rate: its highest value.
        weight_decay: decoupled from the gradient for ``adamw``, a plain L2 penalty for ``adam``; on every parameter.
        optimizer: ``adamw`` or ``adam``, with torch's betas and epsilon.
        amsgrad: keep the largest second moment seen so far.
        schedule: ``constant``; ``warmup`` rises linearly over ``warmup_steps``, then stays; ``warmup-cosine`` falls
            along a cosine to ``min_learning_rate`` afterwards; ``plateau`` multiplies by ``plateau_factor`` when the
            training loss has not improved (by one part in 10⁴) for more than ``plateau_patience`` epochs.
        warmup_steps: optimiser steps; needed by the two warm-up schedules and by no other.
        plateau_patience: epochs.
        plateau_factor: between 0 and 1.
        min_learning_rate: where ``plateau`` and ``warmup-cosine`` end.
        clip_norm: largest Euclidean norm of the gradient of all parameters together; None leaves it alone.
        precision: ``bf16`` and ``fp16`` run the model's forward pass under autocast. Losses, and all evaluation, are
            computed in the model's own precision.
        seed: of batch order, dropout and whatever else draws random numbers in a training step.
        validate_every: epochs from one validation to the next; the last epoch is always validated.
        checkpoint_seconds: at most so much work is lost when the run is killed. The one setting without influence on
            the result: it may change when a run is resumed.

    Raises:
        EngineError: if a value is impossible or of another type, with the name of its setting.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Literal["adamw", "adam"] = "adamw"
    amsgrad: bool = False
    schedule: Literal["constant", "warmup", "warmup-cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    min_learning_rate: float = 1e-4
    clip_norm: float | None = None
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 42
    validate_every: int = 1
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        self._check_types()
        for name in ("epochs", "batch_size", "validate_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("weight_decay", "warmup_steps", "plateau_patience", "min_learning_rate", "seed"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "at least 0, and finite")
        self._require("checkpoint_seconds", self.checkpoint_seconds >= 0, "at least 0")
        self._require("learning_rate", 0 < self.learning_rate < math.inf, "a positive number")
        self._require("plateau_factor", 0 < self.plateau_factor < 1, "between 0 and 1")
        self._require("clip_norm", self.clip_norm is None or 0 < self.clip_norm < math.inf, "a positive number or None")
        for name in ("optimizer", "schedule", "precision"):
            choices = get_args(get_type_hints(type(self))[name])
            self._require(name, getattr(self, name) in choices, "one of " + ", ".join(map(repr, choices)))
        self._check_schedule()

    def _check_types(self) -> None:
        kinds: dict[Any, tuple[Any, str]] = {
            bool: (bool, "True or False"),
            int: (int, "a whole number"),
            float: (int | float, "a number"),
            float | None: (int | float | None, "a number or None"),
        }
        for name, hint in get_type_hints(type(self)).items():
            if hint in kinds:
                kind, expected = kinds[hint]
                value = getattr(self, name)
                self._require(name, isinstance(value, kind) and (hint is bool) == isinstance(value, bool), expected)

    def _check_schedule(self) -> None:
        """Settings that a schedule would silently ignore are refused."""
        if self.schedule.startswith("warmup"):
            self._require("warmup_steps", self.warmup_steps >= 1, f"at least 1 with schedule={self.schedule!r}")
        else:
            self._require("warmup_steps", self.warmup_steps == 0, f"0 with schedule={self.schedule!r}")
        if self.schedule in ("plateau", "warmup-cosine"):
            below = self.min_learning_rate < self.learning_rate
            self._require("min_learning_rate", below, f"below learning_rate={self.learning_rate!r}")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            value: Any = getattr(self, name)
            raise EngineError(f"training setting {name}={value!r}: expected {expected}")
