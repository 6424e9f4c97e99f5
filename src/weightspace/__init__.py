"""Weight-space learning: networks that take the weights of other networks as input.

The packages `augment`, `engine`, `report`, `tasks`, `testing`, `theory` and `zoo` are imported when they are first
used: ``ws.zoo.load``.
"""

from importlib import import_module
from types import ModuleType

from . import group, models, nn, orbit, space
from ._errors import (
    EngineError,
    ModelError,
    RecipeError,
    ReportError,
    SpaceError,
    SymmetryError,
    TheoryError,
    WeightspaceError,
    ZooError,
)
from .models import architectures, build
from .nn import OutputCapacityExpansion, QuasiEquivariant, SpaceFamily, merge_ensemble, quasi_cocycle
from .orbit import align, canonicalize, merge, same_orbit
from .space import PaddedBatch, WeightFeatures, WeightSpace, from_module, mlp, pad, siren

__version__ = "0.1.0"
__all__ = [
    "EngineError",
    "ModelError",
    "OutputCapacityExpansion",
    "PaddedBatch",
    "QuasiEquivariant",
    "RecipeError",
    "ReportError",
    "SpaceError",
    "SpaceFamily",
    "SymmetryError",
    "TheoryError",
    "WeightFeatures",
    "WeightSpace",
    "WeightspaceError",
    "ZooError",
    "align",
    "architectures",
    "build",
    "canonicalize",
    "from_module",
    "group",
    "merge",
    "merge_ensemble",
    "mlp",
    "models",
    "nn",
    "orbit",
    "pad",
    "quasi_cocycle",
    "same_orbit",
    "siren",
    "space",
]

_LAZY = ("augment", "engine", "report", "tasks", "testing", "theory", "zoo")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, *_LAZY, "__version__"))
