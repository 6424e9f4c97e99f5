"""What models have said about the networks of a test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from ._runs import Run
from ._table import Group, Row

__all__ = ["Said", "all_said", "best", "first_seeds", "number_of_classes"]


@dataclass(frozen=True)
class Said:
    """What one run says about the test networks, and about the first of them along their orbits."""

    row: Row
    run: Run
    true: Shaped[np.ndarray, " n"]
    predicted: Shaped[np.ndarray, " n"]
    orbit: Shaped[np.ndarray, "m points"]

    @property
    def classes(self) -> bool:
        """Whether these are classes, not numbers."""
        return bool(self.predicted.dtype.kind == "i")

    @property
    def spread(self) -> float:
        """Along an orbit: the standard deviation, or how often the class is not that of the network as it is."""
        if self.classes:
            return float((self.orbit != self.predicted[: len(self.orbit), None]).mean())
        return float(self.orbit.std(1).mean())


def all_said(group: Group) -> list[Said]:
    """The predictions of all finished runs of a group that have some."""
    return [found for row in group.rows for run in row.runs if (found := _read(row, run)) is not None]


def _read(row: Row, run: Run) -> Said | None:
    """The predictions of a finished run; None if it has none, or they do not fit each other."""
    arrays = run.samples() or {}
    if run.result is None or not {"true", "predicted", "orbit"} <= arrays.keys():
        return None
    true, predicted, orbit = (arrays[name] for name in ("true", "predicted", "orbit"))
    if true.ndim != 1 or true.shape != predicted.shape or orbit.ndim != 2 or len(orbit) > len(true):
        return None
    return Said(row, run, true, predicted, orbit)


def first_seeds(said: Sequence[Said]) -> list[Said]:
    """The first seed of each variant."""
    return list({each.row.name: each for each in reversed(said)}.values())[::-1]


def best(group: Group, first: Sequence[Said], count: int) -> list[Said]:
    """Those with the best test metric, the best one first."""
    sign = -1 if group.direction == "max" else 1
    return sorted(first, key=lambda each: sign * each.run.measured("test"))[:count]


def number_of_classes(said: Sequence[Said]) -> int:
    """How many classes there are."""
    return 1 + max(int(max(each.true.max(), each.predicted.max())) for each in said)
