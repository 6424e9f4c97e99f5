"""Matrix groups on one neuron group: sample, compose, invert, apply to an axis."""

from ._linear import GENERAL_LINEAR, GeneralLinearGroup, Linear
from ._monomial import (
    MONOMIAL,
    PERMUTATION,
    POSITIVE_MONOMIAL,
    SIGNED_PERMUTATION,
    TRIVIAL,
    Monomial,
    MonomialGroup,
    Scales,
)

MatrixGroup = MonomialGroup | GeneralLinearGroup
Matrix = Monomial | Linear

__all__ = [
    "GENERAL_LINEAR",
    "MONOMIAL",
    "PERMUTATION",
    "POSITIVE_MONOMIAL",
    "SIGNED_PERMUTATION",
    "TRIVIAL",
    "GeneralLinearGroup",
    "Linear",
    "Matrix",
    "MatrixGroup",
    "Monomial",
    "MonomialGroup",
    "Scales",
]
