"""Optimal assignments and rotations for a whole batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._errors import SymmetryError

__all__ = ["assign", "rotate"]


def assign(scores: Float[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """For each column the row that is assigned to it, so that the sum of the scores is as large as possible.

    Where the largest scores of the rows are in different columns, they are the assignment, which is found for all
    items of the batch at once. The others are solved by `scipy.optimize.linear_sum_assignment`.

    Raises:
        SymmetryError: for scores that are not finite.
    """
    columns = scores.argmax(2)
    numbers = torch.arange(scores.shape[1], device=columns.device)
    hard = (columns.sort(dim=1).values != numbers).any(1).nonzero().flatten()
    if len(hard):
        columns[hard] = _solve(scores[hard].cpu()).to(columns)
    return columns.argsort(dim=1)


def _solve(scores: Tensor) -> Tensor:
    """For each row its column; the items are shared out among the threads, as scipy lets go of the interpreter."""
    from scipy.optimize import linear_sum_assignment

    def one(item: Tensor) -> Tensor:
        return torch.from_numpy(linear_sum_assignment(item.numpy(), maximize=True)[1])

    try:
        with ThreadPoolExecutor(min(torch.get_num_threads(), len(scores))) as pool:
            return torch.stack(list(pool.map(one, scores)))
    except ValueError as error:
        raise SymmetryError(f"units cannot be matched; are there very large weights? {error}") from error


def rotate(
    products: Float[Tensor, "*batch n n"], *, positive: bool
) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch"]]:
    """The orthogonal matrices R for which the trace of R times the products is largest, and that trace.

    Orthogonal Procrustes (Schönemann, 1966, Psychometrika 31).

    Args:
        products: M.
        positive: whether the determinant of R must be positive.
    """
    left, values, right = torch.linalg.svd(products)
    if positive:
        sign = torch.linalg.det(left @ right).sign()
        left = torch.cat([left[..., :-1], left[..., -1:] * sign[..., None, None]], dim=-1)
        values = torch.cat([values[..., :-1], values[..., -1:] * sign[..., None]], dim=-1)
    return (left @ right).mT, values.sum(-1)
