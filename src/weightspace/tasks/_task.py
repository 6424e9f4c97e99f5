"""What a recipe needs of a task beyond the training loop, and of the settings that choose one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..engine import Task
from ..space import WeightFeatures
from ..zoo import Zoo

__all__ = ["RecipeTask", "TaskSettings"]


class RecipeTask(Task, Protocol):
    """A `weightspace.engine.Task` on the networks of a zoo.

    Attributes:
        theta: the networks of each split that is not empty.
        outputs: length of the vector that a model gives for each network; None where it gives changed networks.
        factor: from the selection metric to the unit in which tables print it.
    """

    theta: dict[str, WeightFeatures]
    outputs: int | None
    factor: float

    def references(self) -> dict[str, float]:
        """Test values of the selection metric that need no learning, for the table."""
        ...


@dataclass(frozen=True)
class TaskSettings(ABC):
    """What is to be learnt: the [task] section of a recipe. Each kind of task has settings of its own.

    Attributes:
        kind: the key ``kind`` of the section; not stored as a setting.
    """

    kind: ClassVar[str]

    @abstractmethod
    def task(self, zoo: Zoo) -> RecipeTask:
        """The task on the networks of a zoo.

        Raises:
            ZooError: if the zoo lacks what the task needs.
            RecipeError: if a setting is impossible.
        """
