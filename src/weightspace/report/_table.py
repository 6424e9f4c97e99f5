"""Runs grouped by recipe, and within it by variant over seeds, with the spread that belongs to each mean."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ._runs import Run

__all__ = ["Estimate", "Group", "Row", "group_runs", "power_of_ten", "unit_of"]

UNITS = {
    "mse": (100.0, "MSE × 10⁻²", 2),
    "accuracy": (100.0, "accuracy in %", 2),
    "tau": (1.0, "Kendall's τ", 3),
    "r2": (1.0, "R²", 3),
    "l1": (1.0, "L1", 4),
}
"""How papers print a metric: factor, unit and digits. Any other metric is printed as it is, with three digits."""


def power_of_ten(exponent: str) -> str:
    """As it is printed."""
    return "10" + exponent.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def unit_of(metric: str) -> tuple[float, str, int]:
    """Factor, unit and digits of a metric; ``tau_scale_1e3`` and ``tau_above_0.2`` are τ under a condition."""
    if metric.startswith("tau_scale_1e"):
        return 1.0, f"τ, scales to {power_of_ten(metric.removeprefix('tau_scale_1e'))}", 3
    if metric.startswith("tau_above_"):
        return 1.0, f"τ, accuracy ≥ {metric.removeprefix('tau_above_')}", 3
    return UNITS.get(metric, (1.0, metric, 3))


@dataclass(frozen=True)
class Estimate:
    """A mean with its spread.

    Attributes:
        mean: the mean of the values.
        spread: their sample standard deviation (n − 1 in the denominator); None for a single value.
        count: the number of values; 0 if it is not known, as for published figures.
    """

    mean: float
    spread: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate | None":
        """The estimate of some values; None without any."""
        values = list(values)
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
        return cls(statistics.fmean(values), spread, len(values))

    def text(self, factor: float = 1.0, digits: int = 2) -> str:
        """The mean, ± its spread if there is one, times a factor."""
        spread = "" if self.spread is None else f" ± {factor * self.spread:.{digits}f}"
        return f"{factor * self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class Row:
    """One variant of a recipe over its seeds.

    Attributes:
        name: the variant's name.
        architecture: the backbone.
        family: what rows are compared within: the name without its ``-k8``, or the architecture if it has none and the
            recipe compares numbers of networks.
        k: the number of networks that the model predicts.
        runs: its runs, by seed.
        expected: the seeds that the recipe asks for.
        validation, test: the selection metric at the best validation epoch, over the finished runs.
        published: the published figure, in the unit of the table.
        gain: how much of the error at k = 1 is gone, by seed; None without k = 1, or where large values are good.
        published_gain: the same of the published means.
    """

    name: str
    architecture: str
    family: str
    k: int
    runs: tuple[Run, ...]
    expected: tuple[int, ...]
    validation: Estimate | None
    test: Estimate | None
    published: Estimate | None
    gain: Estimate | None = None
    published_gain: float | None = None

    @property
    def parameters(self) -> int | None:
        """Trainable parameters of the model."""
        return next((run.result.parameters for run in self.runs if run.result), None)

    @property
    def seconds(self) -> Estimate | None:
        """Wall time of a run."""
        return Estimate.of(run.result.seconds for run in self.runs if run.result)

    @property
    def metrics(self) -> dict[str, Estimate]:
        """All test metrics over the finished runs, in the units in which they are stored."""
        found = [run.result.metrics["test"] for run in self.runs if run.result]
        names = dict.fromkeys(name for metrics in found for name in metrics)
        estimates = {name: Estimate.of(metrics[name] for metrics in found if name in metrics) for name in names}
        return {name: estimate for name, estimate in estimates.items() if estimate is not None}

    @property
    def missing(self) -> str:
        """What is not finished, in words; empty if all is."""
        parts = [f"seed {run.seed}: {run.status}, {run.note}" for run in self.runs if run.status != "finished"]
        absent = sorted(set(self.expected) - {run.seed for run in self.runs if run.seed is not None})
        parts += [f"seed {', '.join(map(str, absent))}: no run"] if absent else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Group:
    """All runs of one recipe.

    Attributes:
        name: the recipe's name.
        recipe: its settings, from the first run that has any.
        metric: the selection metric.
        direction: ``min`` or ``max``.
        rows: its variants, as the recipe lists them or else by architecture and k.
        runs: all its runs.
    """

    name: str
    recipe: Mapping[str, Any]
    metric: str
    direction: str
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """Settings, other than variant and seed, in which the runs are not alike: then the rows do not compare."""
        seen: dict[str, set[str]] = {}
        for run in self.runs:
            for name, value in _flat(run.description):
                seen.setdefault(name, set()).add(repr(value))
        return tuple(name for name, values in seen.items() if len(values) > 1)

    @property
    def factor(self) -> float:
        """From the stored metric to the unit of the table."""
        return unit_of(self.metric)[0]

    @property
    def unit(self) -> str:
        """The unit of the table."""
        return unit_of(self.metric)[1]

    @property
    def digits(self) -> int:
        """Decimals of the table."""
        return unit_of(self.metric)[2]

    @property
    def several(self) -> bool:
        """Whether any row predicts more than one network."""
        return any(row.k > 1 for row in self.rows)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all test metrics, the selection metric first."""
        return tuple(dict.fromkeys([self.metric, *(name for row in self.rows for name in row.metrics)]))


