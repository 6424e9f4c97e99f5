"""Recipes: one TOML file for each table, read into frozen dataclasses."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .._errors import RecipeError
from ..engine import TrainConfig
from ._editing import EditingSettings
from ._structure import KINDS, structure
from ._task import TaskSettings

__all__ = ["KINDS", "Recipe", "Variant", "ZooSettings", "load_recipe", "recipe_names", "structure"]

_FOLDER = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class ZooSettings:
    """The zoo that a recipe is meant for.

    Attributes:
        networks: "inr", one fitted to each image; "cnn" or "transformer", classifiers of images trained with
            hyper-parameters drawn at random.
        images: "mnist5k", "fashion-mnist", or a folder of IDX files.
        count: of INRs the number of images, from the first one on, None for all; of classifiers how many are trained.
        seed: of initial weights, hyper-parameters and splits.
        activation: "sine" (INRs), "relu" or "tanh" (INRs and CNNs); None for sine of INRs and relu of the others.
        split: for INRs "train", "test" or "all", of IDX files; "all" keeps the official test images for testing.
        recipe: how INRs are fitted, by name.
        epochs: of classifiers; None for 10 of CNNs and 20 of transformers.
        train_count: images that classifiers are trained on, from the first one on; None for all.
        splits: classifiers in the training, validation and test split; None for 80, 10 and 10 % of them.

    Raises:
        RecipeError: for a key that is not for these networks, or numbers that do not fit.
    """

    networks: Literal["inr", "cnn", "transformer"] = "inr"
    images: str = "mnist5k"
    count: int | None = None
    seed: int = 0
    activation: Literal["sine", "relu", "tanh"] | None = None
    split: str = "train"
    recipe: str = "mnist-inrs"
    epochs: int | None = None
    train_count: int | None = None
    splits: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        inr = self.networks == "inr"
        others = ("epochs", "train_count", "splits") if inr else ("split", "recipe")
        if foreign := [name for name in others if getattr(self, name) != getattr(ZooSettings, name)]:
            raise RecipeError(f"zoo: {', '.join(foreign)}: not for networks = {self.networks!r}")
        if not inr and self.activation == "sine":
            raise RecipeError(f"zoo: activation: 'sine' is for INRs, found networks = {self.networks!r}")
        if not inr and self.count is None:
            raise RecipeError(f"zoo: networks = {self.networks!r} needs a count: how many are to be trained")
        numbers = {name: getattr(self, name) for name in ("count", "epochs", "train_count")}
        if wrong := {name: number for name, number in numbers.items() if number is not None and number < 1}:
            raise RecipeError(f"zoo: expected positive numbers, found {wrong}")
        if self.splits is not None and (min(self.splits) < 0 or sum(self.splits) != self.count):
            raise RecipeError(f"zoo: splits: expected {self.count} networks in all, found {list(self.splits)}")


@dataclass(frozen=True)
class Variant:
    """One row of the table: an architecture with its settings.

    Attributes:
        name: of the row, and of its run folder.
        architecture: as `weightspace.build` knows it; or one of `TREES`: "statistics-boosting", "statistics-forest",
            "canonical-boosting" and "probes-boosting" predict by trees.
        k: networks predicted for each input (output capacity expansion).
        init_scale: initial value of the learned scales of the predicted changes.
        options: of the architecture: hidden, depth, dropout, ...
    """

    name: str
    architecture: str
    k: int = 1
    init_scale: float = 1e-2
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("variant", self.name)
        if self.k < 1:
            raise RecipeError(f"variant {self.name!r}: k: expected a positive number of networks, found {self.k}")


@dataclass(frozen=True)
class Recipe:
    """All settings of one table.

    Attributes:
        name: of the table, and of its folder of runs.
        title: a line for the report.
        zoo: the zoo it is meant for.
        task: what is to be learnt; ``kind`` in its section chooses one of `KINDS`, by default "inr-editing".
        train: how; its seed is replaced by each of ``seeds``.
        variants: the rows.
        seeds: of initialisation, batch order and dropout.
        reduced: in what the protocol falls short of the published one; None if in nothing.
        reference: what the published figures were measured on.
        published: published test figures of variants, [mean, spread] or [mean], in the unit of the table.
        references: other figures on the same data, in the same unit.
        protocol: further lines of the protocol card.
    """

    name: str
    title: str
    train: TrainConfig
    variants: tuple[Variant, ...]
    zoo: ZooSettings = ZooSettings()
    task: TaskSettings = field(default_factory=EditingSettings)
    seeds: tuple[int, ...] = (0, 1, 2)
    reduced: str | None = None
    reference: str | None = None
    published: dict[str, tuple[float, ...]] = field(default_factory=dict)
    references: dict[str, float] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("recipe", self.name)
        if wrong := [name for name, figures in self.published.items() if len(figures) not in (1, 2)]:
            raise RecipeError(
                f"recipe {self.name!r}: published: expected [mean] or [mean, spread] of {', '.join(wrong)}"
            )
        names = [variant.name for variant in self.variants]
        if not names or not self.seeds or len(set(names)) < len(names) or len(set(self.seeds)) < len(self.seeds):
            raise RecipeError(
                f"recipe {self.name!r} needs at least one variant and one seed, none of them twice; found variants "
                f"{names} and seeds {list(self.seeds)}"
            )

    def variant(self, name: str) -> Variant:
        """The variant of that name; RecipeError lists the names."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise RecipeError(
            f"recipe {self.name!r} has no variant {name!r}; it has {', '.join(v.name for v in self.variants)}"
        )


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(recipe: str | os.PathLike[str]) -> Recipe:
    """Reads a recipe, from a file or by the name of one that comes with the package.

    Raises:
        RecipeError: if there is none such, it is no TOML, or a key is unknown, missing or of a wrong type; all of
            them are named.
    """
    path = Path(recipe)
    if not path.is_file():
        path = _FOLDER / f"{recipe}.toml"
    if not path.is_file():
        raise RecipeError(f"no recipe {os.fspath(recipe)!r}: give a .toml file or one of {', '.join(recipe_names())}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    return structure(content, Recipe, str(path))


def _check_name(what: str, name: str) -> None:
    """Names become folders."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise RecipeError(f"{what} name {name!r}: expected letters, digits, '.', '_' and '-', the first no sign")
