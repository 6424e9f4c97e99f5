"""Theorems about weight-space networks as code that runs: counterexamples, constructions, and what checks them.

`statements` lists them; each has words, a computation, numbers and a picture. The parts they consist of are here too.
"""

from ..orbit import wl_colors
from ._census import Census, ambiguous_classes, binary_orbits, census
from ._commutant import commutant_dimension
from ._operators import EquivariantPair, equivariant_pair
from ._outputs import output_gap
from ._pairs import Pair, design_pair, gram_norm, with_inner_weights, wl_pair
from ._statement import Evidence, Measurement, Statement, statements

__all__ = [
    "Census",
    "EquivariantPair",
    "Evidence",
    "Measurement",
    "Pair",
    "Statement",
    "ambiguous_classes",
    "binary_orbits",
    "census",
    "commutant_dimension",
    "design_pair",
    "equivariant_pair",
    "gram_norm",
    "output_gap",
    "statements",
    "with_inner_weights",
    "wl_colors",
    "wl_pair",
]