_OWN = {"sha256", "model", "recipe.variant", "recipe.seed", "recipe.references", "train.seed"}
"""What may differ from run to run: settings that are meant to, and what is measured."""


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings by their dotted names."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            dotted = f"{name}.{key}" if name else str(key)
            if dotted not in _OWN:
                yield from _flat(entry, dotted)
    else:
        yield name, value


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by recipe; the groups and their runs keep the order of names."""
    runs = sorted(runs, key=lambda run: (run.name, str(run.folder)))
    return [_group(name, tuple(members)) for name, members in groupby(runs, key=lambda run: run.name)]


def _group(name: str, runs: tuple[Run, ...]) -> Group:
    first = next((run for run in runs if run.description), runs[0])
    published: Mapping[str, Any] = first.recipe.get("published") or {}
    variants = {str(variant["name"]): variant for variant in first.recipe.get("variants") or ()}
    for run in sorted(runs, key=lambda run: (str(run.variant.get("architecture")), int(run.variant.get("k", 1)))):
        variants.setdefault(str(run.variant["name"]), run.variant)
    direction = str(first.description.get("task", {}).get("direction", "min"))
    seeds = tuple(int(seed) for seed in first.recipe.get("seeds") or ())
    members = {variant: [run for run in runs if run.variant["name"] == variant] for variant in variants}
    several = any(int(variant.get("k", 1)) > 1 for variant in variants.values())
    rows = [_row(variants[name], members[name], seeds, published.get(name), several) for name in variants]
    if direction == "min":
        rows = [_with_gain(row, rows) for row in rows]
    return Group(name, first.recipe, first.metric, direction, tuple(rows), runs)


def _row(settings: Mapping[str, Any], runs: list[Run], seeds: tuple[int, ...], published: Any, several: bool) -> Row:
    mean, spread = (*(published or ()), None, None)[:2]
    name, architecture, k = str(settings["name"]), str(settings.get("architecture", "–")), int(settings.get("k", 1))
    stem = name.removesuffix(f"-k{k}")
    return Row(
        name=name,
        architecture=architecture,
        family=architecture if stem == name and several else stem,
        k=k,
        runs=tuple(sorted(runs, key=lambda run: (run.seed is None, run.seed))),
        expected=seeds,
        validation=Estimate.of(run.measured("validation") for run in runs if run.result),
        test=Estimate.of(run.measured("test") for run in runs if run.result),
        published=None if mean is None else Estimate(float(mean), None if spread is None else float(spread), 0),
    )


def _with_gain(row: Row, rows: list[Row]) -> Row:
    """Add the gain over the row of the same family with k = 1: by seed, over the seeds that both have."""
    base = next((other for other in rows if other.family == row.family and other.k == 1), None)
    if base is None or base is row:
        return row
    before, after = ({run.seed: run.measured("test") for run in each.runs if run.result} for each in (base, row))
    gain = Estimate.of(1 - after[seed] / before[seed] for seed in before if seed in after)
    published = 1 - row.published.mean / base.published.mean if base.published and row.published else None
    return replace(row, gain=gain, published_gain=published)
