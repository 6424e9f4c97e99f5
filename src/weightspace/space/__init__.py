"""Neuron groups, parameters, weight spaces, weight features, the symmetry group and its action, realisation."""

from ._activation import Activation, Offset, Sine
from ._build import mlp, siren
from ._features import WeightFeatures
from ._realize import activations, backpropagate
from ._space import Axis, NeuronGroup, Parameter, WeightSpace, from_description
from ._symmetry import GroupElement, SymmetryGroup

__all__ = [
    "Activation",
    "Axis",
    "GroupElement",
    "NeuronGroup",
    "Offset",
    "Parameter",
    "Sine",
    "SymmetryGroup",
    "WeightFeatures",
    "WeightSpace",
    "activations",
    "backpropagate",
    "from_description",
    "mlp",
    "siren",
]
