"""Equivariant maps on weight features."""

from ._alpha import safe_eps
from ._attention import NeuronAttention, PerParameter, WeightTransformerBlock
from ._blocks import Block, Member, NodeSet
from ._capacity import OutputCapacityExpansion, merge_ensemble
from ._coefficients import Term
from ._contraction import Contraction
from ._covariant import Covariant
from ._encoding import GaussianFourier, LearnedPosition, ProbeFeatures, SinusoidalPosition
from ._family import SpaceFamily
from ._functions import EdgeUpdate, Message, NodeUpdate, NormalizedSiLU
from ._gradient import GradientFeatures, NeuronGradients, PointNeuronLayer
from ._graph import Graph, GraphState, graph_of
from ._graph_decoder import GraphDecoder, GraphPool, GraphProjection
from ._graph_encoder import GraphEncoder, kinds
from ._invariant_pool import InvariantPool
from ._layers import Receivers, gmn_layer, ng_gnn_layer, scaled_layer
from ._layout import check_space
from ._linear import EquivariantLinear
from ._message import MessagePassing
from ._mlp import head
from ._monomial import InvariantEntries, Modulated, MonomialActivation, unit
from ._neighbourhood import LinearUpdate, NeighbourhoodMessage
from ._norm import BatchNorm, Dropout, FeatureNorm, LearnedScale, Pointwise, Standardization, Standardize, relu_
from ._pairs import Attend, Pairs, PairsFromGraph, PairState, PairsToGraph
from ._pool import Reduction
from ._quasi import QuasiEquivariant, QuasiForm, quasi_cocycle, quasi_overhead
from ._relational import RelationalAttention
from ._scaled import ScaledPool, SignMap, node_symmetry
from ._set_attention import SetAttention
from ._statistics import NUM_STATISTICS, weight_statistics

__all__ = [
    "NUM_STATISTICS",
    "Attend",
    "BatchNorm",
    "Block",
    "Contraction",
    "Covariant",
    "Dropout",
    "EdgeUpdate",
    "EquivariantLinear",
    "FeatureNorm",
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
    "LinearUpdate",
    "Member",
    "Message",
    "MessagePassing",
    "Modulated",
    "MonomialActivation",
    "NeighbourhoodMessage",
    "NeuronAttention",
    "NeuronGradients",
    "NodeSet",
    "NodeUpdate",
    "NormalizedSiLU",
    "OutputCapacityExpansion",
    "PairState",
    "Pairs",
    "PairsFromGraph",
    "PairsToGraph",
    "PerParameter",
    "PointNeuronLayer",
    "Pointwise",
    "ProbeFeatures",
    "QuasiEquivariant",
    "QuasiForm",
    "Receivers",
    "Reduction",
    "RelationalAttention",
    "ScaledPool",
    "SetAttention",
    "SignMap",
    "SinusoidalPosition",
    "SpaceFamily",
    "Standardization",
    "Standardize",
    "Term",
    "WeightTransformerBlock",
    "check_space",
    "gmn_layer",
    "graph_of",
    "head",
    "kinds",
    "merge_ensemble",
    "ng_gnn_layer",
    "node_symmetry",
    "quasi_cocycle",
    "quasi_overhead",
    "relu_",
    "safe_eps",
    "scaled_layer",
    "unit",
    "weight_statistics",
]
