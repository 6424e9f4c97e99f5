"""Check your own layers: equivariance and invariance in float64 on random networks and group elements.

Random architectures are drawn by the hypothesis strategies in `weightspace.testing.strategies`.
"""

from ._equivariance import assert_equivariant, assert_invariant, equivariance_error

__all__ = ["assert_equivariant", "assert_invariant", "equivariance_error"]
