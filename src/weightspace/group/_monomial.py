"""Monomial matrix groups on the units of one neuron group: permutations, with or without a diagonal.

An element is a batch of matrices ``M = P diag(d)`` (scale first, then permute)::

    (M x)_i = d[permutation_i] * x[permutation_i]

``permutation`` is ``None`` where nothing is permuted and ``scale`` is ``None`` where nothing is scaled, so that the
trivial group costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from ._linear import GeneralLinearGroup

__all__ = [
    "MONOMIAL",
    "PERMUTATION",
    "POSITIVE_MONOMIAL",
    "SIGNED_PERMUTATION",
    "TRIVIAL",
    "Monomial",
    "MonomialGroup",
    "Scales",
]

Scales = Literal["none", "signs", "positive", "nonzero"]


class Monomial(NamedTuple):
    """A batch of monomial matrices ``P diag(scale)`` on n units.

    Attributes:
        permutation: [batch, n]; None for none.
        scale: [batch, n], or [batch, n, channels] to be applied to each channel in its own way; None for none.
    """

    permutation: Int[Tensor, "batch n"] | None = None
    scale: Float[Tensor, "batch n ..."] | None = None


@dataclass(frozen=True)
class MonomialGroup:
    """A group of monomial n x n matrices, for any n.

    Attributes:
        name: the name by which `WeightSpace.symmetry` knows the group.
        permutes: whether the group contains all n! permutations.
        scales: which diagonals it contains: none, the signs {+1, -1}^n, the positive reals, or all reals but zero.
    """

    name: str
    permutes: bool
    scales: Scales = "none"

    def contains(self, other: MonomialGroup | GeneralLinearGroup) -> bool:
        """Whether ``other`` is a subgroup of this group."""
        if self.permutes < other.permutes or other.scales == "linear":
            return False
        return self.scales == "nonzero" or other.scales in ("none", self.scales)

    def identity(
        self, batch: int, n: int, *, dtype: torch.dtype | None = None, permutation: Tensor | None = None
    ) -> Monomial:
        """The identity matrix, ``batch`` times."""
        index = torch.arange(n).expand(batch, n) if self.permutes and permutation is None else permutation
        scale = torch.ones(batch, n, dtype=dtype) if self.scales != "none" else None
        return Monomial(index, scale)

    def sample(
        self,
        batch: int,
        n: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        scale_range: float = 10.0,
        permutation: Tensor | None = None,
    ) -> Monomial:
        """Draws ``batch`` elements: uniform permutations, uniform signs, log-uniform scales.

        Args:
            batch: number of elements.
            n: number of units.
            generator: CPU generator; the global one if None.
            dtype: of the scales; the default dtype if None.
            scale_range: positive scales lie in [1 / scale_range, scale_range].
            permutation: [batch, n], to be taken instead of new permutations.
        """
        index = permutation
        if self.permutes and index is None:
            index = torch.rand(batch, n, generator=generator).argsort(dim=1)
        scale = None
        if self.scales in ("signs", "nonzero"):
            scale = torch.randint(0, 2, (batch, n), generator=generator).to(dtype or torch.get_default_dtype()) * 2 - 1
        if self.scales in ("positive", "nonzero"):
            uniform = torch.rand(batch, n, generator=generator, dtype=dtype) * 2 - 1
            scale = torch.exp(math.log(scale_range) * uniform) * (1 if scale is None else scale)
        return Monomial(index, scale)

    def compose(self, second: Monomial, first: Monomial) -> Monomial:
        """The product ``second @ first``: first acts first."""
        index, scale = first.permutation, first.scale
        moved = second.scale
        if first.permutation is not None and moved is not None:
            moved = torch.take_along_dim(moved, first.permutation.argsort(dim=1), dim=1)
        if second.permutation is not None:
            index = second.permutation if index is None else torch.take_along_dim(index, second.permutation, dim=1)
        if moved is not None:
            scale = moved if scale is None else scale * moved
        return Monomial(index, scale)

    def inverse(self, element: Monomial) -> Monomial:
        """The inverse matrices."""
        index, scale = element
        if scale is not None:
            scale = 1 / scale
            if index is not None:
                scale = torch.take_along_dim(scale, index, dim=1)
        return Monomial(None if index is None else index.argsort(dim=1), scale)

    def contragredient(self, element: Monomial) -> Monomial:
        """The inverse transposed matrices ``g^-T``, which act on the *in* side of a parameter."""
        return Monomial(element.permutation, None if element.scale is None else 1 / element.scale)

    def apply(self, element: Monomial, x: Tensor, axis: int) -> Tensor:
        """Multiplies one axis of ``x`` by the matrices.

        Args:
            element: a batch of B (or 1) matrices on n units.
            x: tensor [B or 1, ...] whose size along ``axis`` is n.
            axis: the axis, counted from 1 (axis 0 is the batch).

        Returns:
            A tensor of the same shape (batch broadcast).
        """
        shape = [1] * x.dim()
        shape[axis] = x.shape[axis]
        if element.scale is not None:
            shape[0] = element.scale.shape[0]
            if element.scale.dim() == 3:
                shape[-1] = element.scale.shape[2]
            x = x * element.scale.to(x).reshape(shape)
        if element.permutation is None:
            return x
        index = element.permutation.to(x.device)
        if index.shape[0] == 1:
            return x.index_select(axis, index[0])
        # whole rows are moved at once: an index for each entry, as take_along_dim has it, costs ten times as much
        rows = torch.arange(index.shape[0], device=x.device)[:, None]
        return x.expand(index.shape[0], *x.shape[1:]).movedim(axis, 1)[rows, index].movedim(1, axis)


TRIVIAL = MonomialGroup("trivial", permutes=False)
PERMUTATION = MonomialGroup("permutation", permutes=True)
SIGNED_PERMUTATION = MonomialGroup("signed_permutation", permutes=True, scales="signs")
MONOMIAL = MonomialGroup("monomial", permutes=True, scales="nonzero")
POSITIVE_MONOMIAL = MonomialGroup("positive_monomial", permutes=True, scales="positive")
