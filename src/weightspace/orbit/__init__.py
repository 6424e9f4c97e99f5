"""Canonical forms: one network chosen from each orbit of the symmetry group; colours of neurons; orbit membership.

Alignment of networks to others, and merging.
"""

from ._align import Alignment, align
from ._canonical import Canonical, canonical_element, canonicalize
from ._colors import wl_colors
from ._membership import same_orbit
from ._merge import merge
from ._phase import Phase, PhaseElement, PhaseGroup

__all__ = [
    "Alignment",
    "Canonical",
    "Phase",
    "PhaseElement",
    "PhaseGroup",
    "align",
    "canonical_element",
    "canonicalize",
    "merge",
    "same_orbit",
    "wl_colors",
]
