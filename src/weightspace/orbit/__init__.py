"""Canonical forms: one network chosen from each orbit of the symmetry group; colours of neurons; orbit membership."""

from ._canonical import Canonical, canonical_element, canonicalize
from ._colors import wl_colors
from ._membership import same_orbit
from ._phase import Phase, PhaseElement, PhaseGroup

__all__ = [
    "Canonical",
    "Phase",
    "PhaseElement",
    "PhaseGroup",
    "canonical_element",
    "canonicalize",
    "same_orbit",
    "wl_colors",
]
