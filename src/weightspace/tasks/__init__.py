"""Tasks (data, target, metric, protocol) and the recipes that run them."""

from ._editing import EDITS, InrEditing, dilate
from ._recipe import Recipe, TaskSettings, Variant, ZooSettings, load_recipe, recipe_names
from ._runs import build_variant, evaluate_run, fit_recipe_of, load_model, run_recipe

__all__ = [
    "EDITS",
    "InrEditing",
    "Recipe",
    "TaskSettings",
    "Variant",
    "ZooSettings",
    "build_variant",
    "dilate",
    "evaluate_run",
    "fit_recipe_of",
    "load_model",
    "load_recipe",
    "recipe_names",
    "run_recipe",
]
