"""Neuron groups, parameters, weight spaces, weight features, the symmetry group and its action, realisation."""

from ._activation import Activation, Offset, Sine
from ._build import mlp, siren
from ._features import WeightFeatures, check_features
from ._labels import Axis, Block, NeuronGroup, Parameter, StoredTensor
from ._padded import PaddedBatch, PaddedFeatures, centred
from ._padding import last_word, pad
from ._realize import activations, backpropagate
from ._space import WeightSpace, from_description
from ._symmetry import GroupElement, SymmetryGroup
from .trace import from_module

__all__ = [
    "Activation",
    "Axis",
    "Block",
    "GroupElement",
    "NeuronGroup",
    "Offset",
    "PaddedBatch",
    "PaddedFeatures",
    "Parameter",
    "Sine",
    "StoredTensor",
    "SymmetryGroup",
    "WeightFeatures",
    "WeightSpace",
    "activations",
    "backpropagate",
    "centred",
    "check_features",
    "from_description",
    "from_module",
    "last_word",
    "mlp",
    "pad",
    "siren",
]
