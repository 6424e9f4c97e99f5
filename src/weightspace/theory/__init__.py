"""Theorems about weight-space networks as code that runs: counterexamples, constructions, and what checks them.

`statements` lists them; each has words, a computation, numbers and a picture. The parts they consist of are here too.
"""

from ..orbit import wl_colors
from ._broadcast import CanonicalBroadcast
from ._canonical import CanonicalFormNetwork
from ._census import Census, ambiguous_classes, binary_orbits, census
from ._commutant import commutant_dimension
from ._dws_to_gmn import dws_to_gmn
from ._dws_to_np import OneHotPosition, dws_to_np
from ._explicit import interpolant, ramps, sawtooth
from ._forward_pass import ForwardPassNetwork, forward_radius
from ._general_position import (
    GeneralPosition,
    general_position_probability,
    in_general_position,
    quantise,
)
from ._gmn_to_dws import gmn_to_dws
from ._gmn_to_ng import gmn_to_ng
from ._map import ExpressivityMap, Verdict, expressivity_map
from ._maximum import max_to_dws
from ._np_to_dws import np_to_dws
from ._operators import EquivariantPair, equivariant_pair
from ._outputs import output_gap
from ._pairs import Pair, design_pair, gram_norm, with_inner_weights, wl_pair
from ._partition import PartitionOfUnity
from ._pieces import LinearPieces, linear_pieces
from ._regions import count_regions, max_pieces
from ._simulation import Simulation
from ._statement import Evidence, Measurement, Statement, statements
from ._symmetry_error import function_difference, symmetry_error
from ._zoom import TiledZoom, capacity_lower_bound

__all__ = [
    "CanonicalBroadcast",
    "CanonicalFormNetwork",
    "Census",
    "EquivariantPair",
    "Evidence",
    "ExpressivityMap",
    "ForwardPassNetwork",
    "GeneralPosition",
    "LinearPieces",
    "Measurement",
    "OneHotPosition",
    "Pair",
    "PartitionOfUnity",
    "Simulation",
    "Statement",
    "TiledZoom",
    "Verdict",
    "ambiguous_classes",
    "binary_orbits",
    "capacity_lower_bound",
    "census",
    "commutant_dimension",
    "count_regions",
    "design_pair",
    "dws_to_gmn",
    "dws_to_np",
    "equivariant_pair",
    "expressivity_map",
    "forward_radius",
    "function_difference",
    "general_position_probability",
    "gmn_to_dws",
    "gmn_to_ng",
    "gram_norm",
    "in_general_position",
    "interpolant",
    "linear_pieces",
    "max_pieces",
    "max_to_dws",
    "np_to_dws",
    "output_gap",
    "quantise",
    "ramps",
    "sawtooth",
    "statements",
    "symmetry_error",
    "with_inner_weights",
    "wl_colors",
    "wl_pair",
]
