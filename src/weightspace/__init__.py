"""Weight-space learning: networks that take the weights of other networks as input."""

from . import group, models, nn, space
from ._errors import (
    EngineError,
    ModelError,
    RecipeError,
    ReportError,
    SpaceError,
    SymmetryError,
    WeightspaceError,
    ZooError,
)
from .models import architectures, build
from .nn import OutputCapacityExpansion, merge_ensemble
from .space import WeightFeatures, WeightSpace, mlp, siren

__version__ = "0.1.0"
__all__ = [
    "EngineError",
    "ModelError",
    "OutputCapacityExpansion",
    "RecipeError",
    "ReportError",
    "SpaceError",
    "SymmetryError",
    "WeightFeatures",
    "WeightSpace",
    "WeightspaceError",
    "ZooError",
    "architectures",
    "build",
    "group",
    "merge_ensemble",
    "mlp",
    "models",
    "nn",
    "siren",
    "space",
]
