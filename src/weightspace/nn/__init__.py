"""Equivariant maps on weight features."""

from ._capacity import OutputCapacityExpansion, merge_ensemble
from ._layout import Permuted, check_space
from ._linear import EquivariantLinear, InvariantPool
from ._message import Graph, GraphEncoder, GraphState, MessagePassing
from ._mlp import head
from ._norm import BatchNorm, Dropout, LearnedScale, Pointwise, Standardization, Standardize, relu_
from ._pool import Reduction
from ._set_attention import SetAttention

__all__ = [
    "BatchNorm",
    "Dropout",
    "EquivariantLinear",
    "Graph",
    "GraphEncoder",
    "GraphState",
    "InvariantPool",
    "LearnedScale",
    "MessagePassing",
    "OutputCapacityExpansion",
    "Permuted",
    "Pointwise",
    "Reduction",
    "SetAttention",
    "Standardization",
    "Standardize",
    "check_space",
    "head",
    "merge_ensemble",
    "relu_",
]
