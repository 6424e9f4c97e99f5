"""Canonical forms: one network chosen from each orbit of the symmetry group."""

from ._canonical import Canonical, canonical_element, canonicalize

__all__ = ["Canonical", "canonical_element", "canonicalize"]
