"""The general linear group of the units of one neuron group, or of each head's coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ._monomial import MonomialGroup

__all__ = ["GENERAL_LINEAR", "GeneralLinearGroup", "Linear"]


class Linear(NamedTuple):
    """A batch of invertible n x n matrices; over heads, one for each head, multiplied before the heads are permuted.

    Attributes:
        matrix: [batch, n, n], or [batch, heads, n, n] for coordinates fibred over heads.
        permutation: [batch, heads], how the element permutes the heads (a copy of what it does there); None if the
            units are not fibred over heads, or if the heads stay where they are.
    """

    matrix: Float[Tensor, "batch ... n n"]
    permutation: Int[Tensor, "batch heads"] | None = None


@dataclass(frozen=True)
class GeneralLinearGroup:
    """All invertible n x n matrices, or those of positive determinant, for any n.

    Attributes:
        name: the name by which `WeightSpace.symmetry` knows the group.
        positive: whether the determinant must be positive: the identity component.
    """

    name: str = "general_linear"
    positive: bool = False

    permutes = True
    scales = "linear"

    def contains(self, other: MonomialGroup | GeneralLinearGroup) -> bool:
        """Whether ``other`` is a subgroup of this group."""
        if isinstance(other, GeneralLinearGroup):
            return other.positive or not self.positive
        return not self.positive or (not other.permutes and other.scales in ("none", "positive"))

    def identity(
        self,
        batch: int,
        n: int,
        *,
        dtype: torch.dtype | None = None,
        heads: int | None = None,
        permutation: Tensor | None = None,
    ) -> Linear:
        """The identity matrix, ``batch`` times (times ``heads``)."""
        shape = (batch, n, n) if heads is None else (batch, heads, n, n)
        return Linear(torch.eye(n, dtype=dtype).expand(shape), permutation)

    def sample(
        self,
        batch: int,
        n: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        scale_range: float = 10.0,
        heads: int | None = None,
        permutation: Tensor | None = None,
    ) -> Linear:
        """Draws ``batch`` well conditioned matrices: singular vectors uniform, singular values log-uniform.

        Args:
            batch: number of elements.
            n: number of units.
            generator: CPU generator; the global one if None.
            dtype: of the matrices; the default dtype if None.
            scale_range: bound of the condition number; singular values lie in its inverse root to its root.
            heads: number of heads over which the units are fibred, each with its own matrix.
            permutation: what the element does to the heads.
        """
        shape = (batch, n, n) if heads is None else (batch, heads, n, n)
        left, right = (
            torch.linalg.qr(torch.randn(shape, generator=generator, dtype=dtype)).Q.contiguous() for _ in range(2)
        )
        uniform = torch.rand(shape[:-1], generator=generator, dtype=dtype) - 0.5
        matrix = left * torch.exp(math.log(scale_range) * uniform).unsqueeze(-2) @ right
        signs = torch.randint(0, 2, shape[:-2], generator=generator).to(matrix) * 2 - 1
        wanted = torch.ones_like(signs) if self.positive else signs
        row = torch.where(torch.linalg.det(matrix).sign() == wanted, 1.0, -1.0).to(matrix)
        matrix[..., 0, :] *= row.unsqueeze(-1)
        return Linear(matrix, permutation)

    def compose(self, second: Linear, first: Linear) -> Linear:
        """The product ``second @ first``: first acts first."""
        matrix, permutation = second.matrix, first.permutation
        if first.permutation is not None:
            matrix = _take(matrix, first.permutation.argsort(dim=1))
        if second.permutation is not None:
            permutation = (
                second.permutation
                if permutation is None
                else torch.take_along_dim(permutation, second.permutation, dim=1)
            )
        return Linear(matrix @ first.matrix, permutation)

    def inverse(self, element: Linear) -> Linear:
        """The inverse matrices."""
        matrix = torch.linalg.inv(element.matrix)
        if element.permutation is None:
            return Linear(matrix)
        return Linear(_take(matrix, element.permutation), element.permutation.argsort(dim=1))

    def contragredient(self, element: Linear) -> Linear:
        """The inverse transposed matrices ``g^-T``, which act on the *in* side of a parameter."""
        return Linear(torch.linalg.inv(element.matrix).mT, element.permutation)

    def apply(self, element: Linear, x: Tensor, axis: int, over: int | None = None) -> Tensor:
        """Multiplies one axis of ``x`` by the matrices.

        Args:
            element: a batch of B (or 1) matrices on n units.
            x: tensor [B or 1, ...] whose size along ``axis`` is n.
            axis: the axis, counted from 1 (axis 0 is the batch).
            over: the axis of the heads, which is not permuted here; None for units that are not fibred.

        Returns:
            A tensor of the same shape (batch broadcast).
        """
        axes = (axis,) if over is None else (over, axis)
        ahead = x.movedim(axes, tuple(range(1, 1 + len(axes))))
        rest = ahead.shape[1 + len(axes) :]
        product: Tensor = element.matrix.to(x) @ ahead.flatten(1 + len(axes))
        out: Tensor = product.unflatten(-1, rest)
        return out.movedim(tuple(range(1, 1 + len(axes))), axes)


def _take(matrix: Tensor, index: Tensor) -> Tensor:
    """The matrices of heads ``index``."""
    return torch.take_along_dim(matrix, index[..., None, None], dim=1)


GENERAL_LINEAR = GeneralLinearGroup()
