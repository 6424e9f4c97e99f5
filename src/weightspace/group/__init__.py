"""Matrix groups on one neuron group: sample, compose, invert, apply to an axis."""

from ._monomial import PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL, Monomial, MonomialGroup

__all__ = ["PERMUTATION", "POSITIVE_MONOMIAL", "SIGNED_PERMUTATION", "TRIVIAL", "Monomial", "MonomialGroup"]
