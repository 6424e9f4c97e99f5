"""Identifying units and gauges that an operation forces to be the same, and regrouping the factors of axes."""

from __future__ import annotations

from collections.abc import Sequence

from ._sums import joined, product, split_sum
from ._wires import (
    Axis,
    Charge,
    Factor,
    Gauge,
    drop,
    dual,
    expand,
    fix,
    parts,
    resolve,
    restrict,
    split,
)

__all__ = ["equate", "neutral", "opposite", "times", "unify"]


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
