"""Equivariant maps on weight features."""

from ._attention import NeuronAttention, PerParameter, WeightTransformerBlock
from ._capacity import OutputCapacityExpansion, merge_ensemble
from ._encoding import GaussianFourier, LearnedPosition, ProbeFeatures, SinusoidalPosition
from ._gradient import GradientFeatures
from ._graph import Graph, GraphDecoder, GraphEncoder, GraphPool, GraphState
from ._layout import check_space
from ._linear import EquivariantLinear, InvariantPool
from ._message import MessagePassing
from ._mlp import head
from ._monomial import InvariantEntries, MonomialActivation, TimesInvariant, unit
from ._norm import BatchNorm, Dropout, LearnedScale, Pointwise, Standardization, Standardize, relu_
from ._pool import Reduction
from ._relational import Attend, Pairs, PairsFromGraph, PairsToGraph, RelationalAttention
from ._set_attention import SetAttention

__all__ = [
    "Attend",
    "BatchNorm",
    "Dropout",
    "EquivariantLinear",
    "GaussianFourier",
    "GradientFeatures",
    "Graph",
    "GraphDecoder",
    "GraphEncoder",
    "GraphPool",
    "GraphState",
    "InvariantEntries",
    "InvariantPool",
    "LearnedPosition",
    "LearnedScale",
    "MessagePassing",
    "MonomialActivation",
    "NeuronAttention",
    "OutputCapacityExpansion",
    "Pairs",
    "PairsFromGraph",
    "PairsToGraph",
    "PerParameter",
    "Pointwise",
    "ProbeFeatures",
    "Reduction",
    "RelationalAttention",
    "SetAttention",
    "SinusoidalPosition",
    "Standardization",
    "Standardize",
    "TimesInvariant",
    "WeightTransformerBlock",
    "check_space",
    "head",
    "merge_ensemble",
    "relu_",
    "unit",
]
