"""Weight-space learning: networks that take the weights of other networks as input."""

from . import group, space
from .space import WeightFeatures, WeightSpace, mlp, siren

__version__ = "0.1.0"
__all__ = ["WeightFeatures", "WeightSpace", "group", "mlp", "siren", "space"]
