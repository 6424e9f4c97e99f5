"""Check your own layers: equivariance and invariance in float64, random architectures and group elements."""

from ._equivariance import assert_equivariant, assert_invariant, equivariance_error

__all__ = ["assert_equivariant", "assert_invariant", "equivariance_error"]
