"""The folder of one run: what it was asked to do, where it stands, what came out.

Every file is whole or absent. The checkpoint is the only source when a run goes on; records and best weights are
written for people and programs that look on, and are restored from the checkpoint.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .._errors import EngineError
from .._files import atomic_write
from ._config import TrainConfig
from ._task import Split, Task

__all__ = ["Result", "RunFolder", "describe_run", "load_best", "read_records"]

_PACKAGES = ("weightspace", "torch", "accelerate", "numpy", "safetensors")


@dataclass(frozen=True)
class Result:
    """What a finished run has reached.

    Attributes:
        folder: the run folder.
        metrics: ``{"validation": {...}, "test": {...}}`` of the weights with the best validation metric.
        best_epoch: the epoch after which they were taken; the first epoch is 1.
        epochs: epochs trained.
        steps: optimiser steps.
        parameters: trainable parameters of the model.
        seconds: wall time of training and validation, over all sessions of an interrupted run.
        device: where the last session ran.
    """

    folder: Path
    metrics: dict[str, dict[str, float]]
    best_epoch: int
    epochs: int
    steps: int
    parameters: int
    seconds: float
    device: str

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Result":
        """Read ``result.json`` of a finished run."""
        path = Path(folder) / "result.json"
        if not path.is_file():
            raise EngineError(f"{folder} holds no finished run: there is no result.json in it")
        return cls(folder=Path(folder), **_from_json(path.read_text()))


def read_records(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One dictionary per finished epoch, also while the run is going on.

    Keys: epoch (from 1), step (optimiser steps so far), train_loss, learning_rate (of the last step), seconds (so far),
    and validation (a dictionary of metrics) in the epochs that were validated.
    """
    lines = (Path(folder) / "records.jsonl").read_text().split("\n")
    return [_from_json(line) for line in lines[:-1]]  # a line without its end is still being written


def load_best(folder: str | os.PathLike[str], model: nn.Module) -> None:
    """Give a model the weights of a run that had the best validation metric.

    Raises:
        EngineError: if they are damaged, or those of another model.
    """
    file = Path(folder) / "best.safetensors"
    try:
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"{file} cannot be read ({error}); delete {folder} and train again") from error
    own, found = ({name: list(tensor.shape) for name, tensor in each.items()} for each in (model.state_dict(), state))
    if wrong := sorted(name for name in own | found if own.get(name) != found.get(name)):
        expected, there = (shapes.get(wrong[0], "none") for shapes in (own, found))
        raise EngineError(
            f"{file} holds another model than recipe.json says, or one of another version of weightspace (see "
            f"environment.json) ({len(wrong)} differences): {wrong[0]}: expected {expected}, found {there}; take that "
            "version, or train again in another folder"
        )
    model.load_state_dict(state)


