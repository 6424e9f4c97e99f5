"""Run folders as the report sees them: finished, unfinished or damaged, none left out."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from .._errors import ReportError
from ..engine import Result, read_records

__all__ = ["Run", "Status", "find_runs"]

Status = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: where it is.
        status: ``finished`` with a result; ``unfinished`` while it runs or after an interruption; ``damaged`` if one of
            its files cannot be read.
        note: why it is not finished, in words; empty for a finished run.
        description: the content of recipe.json; empty if that is what cannot be read.
        environment: the content of environment.json; empty if it is missing.
        records: one dictionary per epoch.
        result: metrics and costs; None unless finished.
    """

    folder: Path
    status: Status
    note: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    result: Result | None = None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe's own settings, as the task stored them."""
        recipe = self.description.get("recipe")
        return recipe if isinstance(recipe, dict) else {}

    @property
    def variant(self) -> Mapping[str, Any]:
        """The settings of the trained variant; its name is that of the folder if the recipe has none."""
        variant = self.recipe.get("variant")
        return {"name": self.folder.name, **(variant if isinstance(variant, dict) else {})}

    @property
    def name(self) -> str:
        """The recipe's name; runs of one name make one section of the report."""
        return str(self.recipe.get("name", "runs without a recipe"))

    @property
    def seed(self) -> int | None:
        """The seed, from the recipe or else from the training settings."""
        seed = self.recipe.get("seed", self.description.get("train", {}).get("seed"))
        return None if seed is None else int(seed)

    @property
    def metric(self) -> str:
        """The name of the metric that chose the best epoch."""
        return str(self.description.get("task", {}).get("selection", "mse"))

    def measured(self, split: str) -> float:
        """The selection metric of a finished run on a split."""
        if self.result is None:
            raise ReportError(f"{self.folder} is not finished: it has no metrics yet")
        return self.result.metrics[split][self.metric]

    def samples(self) -> dict[str, np.ndarray] | None:
        """The raw data of the pictures; None if the run has none, or none that can be read."""
        path = self.folder / "samples.safetensors"
        try:
            return load_file(path) if path.is_file() else None
        except (OSError, SafetensorError):
            return None


def find_runs(folders: Iterable[str | os.PathLike[str]]) -> list[Run]:
    """Read every run in or below the given folders, each once, in the order of their paths.

    Args:
        folders: run folders, or folders that hold some at any depth.

    Raises:
        ReportError: if one of them does not exist or holds no run at all.
    """
    found: dict[Path, Run] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ReportError(f"{folder} is no folder; give a run folder or one that holds run folders")
        paths = sorted(path.parent for path in folder.rglob("recipe.json"))
        if not paths:
            raise ReportError(
                f"{folder} holds no run: neither it nor a folder below it has a recipe.json. "
                "`weightspace train` makes run folders"
            )
        found.update((path.resolve(), _read(path)) for path in paths)
    if not found:
        raise ReportError("no folder was given; give at least one run folder")
    return [found[path] for path in sorted(found)]


def _read(folder: Path) -> Run:
    """Read one run; what is wrong with it becomes its status and note."""
    parts: dict[str, Any] = {}
    readers = {"recipe": _read_json, "environment": _read_json, "records": _read_records, "result": _read_result}
    for name, read in readers.items():
        path = folder / f"{name}.{'jsonl' if name == 'records' else 'json'}"
        try:
            if path.is_file():
                parts[name] = read(path)
        except (OSError, ValueError, TypeError, KeyError) as error:
            return _run(folder, "damaged", f"{path.name} cannot be read: {error or type(error).__name__}", parts)
    if "result" in parts:
        return _with_metrics(_run(folder, "finished", "", parts))
    wanted = parts["recipe"].get("train", {}).get("epochs", "?")
    return _run(folder, "unfinished", f"{len(parts.get('records', []))} of {wanted} epochs", parts)


def _run(folder: Path, status: Status, note: str, parts: dict[str, Any]) -> Run:
    description = parts.pop("recipe", {})
    return Run(folder, status, note, description=description, **parts)


def _read_records(path: Path) -> list[dict[str, Any]]:
    return read_records(path.parent)


def _read_result(path: Path) -> Result:
    return Result.load(path.parent)


def _with_metrics(run: Run) -> Run:
    """The run, damaged if its result lacks the metric that the table shows."""
    metrics = run.result.metrics if run.result else {}
    absent = [split for split in ("validation", "test") if run.metric not in metrics.get(split, {})]
    if not absent:
        return run
    return replace(run, status="damaged", note=f"result.json has no {absent[0]} {run.metric}", result=None)


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text())
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def output_file(path: str | os.PathLike[str], example: str) -> Path:
    """A path that may be written; ReportError if it is a folder."""
    if Path(path).is_dir():
        raise ReportError(f"{path} is a folder; give the file to write, for example {Path(path) / example}")
    return Path(path)
