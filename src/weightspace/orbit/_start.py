"""Where alignment starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..group import Monomial
from ..space import GroupElement
from ._ascent import Ascent
from ._families import Family, Place
from ._match import match

__all__ = ["anchor", "sort_units"]

_SAMPLE = 128  # entries of a unit that a start is found by


def anchor(ascent: Ascent) -> None:
    """Matches the units of each family by those entries alone whose other end is matched already, or never moves.

    The family with the largest share of such entries is the next one. Where a bias is all that there is, this is the
    order of the biases.
    """
    waiting = list(ascent.families)
    placed: set[str] = set()

    def known(family: Family) -> list[Place]:
        return [place for place in family.places if family.moved_by(place) <= placed]

    def share(family: Family) -> float:
        return sum(map(family.entries, known(family))) / sum(map(family.entries, family.places))

    while waiting:
        family = max(waiting, key=share)
        waiting.remove(family)
        moved, fixed = ascent.tensors(family)
        places = known(family)
        if places:
            stride = max(1, sum(map(family.entries, places)) // _SAMPLE)
            ascent.place(family, match(family, family.scores(moved, fixed, places, stride=stride)).element)
        else:
            ascent.place(family, _sorted(family, moved, fixed))
        placed |= {g.name for g in family.space.groups if g.units == family.name} | {n for n, _ in family.frames}


def sort_units(ascent: Ascent) -> None:
    """Brings the units of each family into the order of their biases in the other network.

    Of units with several vectors (shifts and gains of norms, running statistics) the sort key is their sum, each
    standardised over the units; of units without any it is the norm of their parameters. Where signs act, the sign of
    the first vector decides, and the key takes absolute values.
    """
    for family in ascent.families:
        ascent.place(family, _sorted(family, *ascent.tensors(family)))


def _sorted(family: Family, moved: Sequence[Tensor], fixed: Sequence[Tensor]) -> GroupElement:
    vectors = [place for place in family.places if _is_vector(family, place)]
    order = None
    if family.permutes:
        here, there = (_key(family, vectors, tensors).argsort(dim=1, stable=True) for tensors in (moved, fixed))
        order = torch.take_along_dim(here, there.argsort(dim=1), dim=1)
    element = family.relabelled(order, fixed[0])
    for name in family.signs:
        deciding = [place.parameter for place in vectors if place.kind.signs == {name}]
        if deciding:
            ours, theirs = moved[deciding[0]].flatten(1), fixed[deciding[0]].flatten(1)
            theirs = theirs if order is None else torch.take_along_dim(theirs, order.argsort(dim=1), dim=1)
            element[name] = Monomial(order, torch.where(ours * theirs < 0, -1.0, 1.0).to(ours))
    return element


def _is_vector(family: Family, place: Place) -> bool:
    return len(place.axes) == 1 and family.entries(place) == 1


def _key(family: Family, vectors: Sequence[Place], tensors: Sequence[Tensor]) -> Tensor:
    """[batch, units]."""
    rows = [tensors[p.parameter].movedim(p.axes[0], 1).flatten(2) for p in vectors or family.places]
    if vectors:
        keys = [t[..., 0].abs() if p.kind.signs else t[..., 0] for p, t in zip(vectors, rows, strict=True)]
    else:
        keys = [t.square().sum(2) for t in rows]
    tiny = torch.finfo(keys[0].dtype).tiny
    standard = [
        (key - key.mean(1, keepdim=True)) / key.std(1, keepdim=True, correction=0).clamp_min(tiny) for key in keys
    ]
    return torch.stack(standard).sum(0)
