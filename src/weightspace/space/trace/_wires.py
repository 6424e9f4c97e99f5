"""What is known of the axes of a tensor while a network is traced: which units they run over, and how these transform.

An axis is a row-major product of factors. A factor is a set of units with a charge: the units are permuted alike
wherever they occur, the charge says by which gauge (scales, signs, or a whole matrix) their values are multiplied.
Operations merge units and gauges, split them, and restrict them; what is left at the end is the symmetry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = [
    "Axis",
    "Charge",
    "Factor",
    "Gauge",
    "Units",
    "axis_size",
    "drop",
    "expand",
    "fix",
    "fresh",
    "resolve",
]

Charge = tuple[tuple["Gauge", int], ...]
"""A product of gauges with exponents: the values are multiplied by g for 1, by g^-T for -1, not at all if empty."""


@dataclass(eq=False)
class Gauge:
    """How the values of some units may be multiplied: by signs, by positive numbers, or by any invertible matrix.

    Attributes:
        linear: whether a general matrix still commutes with all operations.
        positive: whether positive scales do.
        sign: whether signs do.
        new: whether nothing but its own parameter has this gauge yet.
        equal: the charge to which this gauge has been found equal.
        parts: the charges of the parts of its units, once these are split.
    """

    linear: bool = True
    positive: bool = True
    sign: bool = True
    new: bool = False
    equal: Charge | None = None
    parts: list[Charge] | None = None

    @property
    def alive(self) -> bool:
        """Whether anything is left but the identity."""
        return self.linear or self.positive or self.sign

    def like(self) -> Gauge:
        """Another gauge, with what is left of this one."""
        return Gauge(self.linear, self.positive, self.sign, self.new)

    def restrict(self, *, linear: bool = False, positive: bool = False, sign: bool = False) -> None:
        """Leaves only what is true; parts that exist already are restricted too."""
        self.linear, self.positive, self.sign = self.linear and linear, self.positive and positive, self.sign and sign
        for part in self.parts or []:
            for gauge, _ in resolve(part):
                gauge.restrict(linear=linear, positive=positive, sign=sign)


@dataclass(eq=False)
class Units:
    """A set of units that are permuted alike.

    Attributes:
        size: how many.
        fixed: whether they must stay where they are.
        used: whether any operation has seen them.
        contracted: whether a weight sums over them or makes them: neurons, not positions or kernel taps.
        role: "input" for units of an input of the network, "output" for those of an output.
        order: the first operation in which they occur.
        same: the units with which these have been identified.
        parts: the kind of their parts and these, once they are split.
        each: for the factor of a product that numbers unlike things (query, key, value): for each of its indices what
            the factors after it have become.
        alike: for a factor that numbers the parts of a sum: the factor after it, which stands for any of these parts,
            beside each of them. They are identified if it is used as it is.
        above: the product of which these are a factor, and the place in it.
    """

    size: int
    fixed: bool = False
    used: bool = False
    contracted: bool = False
    role: Literal["", "input", "output"] = ""
    order: float = math.inf
    same: Units | None = None
    parts: tuple[Literal["product", "sum"], list[Units]] | None = None
    each: dict[int, dict[Units, Factor]] = field(default_factory=dict)
    alike: list[tuple[Factor, Factor]] = field(default_factory=list)
    above: tuple[Factor, int] | None = None

    @property
    def root(self) -> Units:
        """The units that stand for all that have been identified."""
        units = self
        while units.same is not None:
            units = units.same
        return units


class Factor(NamedTuple):
    """Units, and how their values are multiplied."""

    units: Units
    charge: Charge = ()


Axis = tuple[Factor, ...]
"""The factors of one axis of a tensor, the slowest first."""


def fresh(size: int, *, charged: bool = True, fixed: bool = False, new: bool = False) -> Factor:
    """New units; with a gauge of their own, or none."""
    free = not fixed
    gauge = Gauge(linear=free, positive=free, sign=free, new=new)
    return Factor(Units(size, fixed=fixed), ((gauge, 1),) if charged else ())


def resolve(charge: Charge) -> Charge:
    """The charge in terms of gauges that are not equal to something else."""
    total: dict[Gauge, int] = {}
    for gauge, exponent in charge:
        terms = ((gauge, 1),) if gauge.equal is None else resolve(gauge.equal)
        for inner, power in terms:
            total[inner] = total.get(inner, 0) + exponent * power
    return tuple((gauge, exponent) for gauge, exponent in total.items() if exponent)


def dual(charge: Charge) -> Charge:
    """The charge with g^-T in the place of g."""
    return tuple((gauge, -exponent) for gauge, exponent in charge)


def restrict(factors: Iterable[Factor], *, linear: bool = False, positive: bool = False, sign: bool = False) -> None:
    """Leaves of the gauges of some factors only what is true; permutations stay."""
    for factor in factors:
        for part in leaves(factor):
            part.units.used = True
            for gauge, _ in resolve(part.charge):
                gauge.new = False
                gauge.restrict(linear=linear, positive=positive, sign=sign)


def split(factor: Factor, kind: Literal["product", "sum"], sizes: Sequence[int]) -> None:
    """Splits units that are whole so far into parts of their own."""
    root = factor.units.root
    root.parts = (
        kind,
        [Units(size, fixed=root.fixed, contracted=root.contracted, role=root.role, order=root.order) for size in sizes],
    )
    if kind == "product":
        for i, part in enumerate(root.parts[1]):
            part.above = (Factor(root, factor.charge), i)


def parts(factor: Factor) -> list[Factor]:
    """The parts of units that are split, each with its charge."""
    root = factor.units.root
    assert root.parts is not None
    charges: list[list[tuple[Gauge, int]]] = [[] for _ in root.parts[1]]
    for gauge, exponent in resolve(factor.charge):
        if gauge.parts is None:
            gauge.parts = [((gauge.like(), 1),) for _ in root.parts[1]]
        for own, part in zip(charges, gauge.parts, strict=True):
            own += [(inner, exponent * power) for inner, power in resolve(part)]
    return [Factor(part, tuple(own)) for part, own in zip(root.parts[1], charges, strict=True)]


def expand(axis: Sequence[Factor]) -> Axis:
    """The factors of an axis, products taken apart."""
    found: list[Factor] = []
    for factor in axis:
        root = factor.units.root
        if root.parts is not None and root.parts[0] == "product":
            found += expand(tuple(parts(factor)))
        else:
            found.append(Factor(root, resolve(factor.charge)))
    return tuple(found)


def leaves(factor: Factor) -> list[Factor]:
    """All parts that are whole, of products and of sums."""
    if factor.units.root.parts is None:
        return [Factor(factor.units.root, resolve(factor.charge))]
    return [leaf for part in parts(factor) for leaf in leaves(part)]


def axis_size(axis: Axis) -> int:
    """The length of an axis."""
    return math.prod(factor.units.size for factor in axis)


def fix(axis: Axis) -> None:
    """Leaves the units of an axis where they are."""
    for factor in axis:
        factor.units.root.used = True
        for leaf in leaves(factor):
            leaf.units.fixed = leaf.units.used = True
        restrict([factor])


def drop(axis: Axis) -> Axis:
    """The factors that are left when units of size one are no longer spoken of: nothing may multiply those."""
    single = [factor for factor in axis if factor.units.size == 1]
    restrict(single)
    return tuple(factor for factor in axis if factor.units.size > 1)
