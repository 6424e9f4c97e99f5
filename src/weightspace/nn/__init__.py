"""Equivariant maps on weight features."""

from ._attention import NeuronAttention, PerParameter, WeightTransformerBlock
from ._capacity import OutputCapacityExpansion, merge_ensemble
from ._encoding import GaussianFourier, LearnedPosition, ProbeFeatures, SinusoidalPosition
from ._gradient import GradientFeatures, NeuronGradients, PointNeuronLayer
from ._graph import Graph, GraphDecoder, GraphEncoder, GraphPool, GraphProjection, GraphState
from ._layers import Receivers, gmn_layer, kinds, ng_gnn_layer, scaled_layer
from ._layout import check_space
from ._linear import EquivariantLinear, InvariantPool
from ._message import MessagePassing
from ._mlp import head
from ._monomial import InvariantEntries, Modulated, MonomialActivation, unit
from ._norm import BatchNorm, Dropout, LearnedScale, Pointwise, Standardization, Standardize, relu_
from ._pairs import Attend, Pairs, PairsFromGraph, PairState, PairsToGraph
from ._pool import Reduction
from ._relational import RelationalAttention
from ._scaled import ScaledPool, SignMap
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
    "GraphProjection",
    "GraphState",
    "InvariantEntries",
    "InvariantPool",
    "LearnedPosition",
    "LearnedScale",
    "MessagePassing",
    "Modulated",
    "MonomialActivation",
    "NeuronAttention",
    "NeuronGradients",
    "OutputCapacityExpansion",
    "PairState",
    "Pairs",
    "PairsFromGraph",
    "PairsToGraph",
    "PerParameter",
    "PointNeuronLayer",
    "Pointwise",
    "ProbeFeatures",
    "Receivers",
    "Reduction",
    "RelationalAttention",
    "ScaledPool",
    "SetAttention",
    "SignMap",
    "SinusoidalPosition",
    "Standardization",
    "Standardize",
    "WeightTransformerBlock",
    "check_space",
    "gmn_layer",
    "head",
    "kinds",
    "merge_ensemble",
    "ng_gnn_layer",
    "relu_",
    "scaled_layer",
    "unit",
]
