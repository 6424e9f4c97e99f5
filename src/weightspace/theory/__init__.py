"""Theorems about weight-space networks as code that runs: counterexamples, constructions, and what checks them.

`statements` lists them; each has words, a computation, numbers and a picture. The parts they consist of are here too.
"""

from ._census import Census, binary_orbits, census
from ._commutant import commutant_dimension
from ._pairs import gram_norm, wl_pair
from ._statement import Evidence, Measurement, Statement, statements

__all__ = [
    "Census",
    "Evidence",
    "Measurement",
    "Statement",
    "binary_orbits",
    "census",
    "commutant_dimension",
    "gram_norm",
    "statements",
    "wl_pair",
]
