"""A cheap proof that units are matched as well as can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from ._families import Family

__all__ = ["settled"]

_SAMPLE = 64  # entries of a unit that are looked at


def settled(family: Family, moved: Sequence[Tensor], fixed: Sequence[Tensor]) -> Bool[Tensor, "batch"]:
    """Where each unit is nearer to its partner than to any other unit: then no assignment is better.

    The distance over a few of the entries is a lower bound of the distance over all of them. The bounds to all other
    units cost a fraction of the inner products, and suffice if the two networks differ by little. Families with
    several signs or with rotations are never said to be settled.
    """
    if not family.permutes or family.frames or family.repeated or len(family.signs) > 1:
        return torch.zeros(len(fixed[0]), dtype=torch.bool, device=fixed[0].device)
    entries = sum(math.prod(t.shape[1:]) // family.size for t in fixed)
    stride = max(1, entries // _SAMPLE)
    distance: Tensor | float = 0.0
    columns: dict[bool, list[tuple[Tensor, Tensor]]] = {False: [], True: []}
    for place in family.places:
        a, b = moved[place.parameter], fixed[place.parameter]
        axis = place.axes[0]
        distance = distance + (a - b).square_().sum([i for i in range(1, a.dim()) if i != axis])
        sample = tuple(t.movedim(axis, 1).flatten(2)[..., ::stride].contiguous() for t in (a, b))
        columns[bool(place.kind.signs)].append((sample[0], sample[1]))
    rows, others = (torch.cat([pair[i] for pairs in columns.values() for pair in pairs], dim=2) for i in (0, 1))
    size, own = rows.square().sum(2), others.square().sum(2)
    # |row - other|^2 = |other|^2 - nearness
    width = sum(pair[0].shape[2] for pair in columns[False])
    nearness = torch.baddbmm(-size[..., None], rows[..., :width], others[..., :width].mT, alpha=2)
    diagonal = nearness.diagonal(dim1=1, dim2=2)
    if columns[True]:
        flipped = 2 * (rows[..., width:] @ others[..., width:].mT)
        itself = diagonal - flipped.diagonal(dim1=1, dim2=2)
        nearness += flipped.abs_()
        diagonal.copy_(itself)
    else:
        diagonal.fill_(-math.inf)
    rounding = 64 * torch.finfo(own.dtype).eps * (own + size.amax(1, keepdim=True))
    return (own - nearness.amax(1) > distance + rounding).all(1)
