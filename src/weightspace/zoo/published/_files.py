"""What the published data sets have in common: tables, lists of paths by split, and the zoo made of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._errors import ZooError
from ...space import WeightFeatures
from .._memory import InMemory
from .._zoo import Zoo, check_raw

__all__ = ["Source", "official_split", "read_table"]

_NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Source:
    """Where a data set is, and how it is to be split.

    Attributes:
        kind: its name.
        folder: where it lies.
        published: whether the split is the published one, quirks included, or the corrected one.
        splits: the file that tells the split; None to look for it in the folder.
        seed: of what the corrected split draws.
    """

    kind: str
    folder: Path
    published: bool
    splits: Path | None
    seed: int

    def split_file(self, pattern: str, needed_for: str) -> Path:
        """The file with the split: the one given, or the only one of the folder that has a name of this pattern.

        Raises:
            ZooError: if there is none or several.
        """
        if self.splits is not None:
            return self.splits
        found = sorted(self.folder.glob(pattern))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise ZooError(
                f"{self.folder}: {needed_for} needs one file {pattern} (found: {names}); pass its path as splits=, or "
                "take split='corrected'"
            )
        return found[0]

    def listed(self, file: Path, found: Mapping[str, Path], parts: slice) -> dict[str, str]:
        """The split of every network that a JSON file lists, by the part of its path that names it.

        The paths in such files begin where their authors had the data.

        Args:
            file: lists of paths for "train", "val" and "test", as they are or each as the entry "path".
            found: the networks that are there, by name.
            parts: the components of a path that make up its name.

        Raises:
            ZooError: for a damaged file, and for one that lists networks which are not there, one in two splits, or
                none for a split.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            lists = {_NAMES[key]: value["path"] if isinstance(value, dict) else value for key, value in content.items()}
            names = {split: ["/".join(Path(path).parts[parts]) for path in paths] for split, paths in lists.items()}
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise ZooError(f"{file}: expected lists of paths for train, val and test as JSON ({error!r})") from error
        if empty := [split for split, listed in names.items() if not listed] or (not names and ["any split"]):
            raise ZooError(f"{file} lists no networks for {', '.join(empty)}; split='corrected' does without the file")
        absent = [name for listed in names.values() for name in listed if name not in found]
        if absent:
            raise ZooError(f"{file} lists {len(absent)} networks that are not in {self.folder}, first {absent[0]!r}")
        result = {name: split for split, listed in names.items() for name in listed}
        if len(result) != sum(map(len, names.values())):
            raise ZooError(f"{file} lists a network twice; split='corrected' does without the file")
        return result

    def zoo(self, theta: WeightFeatures, columns: Mapping[str, Any], **runs: Any) -> Zoo:
        """The networks with columns as long as the batch, and what `zoo.traced` reads of classifiers."""
        check_raw(theta)
        split = "published" if self.published else "corrected"
        about = {"published": self.kind, "split": split, "seed": self.seed, "networks": len(theta)} | runs
        rows = {name: np.asarray(column) for name, column in columns.items()}
        return Zoo(self.folder, about, rows, InMemory(theta), (0,))

    def refuse_none(self, found: Sequence[Any] | Mapping[str, Any], pattern: str) -> None:
        """ZooError if nothing was found."""
        if not found:
            raise ZooError(f"{self.folder} holds no {self.kind}: there are no files {pattern}")


def official_split(is_test: np.ndarray, seed: int) -> np.ndarray:
    """The official test networks for testing, and one in twelve of the others, drawn at random, for validation."""
    names = np.where(is_test, "test", "train").astype("<U10")
    training = np.flatnonzero(~is_test)
    names[np.random.default_rng(seed).choice(training, len(training) // 12, replace=False)] = "validation"
    return names


def read_table(file: Path, needed: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of a CSV file, compressed or not.

    Raises:
        ZooError: if it is missing or damaged, or lacks a column.
    """
    import pyarrow
    from pyarrow import csv

    try:
        table = csv.read_csv(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise ZooError(f"{file} cannot be read as a table: {str(error).partition(chr(10))[0]}") from error
    if absent := [name for name in needed if name not in table.column_names]:
        raise ZooError(f"{file} lacks the columns {', '.join(absent)}; it has {', '.join(table.column_names)}")
    columns = {name: table[name].to_numpy() for name in table.column_names if name}  # pandas' index has no name
    return {name: column.astype(str) if column.dtype == object else column for name, column in columns.items()}
