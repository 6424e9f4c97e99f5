"""One exception type per layer; each message names the object, what was expected, what was found and what to do."""

__all__ = [
    "EngineError",
    "ModelError",
    "RecipeError",
    "ReportError",
    "SpaceError",
    "SymmetryError",
    "TheoryError",
    "WeightspaceError",
    "ZooError",
]


class WeightspaceError(ValueError):
    """Base class of every error that this library raises on bad input."""


class SpaceError(WeightspaceError):
    """Tensors, modules or state dicts that do not belong to a weight space."""


class SymmetryError(WeightspaceError):
    """A group that does not preserve the function, or an element that does not fit its space."""


class ModelError(WeightspaceError):
    """A metanetwork that cannot be built or applied as asked."""


class TheoryError(WeightspaceError):
    """A statement that is not known, or a network that a construction does not take."""


class ZooError(WeightspaceError):
    """A model zoo, or an image set, that is missing, damaged or of another layout."""


class EngineError(WeightspaceError):
    """A training run that cannot start, resume or finish."""


class RecipeError(WeightspaceError):
    """A recipe with unknown, missing or impossible settings."""


class ReportError(WeightspaceError):
    """Runs that cannot be put into a report."""
