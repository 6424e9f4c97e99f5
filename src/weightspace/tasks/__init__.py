"""Tasks (data, target, metric, protocol) and the recipes that run them."""

from ._augment import AugmentSettings
from ._classification import InrClassification, InrClassificationSettings
from ._editing import EDITS, EditingSettings, InrEditing, dilate
from ._generalization import CnnGeneralizationSettings, Generalization, TransformerGeneralizationSettings
from ._metrics import kendall_tau, r_squared, tau_interval
from ._prediction import Prediction
from ._probes import random_probes
from ._recipe import KINDS, Recipe, Variant, ZooSettings, load_recipe, recipe_names
from ._runs import build_variant, evaluate_run, fit_recipe_of, load_model, run_recipe
from ._task import RecipeTask, TaskSettings
from ._trees import TREES, Trees

__all__ = [
    "EDITS",
    "KINDS",
    "TREES",
    "AugmentSettings",
    "CnnGeneralizationSettings",
    "EditingSettings",
    "Generalization",
    "InrClassification",
    "InrClassificationSettings",
    "InrEditing",
    "Prediction",
    "Recipe",
    "RecipeTask",
    "TaskSettings",
    "TransformerGeneralizationSettings",
    "Trees",
    "Variant",
    "ZooSettings",
    "build_variant",
    "dilate",
    "evaluate_run",
    "fit_recipe_of",
    "kendall_tau",
    "load_model",
    "load_recipe",
    "r_squared",
    "random_probes",
    "recipe_names",
    "run_recipe",
    "tau_interval",
]
