"""Run a recipe, and use what its runs left behind."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._errors import RecipeError, ZooError
from ..engine import Split, load_best, measure, train
from ..models import build
from ..nn import OutputCapacityExpansion
from ..space import WeightFeatures, WeightSpace, from_description
from ..zoo import FitRecipe, Zoo
from ._classification import InrClassification, InrClassificationSettings
from ._editing import EditingSettings
from ._generalization import Generalization
from ._recipe import Recipe, Variant, structure
from ._task import RecipeTask, TaskSettings
from ._trees import TREES, Trees

__all__ = ["build_variant", "evaluate_run", "fit_recipe_of", "load_model", "run_recipe"]

# what recipes tell about runs, without changing them: rows may be added and words changed while others are there
_TOLD = ("title", "train", "variants", "seeds", "reduced", "reference", "published", "references", "protocol")


def build_variant(
    variant: Variant,
    space: WeightSpace,
    seed: int,
    training: WeightFeatures | None = None,
    *,
    outputs: int | None = None,
) -> nn.Module:
    """The untrained model of a variant.

    Args:
        variant: architecture and settings.
        space: weight space of the input networks.
        seed: of the initial coefficients.
        training: the training networks, from which the input's statistics are taken.
        outputs: length of the vector that is predicted for each network; None for an editor of networks.

    Raises:
        ModelError: for an unknown architecture or option.
        RecipeError: for trees, which are no modules to be built, or several networks where a vector is predicted.
    """
    if variant.architecture in TREES:
        raise RecipeError(f"variant {variant.name!r}: {variant.architecture} has no weights to build or to load")
    if outputs is not None and variant.k != 1:
        raise RecipeError(
            f"variant {variant.name!r}: k = {variant.k} networks, but the task asks for numbers, not networks"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if outputs is None:
            net = build(variant.architecture, space, "equivariant", out_channels=variant.k, **variant.options)
            model: nn.Module = OutputCapacityExpansion(net, space, init_scale=variant.init_scale)
        else:
            model = net = build(variant.architecture, space, "invariant", out_features=outputs, **variant.options)
    if training is not None:
        net.standardize.fit(training)
    return model


def run_recipe(
    recipe: Recipe,
    zoo: Zoo,
    out: str | os.PathLike[str],
    *,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> list[Path]:
    """Trains the variants of a recipe with each seed. Runs that are there already are continued or kept.

    Args:
        recipe: the recipe.
        zoo: the zoo to train on; what it is is stored with each run.
        out: runs go to ``out/recipe/variant/seed0``.
        variants: names of variants; all by default.
        seeds: seeds; those of the recipe by default.
        resume: continue runs that are there; otherwise they are refused.
        progress: show progress bars.

    Returns:
        The run folders.
    """
    chosen = [recipe.variant(name) for name in variants] if variants else list(recipe.variants)
    task = recipe.task.task(zoo)
    for variant in chosen:
        _model(variant, task, zoo.space, seed=0)  # what cannot be built is refused before anything is trained
    empty = [split for split in ("train", "validation", "test") if task.size(split) == 0]
    if empty:
        there = len(zoo.splits.get(empty[0], ()))
        hint = f"none of its {there} networks counts, by the settings of the task"
        hint = hint if there else "make the zoo with splits=(train, validation, test)"
        raise ZooError(f"{zoo.path}: the {empty[0]} split is empty; {hint}")
    if isinstance(task, Generalization):
        task.check_selection()
    references = {name: round(task.factor * x, 3) for name, x in task.references().items()} | recipe.references
    folders = []
    for seed in seeds or recipe.seeds:
        for variant in chosen:
            folder = Path(out) / recipe.name / variant.name / f"seed{seed}"
            model = _model(variant, task, zoo.space, seed, task.theta["train"].to("cpu"))
            config = dataclasses.replace(recipe.train, seed=seed)
            described = _describe(recipe, variant, seed, zoo, task)
            about = {name: described.pop(name) for name in _TOLD} | {"references": references}
            if isinstance(task, InrClassification):
                about["classes"] = task.classes.tolist()  # what outputs stand for; not compared, older runs lack them
            if progress:
                print(f"{recipe.name} / {variant.name} / seed {seed}", flush=True)
            if isinstance(model, Trees):
                measure(model, task, config, folder, model.fit, recipe=described, about=about, resume=resume)
            else:
                train(model, task, config, folder, recipe=described, about=about, resume=resume, progress=progress)
            folders.append(folder)
    return folders


def _model(
    variant: Variant, task: RecipeTask, space: WeightSpace, seed: int, training: WeightFeatures | None = None
) -> nn.Module:
    """The model of a variant, trees among them."""
    if variant.architecture not in TREES:
        return build_variant(variant, space, seed, training, outputs=task.outputs)
    if variant.options:
        raise RecipeError(f"variant {variant.name!r}: {variant.architecture} has no options")
    return Trees(variant.architecture, task, seed)


def load_model(folder: str | os.PathLike[str], space: WeightSpace | None = None) -> nn.Module:
    """The model of a run with its best weights, in evaluation mode.

    Args:
        folder: a run folder.
        space: the space of the networks it is to be applied to; refused if it is not the one it was trained for.

    Raises:
        RecipeError: if the folder is no run of a recipe, has no weights, or is for another space.
        EngineError: if its weights are damaged or those of another model.
    """
    described = _described(folder)
    trained = from_description(described["space"])
    if space is not None and space != trained:
        raise RecipeError(f"{os.fspath(folder)} was trained on another weight space: {trained.difference(space)}")
    variant = structure(described["variant"], Variant, str(folder))
    if variant.architecture in TREES:
        raise RecipeError(
            f"{os.fspath(folder)}: trees are measured once and not stored, as only a pickle could hold them; the "
            "figures are in its result.json. For other networks run the recipe on a zoo with these in its test split"
        )
    if not (Path(folder) / "best.safetensors").is_file():
        raise RecipeError(f"{os.fspath(folder)} has no best.safetensors: train it first")
    model = build_variant(variant, trained, seed=0, outputs=described.get("outputs"))
    load_best(folder, model)
    return model.eval()


def evaluate_run(
    folder: str | os.PathLike[str], zoo: Zoo, split: Split = "test", *, batch_size: int = 64
) -> dict[str, float]:
    """The metrics of a trained run on a split of any zoo of the same space.

    Classes are those that the run was trained on: the zoo may lack some of them.

    Raises:
        RecipeError: as `load_model`; for a run without stored classes, if the zoo has another number of them.
        EngineError: as `load_model`.
        ZooError: if the zoo lacks what the task needs, or has a class that the run does not know.
    """
    described = _described(folder)
    model = load_model(folder, zoo.space)
    kind: Any = TaskSettings  # cattrs finds the kind
    settings = structure(described["task"], kind, str(folder))
    classes = [described.get("classes")] if isinstance(settings, InrClassificationSettings) else []
    task: RecipeTask = settings.task(zoo, *classes)
    if task.outputs != (asked := described.get("outputs")):
        raise RecipeError(
            f"{os.fspath(folder)} does not tell its {asked} classes, and {zoo.path} has {task.outputs}; measure it on "
            "a zoo with all of them, or call run_recipe again with the zoo that it was trained on"
        )
    return task.evaluate(model, split, batch_size)


def fit_recipe_of(folder: str | os.PathLike[str]) -> FitRecipe:
    """How the INRs were fitted that a run was trained on."""
    fit = _described(folder)["zoo"]["fit"]
    if not isinstance(fit, dict) or not set(fit) <= {field.name for field in dataclasses.fields(FitRecipe)}:
        raise RecipeError(f"{os.fspath(folder)}: no recipe is known that fitted its networks; edit a zoo instead")
    return FitRecipe(**fit)


def _describe(recipe: Recipe, variant: Variant, seed: int, zoo: Zoo, task: RecipeTask) -> dict[str, Any]:
    """What is stored with a run: the recipe, which part of it this is, and the zoo as it really was."""
    manifest = zoo.manifest
    about: dict[str, Any] = {}
    if not isinstance(recipe.task, EditingSettings):  # the default kind, of which older runs do not speak
        settings = {"kind": recipe.task.kind} | dataclasses.asdict(recipe.task)
        about = {"task": settings, "outputs": task.outputs}
    return (
        dataclasses.asdict(recipe)
        | about
        | {
            "variant": dataclasses.asdict(variant),
            "seed": seed,
            "space": zoo.space.describe(),
            "zoo": {
                "image_set": manifest.get("image_set", ""),
                "networks": len(zoo),
                "seed": manifest.get("seed"),
                "content": manifest.get("content"),
                "fit": manifest.get("recipe"),
            },
        }
    )


def _described(folder: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(folder) / "recipe.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        missing = {"space", "variant", "task", "zoo"} - set(described)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{os.fspath(folder)} is not the folder of a run: {path.name}: {error}") from error
    if missing:
        raise RecipeError(
            f"{os.fspath(folder)} is not a run of a recipe: {path.name} lacks {', '.join(sorted(missing))}"
        )
    return dict(described)
