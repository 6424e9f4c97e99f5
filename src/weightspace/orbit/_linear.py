"""A frame for the units on which all invertible matrices act: the balanced singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..group import Linear
from ..space import SymmetryGroup, WeightFeatures
from ._structure import Carrier, columns, midrange, permuted_units, units_of

__all__ = ["linear_gauge"]


def linear_gauge(
    theta: WeightFeatures, name: str, out: Sequence[Carrier], into: Sequence[Carrier], group: SymmetryGroup
) -> tuple[Linear, Float[Tensor, "2 batch"]]:
    r"""The matrices that bring the units of one neuron group into their canonical frame.

    X are all entries on the *out* side, one row for each unit, and Y those on the *in* side: X goes to gX and Y to
    :math:`g^{-T} Y`, so :math:`X^T Y = \sum_i s_i u_i v_i^T` stays. In the frame the rows of X are
    :math:`\sqrt{s_i}\, u_i^T` and those of Y :math:`\sqrt{s_i}\, v_i^T`, in descending order; the midrange of each
    row of X is positive. If one side has fewer entries than there are units, the rows of the other one, X, become
    orthonormal, and diagonalise :math:`X D^2 X^T`, where D is the leverage of each column of X, and of columns that no
    permutation moves the place besides.

    Args:
        theta: the networks.
        name: the neuron group.
        out: parameters with the group on the *out* side.
        into: parameters with the group on the *in* side.
        group: the symmetry; if determinants must be positive, the sign of the last row is what makes them so.

    Returns:
        The matrices; the smallest gap between singular values and the smallest midrange, both relative to the largest.
        A matrix without full rank is left as it is, and has gap 0.
    """
    size, over = theta.space.group(name).size, theta.space.group(name).over
    sides = [side for side in (out, into) if sum(c.width for c in side) >= size]
    entries = [columns(theta, [c.place for c in side], over) for side in sides]
    full = torch.stack([_full_rank(rows.detach()) for rows in entries]).all(0)
    keep = full[..., None, None]
    # what has no full rank has no derivative either: something that has takes its place, and its matrix is not used
    entries = [torch.where(keep, rows, _harmless(rows)) for rows in entries]
    frame, rows, values = _frame(entries, _fixed(sides[0], name, group).to(entries[0]))
    signs, clear = _signs(rows.detach())
    matrix = frame * signs[..., None]
    if sides[0][0].side == "in":
        matrix = torch.linalg.inv(matrix).mT
    if getattr(group.factor(name), "positive", False):
        last = torch.arange(size, device=matrix.device)[:, None] == size - 1
        matrix = torch.where(last & (torch.linalg.det(matrix.detach()) < 0)[..., None, None], -matrix, matrix)
    sure = torch.stack([_gap(values.detach()), clear]) * full
    return Linear(torch.where(keep, matrix, torch.eye(size).to(matrix))), sure if over is None else sure.amin(2)


def _fixed(side: Sequence[Carrier], name: str, group: SymmetryGroup) -> Float[Tensor, "entries"]:
    """1 for the columns of a side that no permutation moves, 0 for the others."""
    space, free = group.space, {*permuted_units(group)} - {group.space.group(name).over}
    axes = [[units_of(space, axis) for axis in space.parameters[c.place[0]].axes] for c in side]
    return torch.cat([torch.full((c.width,), float(free.isdisjoint(a))) for c, a in zip(side, axes, strict=True)])


def _frame(entries: list[Tensor], fixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices that diagonalise one or two sides up to signs, the rows in their frame, the singular values."""
    basis, triangle = torch.linalg.qr(entries[0].mT)
    if len(entries) == 2:
        left, values, _ = torch.linalg.svd(triangle @ torch.linalg.qr(entries[1].mT).R.mT)
        scaled = left * values.sqrt().unsqueeze(-2)
    else:
        place = fixed * torch.arange(1, len(fixed) + 1).to(basis) / len(fixed)
        weighted = basis * (basis.square().sum(-1) + place)[..., None]
        left, values, _ = torch.linalg.svd(weighted.mT, full_matrices=False)
        scaled = left
    frame = torch.linalg.solve_triangular(triangle, scaled, upper=True).mT
    return frame, (basis @ left).mT, values


def _harmless(rows: Tensor) -> Tensor:
    """Rows of the same shape that are well conditioned and have distinct singular values."""
    size, width = rows.shape[-2:]
    return torch.diag(torch.arange(1, size + 1).to(rows)) @ torch.eye(size, width).to(rows)


def _full_rank(rows: Tensor) -> Tensor:
    """Whether the rows are linearly independent, beyond rounding."""
    diagonal = torch.linalg.qr(rows.mT).R.diagonal(dim1=-2, dim2=-1).abs()
    independent: Tensor = diagonal.amin(-1) > rows.shape[-2] * torch.finfo(rows.dtype).eps * diagonal.amax(-1)
    return independent


def _gap(values: Tensor) -> Tensor:
    """The smallest difference of singular values, and the smallest of them, relative to the largest."""
    steps = torch.cat([values[..., :-1] - values[..., 1:], values[..., -1:]], dim=-1)
    gap: Tensor = steps.amin(-1) / values[..., 0]
    return gap


def _signs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Signs that make the midrange of every row positive, and how clear the least clear one is."""
    middle = midrange(rows)
    largest = rows.abs().amax(-1).clamp_min(torch.finfo(rows.dtype).tiny)
    clear: Tensor = (middle.abs() / largest).amin(-1)
    return torch.where(middle >= 0, 1.0, -1.0).to(rows), clear
