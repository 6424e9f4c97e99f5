"""Equivariant maps on weight features."""

from ._capacity import OutputCapacityExpansion, merge_ensemble
from ._linear import EquivariantLinear, InvariantPool
from ._norm import BatchNorm, Dropout, LearnedScale, Pointwise, Standardize
from ._set_attention import SetAttention

__all__ = [
    "BatchNorm",
    "Dropout",
    "EquivariantLinear",
    "InvariantPool",
    "LearnedScale",
    "OutputCapacityExpansion",
    "Pointwise",
    "SetAttention",
    "Standardize",
    "merge_ensemble",
]
