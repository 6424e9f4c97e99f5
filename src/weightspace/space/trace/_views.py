"""Grouping the factors of axes anew: views, and slices along axes that number unlike things."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ._sums import split_sum
from ._unify import unify
from ._wires import Axis, Factor, Units, drop, dual, expand, fix, fresh, leaves, parts, split

__all__ = ["choose", "regroup", "settle"]


def regroup(axes: Sequence[Axis], sizes: Sequence[int]) -> tuple[Axis, ...] | None:
    """The axes of a view with other sizes; None if the factors do not fit them."""
    pending = [factor for axis in axes for factor in drop(expand(axis))]
    found: list[Axis] = []
    for size in sizes:
        axis: list[Factor] = []
        while size > 1:
            factor = pending.pop(0)
            if factor.units.size > size:
                inner, remainder = divmod(factor.units.size, size)
                pair = None if remainder else _divided(factor, size, inner)
                if pair is None:
                    return None
                factor, rest = pair
                pending.insert(0, rest)
            if size % factor.units.size:
                return None
            size //= factor.units.size
            axis.append(factor)
        found.append(tuple(axis))
    return tuple(found)


def _divided(factor: Factor, size: int, inner: int) -> Sequence[Factor] | None:
    """A factor as a product of two."""
    if factor.units.parts is None:
        split(factor, "product", [size, inner])
        return parts(factor)
    pieces = split_sum(factor, [inner] * size)
    if pieces is None:
        return None
    numbers, any_ = fresh(size, fixed=True), fresh(inner)
    for i, piece in enumerate(pieces):
        numbers.units.each[i] = {any_.units: piece}
        numbers.units.alike.append((any_, piece))
    return numbers, any_


def settle(units: Units) -> bool:
    """Identifies the parts of a sum that have been used as one; whether there were any."""
    pending = [pair for pair in units.alike if any(leaf.units.used for leaf in leaves(pair[0]))]
    if not pending:
        return False
    units.alike.clear()
    for any_, piece in pending:
        unify((any_,), (piece,))
    return True


def choose(axes: Sequence[Axis], place: int, index: int) -> tuple[Axis, ...]:
    """The axes of one slice along the axis at a place.

    Where that axis numbers unlike things (the 3 of a packed query, key and value), each slice gets units of its own.
    """
    rest = (*axes[:place], *axes[place + 1 :])
    factors = expand(axes[place])
    if len(factors) == 1 and _numbers(factors[0].units):
        each = _by_leaf(factors[0].units.each[index])
        return tuple(tuple(_chosen(factor, each) for factor in expand(axis)) for axis in rest)
    one = factors[0] if len(factors) == 1 else None
    if one is not None and one.units.contracted and not one.units.fixed:  # the other neurons stay free
        sizes = [size for size in (index, 1, one.units.size - index - 1) if size]
        pieces = split_sum(one, sizes)
        factors = factors if pieces is None else (pieces[1 if index else 0],)
    fix(factors)
    return rest


def _by_leaf(each: dict[Units, Factor]) -> dict[Units, Factor]:
    """What units that number unlike things stand for, divided as they have been divided since."""
    found: dict[Units, Factor] = {}
    for units, thing in each.items():
        sizes = [leaf.units.size for leaf in expand((Factor(units),))]
        axes = regroup([(thing,)], sizes)
        if axes is None or any(len(axis) != 1 for axis in axes):
            fix((Factor(units), thing))
        else:
            found |= {leaf.units: own for leaf, (own,) in zip(expand((Factor(units),)), axes, strict=True)}
    return found


def _chosen(factor: Factor, each: dict[Units, Factor]) -> Factor:
    if factor.units not in each:
        return factor
    mine = each[factor.units]
    flipped = any(exponent < 0 for _, exponent in factor.charge)
    return Factor(mine.units, dual(mine.charge) if flipped else mine.charge)


def _numbers(units: Units) -> bool:
    """Whether the units number unlike things; the first time that is asked, the things are made."""
    if units.each:
        return True
    if units.above is None or units.used or units.fixed or units.parts is not None:
        return False
    whole, place = units.above
    root = whole.units.root
    if root.parts is None or root.parts[0] != "product" or len(whole.charge) != 1 or whole.charge[0][0].equal:
        return False
    behind = parts(whole)[place + 1 :]
    siblings = expand(behind)
    if not siblings or any(s.units.used or s.units.same or s.units.fixed for s in (*behind, *siblings)):
        return False
    if any(s.units.parts for s in siblings):
        return False
    (gauge, _), kept = whole.charge[0], root.parts[1][:place]
    sizes = [s.units.size for s in siblings]
    root.parts = None if place == 0 else ("product", [*kept, Units(units.size * math.prod(sizes))])
    old, gauge.parts = gauge.parts or [], None
    stack = whole
    if place:
        gauge.parts = [*old[:place], ((gauge.like(), 1),)]
        stack = parts(whole)[-1]
    split(stack, "sum", [math.prod(sizes)] * units.size)
    for i, thing in enumerate(parts(stack)):
        if len(sizes) > 1:
            split(thing, "product", sizes)
        units.each[i] = {s.units: own for s, own in zip(siblings, expand((thing,)), strict=True)}
    return True