def describe_run(model: nn.Module, task: Task, config: TrainConfig, recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything that makes a run this run, as JSON; two runs with equal descriptions may share a folder."""
    settings = asdict(config)
    del settings["checkpoint_seconds"]
    splits = {split: task.size(split) for split in get_args(Split)}
    for split, size in splits.items():
        if size == 0:
            raise EngineError(f"task {task.name!r} has no examples in its {split} split")
    tensors = {name: f"{list(tensor.shape)} {tensor.dtype}" for name, tensor in model.state_dict().items()}
    description = {
        "task": {"name": task.name, "selection": task.selection, "direction": task.direction, "splits": splits},
        "train": settings,
        "model": tensors,
        "recipe": dict(recipe or {}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(description, default=str))
    return plain


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.best = self.path / "best.safetensors"
        self.samples = self.path / "samples.safetensors"
        self.records = self.path / "records.jsonl"
        self.result = self.path / "result.json"
        self.recipe = self.path / "recipe.json"
        self.environment = self.path / "environment.json"

    def check(self, description: dict[str, Any], about: Mapping[str, Any], resume: bool) -> None:
        """Refuse a folder that holds another run, or any run if it may not be resumed; ``about`` may differ."""
        if not self.recipe.exists():
            if self.checkpoint.exists() or self.result.exists():
                raise EngineError(f"{self.path} holds a run without its recipe.json; choose another folder")
            return
        if not resume:
            raise EngineError(f"{self.path} holds a run already; choose another folder, delete it or set resume=True")
        found = json.loads(self.recipe.read_text())
        found["recipe"] = {key: value for key, value in found.get("recipe", {}).items() if key not in about}
        differences = list(_differences(description, {key: found.get(key) for key in description}))
        if differences:
            shown = "; ".join(differences[:4]) + ("; …" if len(differences) > 4 else "")
            raise EngineError(
                f"{self.path} holds another run ({len(differences)} differences): {shown}. "
                "Go on with the settings of that run, or choose another folder"
            )

    def describe(self, description: dict[str, Any], about: Mapping[str, Any]) -> None:
        """Write what is asked for, and the newest ``about``."""
        self.path.mkdir(parents=True, exist_ok=True)
        checksum = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        told = json.loads(json.dumps(description["recipe"] | dict(about), default=str))
        written = {"sha256": checksum, **description, "recipe": told}
        if not self.recipe.exists() or json.loads(self.recipe.read_text()) != written:
            self._write_json(self.recipe, written)

    def place(self, device: str, processes: int) -> None:
        """Write where it runs."""
        self._write_json(self.environment, _environment(device, processes))

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        with atomic_write(self.checkpoint) as path:
            torch.save(state, path)

    def read_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU; None if there is none. Nothing but tensors and plain values is loaded."""
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for a damaged or a malicious file
            raise EngineError(
                f"{self.checkpoint} cannot be read ({type(error).__name__}): it is damaged or was not written by this "
                "library. Delete it to train from the start"
            ) from error
        return state

    def write_records(self, records: list[dict[str, Any]]) -> None:
        """Replace all records."""
        with atomic_write(self.records) as path:
            path.write_text("".join(_to_json(record) + "\n" for record in records))

    def append_record(self, record: dict[str, Any]) -> None:
        """Add the record of one epoch."""
        with self.records.open("a") as file:
            file.write(_to_json(record) + "\n")

    def write_best(self, best: dict[str, Any] | None) -> None:
        """Replace the best weights; without any, remove those of steps that are not part of the run any more."""
        if best is None:
            self.best.unlink(missing_ok=True)
            return
        about = {"validation": _to_json({"epoch": best["epoch"], **best["metrics"]})}
        with atomic_write(self.best) as path:
            path.write_bytes(save(best["model"], about))

    def write_samples(self, samples: Mapping[str, Tensor]) -> None:
        """Store raw data for the report."""
        with atomic_write(self.samples) as path:
            path.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in samples.items()}))

    def write_result(self, result: Result) -> None:
        """Store the result; a folder with one is finished."""
        values = {name: value for name, value in asdict(result).items() if name != "folder"}
        self._write_json(self.result, values)

    def _write_json(self, path: Path, value: dict[str, Any]) -> None:
        with atomic_write(path) as temporary:
            temporary.write_text(_to_json(value, indent=2) + "\n")


def _environment(device: str, processes: int) -> dict[str, Any]:
    """The machine and the software of one session."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "device": device,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _differences(asked: Any, found: Any, name: str = "") -> Iterator[str]:
    """Sentences that name the entries in which two descriptions differ."""
    if isinstance(asked, dict) and isinstance(found, dict):
        for key in {**found, **asked}:
            yield from _differences(asked.get(key), found.get(key), f"{name}.{key}" if name else key)
    elif asked != found and not (asked is False and found is None):  # older runs lack what was never turned on
        yield f"{name} is {asked!r} now and {found!r} there"


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON of the standard, which knows no NaN and no infinity: both become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(value), indent=indent, allow_nan=False)


def _from_json(text: str) -> Any:
    """The inverse of `_to_json` for records and results: null becomes NaN."""

    def numbers(pairs: dict[str, Any]) -> dict[str, Any]:
        return {key: math.nan if value is None else value for key, value in pairs.items()}

    return json.loads(text, object_hook=numbers)
