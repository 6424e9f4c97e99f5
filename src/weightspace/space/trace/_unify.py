"""Identifying units and gauges that an operation forces to be the same, and regrouping the factors of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ._wires import (
    Axis,
    Charge,
    Factor,
    Gauge,
    Units,
    drop,
    dual,
    expand,
    fix,
    fresh,
    joined,
    leaves,
    parts,
    product,
    resolve,
    restrict,
    split,
    split_sum,
)

__all__ = ["choose", "equate", "neutral", "opposite", "regroup", "settle", "times", "unify"]


def unify(a: Axis, b: Axis, *, against: bool = False) -> None:
    """The two axes run over the same units, with the same charges; opposite ones if ``against``."""
    left, right = (_whole(expand(axis)) for axis in (a, b))
    while left and right:
        if left[0].units.size == right[0].units.size:
            _merge(left.pop(0), right.pop(0), against)
            continue
        big, small = (left, right) if left[0].units.size > right[0].units.size else (right, left)
        inner, remainder = divmod(big[0].units.size, small[0].units.size)
        if remainder or big[0].units.parts is not None:
            fix((*left, *right))
            return
        split(big[0], "product", [small[0].units.size, inner])
        big[:1] = parts(big[0])
    fix((*left, *right))  # a single unit beside an axis that has none


def _whole(factors: Sequence[Factor]) -> list[Factor]:
    """Without units of size one, unless that is all."""
    if all(f.units.size == 1 for f in factors):
        drop(tuple(factors[1:]))
        return list(factors[:1])
    return list(drop(tuple(factors)))


def _merge(x: Factor, y: Factor, against: bool) -> None:
    ux, uy = x.units.root, y.units.root
    charge = dual(y.charge) if against else y.charge
    if ux.parts is None and uy.parts is None:
        if ux is not uy:
            uy.same = ux
            ux.fixed, ux.contracted = ux.fixed or uy.fixed, ux.contracted or uy.contracted
            ux.role, ux.order = ux.role or uy.role, min(ux.order, uy.order)
        ux.used = True
        equate(x.charge, charge)
        return
    pieces = _pieces(x, y)
    if pieces is None:
        fix((x, y))
        return
    for one, other in pieces:
        unify((one,), (other,), against=against)


def _pieces(x: Factor, y: Factor) -> list[tuple[Factor, Factor]] | None:
    """Both factors cut where either of them is a sum; None if their parts do not allow it."""
    ends = sorted({end for factor in (x, y) for end in _ends(_sizes(factor))})
    cuts = [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    one, other = split_sum(x, cuts), split_sum(y, cuts)
    return None if one is None or other is None else list(zip(one, other, strict=True))


def _sizes(factor: Factor) -> list[int]:
    root = factor.units.root
    return [part.size for part in root.parts[1]] if root.parts is not None and root.parts[0] == "sum" else [root.size]


def _ends(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]


def equate(a: Charge, b: Charge) -> None:
    """The two charges are the same."""
    x, y = resolve(a), resolve(b)
    for gauge, _ in (*x, *y):
        if dict(x) == dict(y):
            gauge.new = False
    if dict(x) == dict(y):
        return
    if len(x) == len(y) == 1 and abs(x[0][1]) == abs(y[0][1]) == 1:
        (g, e), (h, f) = x[0], y[0]
        if g is h:  # the gauge is its own opposite
            g.restrict(sign=True)
        else:
            _let(h, ((g, e * f),))
    elif len(x) == 1 and x[0][0].new and y:
        _let(x[0][0], tuple((g, e * x[0][1]) for g, e in y))
    elif len(y) == 1 and y[0][0].new and x:
        _let(y[0][0], tuple((g, e * y[0][1]) for g, e in x))
    else:
        for gauge, _ in (*x, *y):
            gauge.restrict()


def _let(gauge: Gauge, charge: Charge) -> None:
    """Sets a gauge equal to a charge."""
    several = len(charge) > 1
    for other, _ in charge:
        other.new = False
        other.restrict(linear=gauge.linear and not several, positive=gauge.positive, sign=gauge.sign)
    own, gauge.parts, gauge.equal = gauge.parts, None, charge
    if own is None:
        return
    if several:
        for part in own:
            for inner, _ in resolve(part):
                inner.restrict()
        return
    other, exponent = charge[0]
    powers = [tuple((inner, power * exponent) for inner, power in part) for part in own]
    if other.parts is None:
        other.parts = powers
    else:
        for mine, theirs in zip(powers, other.parts, strict=True):
            equate(mine, theirs)


def times(a: Axis, b: Axis) -> Axis:
    """The axis of an entry-wise product: the same units, the product of the charges."""
    unify(neutral(a), neutral(b))
    left, right = _whole(expand(a)), _whole(expand(b))
    _no_matrices((*left, *right))
    if [f.units.size for f in left] != [f.units.size for f in right]:
        restrict((*left, *right))
        return neutral(tuple(left))
    return tuple(_times(x, y) for x, y in zip(left, right, strict=True))


def _times(x: Factor, y: Factor) -> Factor:
    """The product of two factors of the same units."""
    if x.units.parts is None and y.units.parts is None:
        return Factor(x.units, _product(x.charge, y.charge))
    pieces = _pieces(x, y)
    if pieces is None:
        restrict((x, y))
        return Factor(x.units)
    return joined("sum", [product(times((one,), (other,))) for one, other in pieces])


def _no_matrices(axis: Axis) -> None:
    """No general matrix commutes with an entry-wise product."""
    for factor in axis:
        for gauge, _ in resolve(factor.charge):
            gauge.restrict(positive=True, sign=True)


def neutral(axis: Axis) -> Axis:
    """The same units, not multiplied by anything."""
    return tuple(Factor(factor.units) for factor in expand(axis))


def opposite(axis: Axis) -> Axis:
    """The same units with inverse scales."""
    _no_matrices(expand(axis))
    return tuple(Factor(factor.units, dual(factor.charge)) for factor in expand(axis))


def _product(a: Charge, b: Charge) -> Charge:
    """The charge of a product."""
    x, y = (tuple((g, e) for g, e in resolve(c) if g.alive) for c in (a, b))
    for one, other in ((x, y), (y, x)):
        if len(one) == 1 and one[0][0].new:  # the gain of a norm: it leads to units with scales of their own
            gain, exponent = one[0]
            behind = Gauge(linear=False, positive=gain.positive, sign=gain.sign)
            gain.new = False
            gain.equal = ((behind, exponent), *((g, -e * exponent) for g, e in other))
            return ((behind, 1),)
    if not x or not y:
        return x or y or resolve(a)
    shared = {g for g, _ in x} & {g for g, _ in y}
    total = resolve((*x, *y))
    for gauge, exponent in total:
        if gauge in shared:  # a square, which is left alone by signs
            gauge.restrict(sign=exponent % 2 == 0)
    left = tuple((g, e) for g, e in total if g not in shared)
    for gauge, _ in left[2:]:  # an axis has room for two
        gauge.restrict()
    return left[:2]


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
