"""The best element of one family of neuron groups, while all others stay where they are."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..group import Linear, Monomial
from ..space import GroupElement
from ._assignment import assign, rotate
from ._families import Family, Scores

__all__ = ["Match", "match"]


class Match(NamedTuple):
    """The best element of a family.

    Attributes:
        element: its matrices, for the neuron groups of the family alone.
        gain: [batch], by how much it raises the inner product, if that is linear in the element.
    """

    element: GroupElement
    gain: Float[Tensor, "batch"]


def match(family: Family, scores: Scores) -> Match:
    """Permutations, signs and rotations with the largest inner product.

    Permuted units are a linear assignment, whose scores are the most that signs and rotations give for each pair.
    """
    return _with_frames(family, scores) if family.frames else _with_signs(family, scores)


def _with_signs(family: Family, scores: Scores) -> Match:
    choices = [
        dict(zip(family.signs, choice, strict=True)) for choice in itertools.product((1, -1), repeat=len(family.signs))
    ]
    best = _signed(scores, choices[0])
    before, taken = _trace(best), None
    for index, choice in enumerate(choices[1:], start=1):
        value = _signed(scores, choice)
        taken = torch.zeros_like(best, dtype=torch.long) if taken is None else taken
        taken, best = torch.where(value > best, index, taken), torch.maximum(value, best)
    order = assign(best) if family.permutes else None
    element: GroupElement = {g.name: Monomial(order) for g in family.space.groups if g.units == family.name}
    if taken is not None:
        mine = _by_row(taken, order)
        for name in family.signs:
            signs = torch.tensor([choice[name] for choice in choices], dtype=best.dtype, device=best.device)
            element[name] = Monomial(order, signs[mine])
    return Match(element, _trace(best, order) - before)


def _signed(scores: Scores, choice: dict[str, int]) -> Tensor:
    parts = [v if math.prod(choice[name] for name in kind.signs) > 0 else -v for kind, v in scores.items()]
    return sum(parts[1:], parts[0])


def _with_frames(family: Family, scores: Scores) -> Match:
    before = value = next(iter(scores.values())).new_zeros(())
    rotations: dict[str, Tensor] = {}
    positive = dict(family.frames)
    for kind, values in scores.items():
        if kind.frame is None:
            before, value = before + _trace(values), value + (values if family.permutes else _pairs(values, None))
            continue
        # [batch, moved heads, heads, moved coordinates, coordinates]
        products = values.unflatten(2, (family.size, -1)).unflatten(1, (family.size, -1)).transpose(2, 3)
        own = _pairs(products, None)
        before = before + own.diagonal(dim1=2, dim2=3).sum((1, 2))
        rotations[kind.frame], most = rotate(products if family.permutes else own, positive=positive[kind.frame])
        value = value + most
    order = None
    if family.permutes:
        order = assign(value)
        value, rotations = _pairs(value, order), {name: _by_row(r, order) for name, r in rotations.items()}
    element: GroupElement = {}
    if family.name not in positive:
        element = {g.name: Monomial(order) for g in family.space.groups if g.units == family.name}
    for name, rotation in rotations.items():
        element[name] = Linear(rotation[:, 0]) if name == family.name else Linear(rotation, order)
    return Match(element, value.sum(1) - before)


def _trace(values: Tensor, order: Int[Tensor, "batch n"] | None = None) -> Tensor:
    """[batch], the sum of the scores of the pairs."""
    return _pairs(values, order).sum(1)


def _pairs(values: Tensor, order: Tensor | None) -> Tensor:
    """[batch, rows, columns, ...] -> [batch, columns, ...], what belongs to each column's row."""
    if order is None:
        return values.diagonal(dim1=1, dim2=2).movedim(-1, 1)
    index = order.reshape(order.shape[0], 1, order.shape[1], *(1,) * (values.dim() - 3))
    return torch.take_along_dim(values, index, dim=1).squeeze(1)


def _by_row(values: Tensor, order: Tensor | None) -> Tensor:
    """The same, in the order of the rows."""
    found = _pairs(values, order)
    if order is None:
        return found
    return torch.take_along_dim(found, order.argsort(dim=1).reshape(*order.shape, *(1,) * (found.dim() - 2)), dim=1)
