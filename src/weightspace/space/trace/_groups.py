"""The neuron groups of a network, once all its operations have been seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...group import (
    GENERAL_LINEAR,
    MONOMIAL,
    PERMUTATION,
    POSITIVE_MONOMIAL,
    SIGNED_PERMUTATION,
    TRIVIAL,
    MatrixGroup,
    MonomialGroup,
)
from .._activation import Activation
from .._labels import Axis as SpaceAxis
from .._labels import NeuronGroup, Side
from ._op import Traced
from ._walk import Walk
from ._wires import Charge, Factor, Gauge, Units, expand, leaves, resolve

__all__ = ["Groups"]

_SCALES = {(False, False): PERMUTATION, (True, False): POSITIVE_MONOMIAL, (False, True): SIGNED_PERMUTATION}


@dataclass
class Groups:
    """Neuron groups by the units that they stand for, made when they are first asked for.

    Attributes:
        walk: what is known of the tensors.
    """

    walk: Walk
    _names: dict[tuple[Units, ...], str] = field(default_factory=dict)
    _heads: dict[Units, Units] = field(default_factory=dict)
    _own: dict[Units, list[Gauge]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._settle()
        self._find_heads()

    # ------------------------------------------------------------------------------------------------------- symmetry
    def _settle(self) -> None:
        """Restricts what no axis of a weight space can say: squares, three gauges at once, matrices beside scales."""
        for factor in self._all(self.walk.weights.values()):
            charge = resolve(factor.charge)
            for gauge, exponent in charge:
                if abs(exponent) != 1 or len([g for g, _ in charge if g.alive]) > 2:
                    gauge.restrict()
        together: dict[Units, list[Charge]] = {}
        for factor in self._all(self.walk.seen):
            if not factor.units.fixed:
                together.setdefault(factor.units, []).append(resolve(factor.charge))
        for charges in together.values():
            if len({frozenset(g for g, _ in charge) for charge in charges}) > 1 or any(len(c) != 1 for c in charges):
                for gauge in {g for charge in charges for g, _ in charge}:
                    gauge.linear = False
        for factor in self._all(self.walk.weights.values()):
            own = self._own.setdefault(factor.units, [])
            for gauge, _ in sorted(resolve(factor.charge), key=lambda term: -term[1]):
                if gauge not in own:
                    own.append(gauge)

    def _find_heads(self) -> None:
        """Units with a matrix of their own for each of other units, beside which they always occur: their heads."""
        beside: dict[Units, list[Units]] = {}
        twice: set[Units] = set()  # two of the same heads in one tensor: they are mixed, or it cannot be said which
        for traced in self.walk.seen:
            places = [place for i, axis in enumerate(traced.axes) for f in axis for place in _places(f.units, i)]
            for i, (one, mine) in enumerate(places):
                twice |= {u for u, theirs in places[:i] if u is one and _together(mine, theirs)}
                if one.contracted and self._linear(one):
                    others = [u for u, theirs in places if u is not one and _together(mine, theirs)]
                    beside[one] = [u for u in beside.get(one, others) if u in others]
        for one, others in beside.items():
            heads = [u for u in others if u.contracted and u.size > 1 and u not in twice and u not in self._heads]
            if heads and one not in twice and self._linear(one):
                self._heads[one] = heads[0]
                for gauge in self._own.get(heads[0], []):
                    gauge.restrict()

    def _linear(self, units: Units) -> bool:
        return not units.fixed and any(gauge.linear for gauge in self._own.get(units, []))

    def _all(self, tensors: Iterable[Traced]) -> Iterable[Factor]:
        return (
            leaf for traced in tensors for axis in traced.axes for factor in expand(axis) for leaf in leaves(factor)
        )

    # ----------------------------------------------------------------------------------------------------------- axes
    def axes(self, factors: list[Factor], name: str) -> list[SpaceAxis]:
        """The axes of a weight space for one axis of a tensor: neuron groups, and plain ones."""
        neurons = [f for f in factors if self._is_group(f.units)]
        size = 1
        for factor in factors:
            size *= factor.units.size
        if not neurons:
            if any(f.units.contracted for f in factors):
                units = tuple(f.units for f in factors)
                if units not in self._names:
                    roles = [u.role for u in units if u.role]
                    self._names[units] = self._unique(roles[0] if roles else name)
                return [SpaceAxis(size, self._names[units], self._side(factors[0]))]
            return [SpaceAxis(size)]
        found: list[SpaceAxis] = []
        for factor in factors:
            if factor in neurons:
                found.append(self._axis(factor, name if len(neurons) == 1 else f"{name}.{self._part(factor.units)}"))
            elif found and found[-1].group is None:
                found[-1] = SpaceAxis(found[-1].size * factor.units.size)
            elif factor.units.size > 1:
                found.append(SpaceAxis(factor.units.size))
        return found

    def _is_group(self, units: Units) -> bool:
        return units.contracted and (not units.fixed or units in self._heads.values())

    def _part(self, units: Units) -> str:
        return "heads" if units in self._heads.values() else "coordinates" if units in self._heads else "units"

    def _axis(self, factor: Factor, name: str) -> SpaceAxis:
        units = factor.units
        root = self._names.setdefault((units,), "") or self._unique(name)
        self._names[units,] = root
        if units.fixed:
            return SpaceAxis(units.size, root, self._side(factor))
        charge = sorted(resolve(factor.charge), key=lambda term: -term[1])
        sides: list[tuple[str, Side]] = [
            (self._named(units, g), "out" if e > 0 else "in") for g, e in charge if g.alive
        ]
        if not sides:  # never scaled: the side says only which way the network runs, if the units have no scales
            return SpaceAxis(units.size, root, None if self._own[units][0].alive else self._side(factor))
        return SpaceAxis(units.size, *sides[0], diagonal=sides[1] if len(sides) > 1 else None)

    def _side(self, factor: Factor) -> Side | None:
        """The side on which an axis is if nothing scales it."""
        exponents = sorted((exponent for _, exponent in resolve(factor.charge)), reverse=True)
        return None if not exponents else "out" if exponents[0] > 0 else "in"

    def _tied(self, units: Units) -> list[Gauge]:
        """The gauges of units but the first one, which has their own name."""
        return [gauge for gauge in self._own.get(units, [])[1:] if gauge.alive]

    def _named(self, units: Units, gauge: Gauge) -> str:
        """The name of the group with a gauge."""
        if gauge is self._own[units][0]:
            return self._names[units,]
        place = self._tied(units).index(gauge) + 1
        return f"{self._names[units,]}.scales{place if place > 1 else ''}"

    def _unique(self, name: str) -> str:
        unique, number = name, 1
        while unique in self._taken:
            number += 1
            unique = f"{name}.{number}"
        self._taken.add(unique)
        return unique

    # --------------------------------------------------------------------------------------------------------- groups
    def all(self) -> tuple[NeuronGroup, ...]:
        """The neuron groups in the order in which they are computed, inputs first and outputs last."""
        activations = {units.root: name for units, name in reversed(self.walk.activations)}
        found: list[tuple[tuple[int, float], NeuronGroup]] = []
        for units, name in self._names.items():
            roles = [u.role for u in units]
            kind = "input" if "input" in roles else "output" if "output" in roles else "hidden"
            place = {"input": 0, "hidden": 1, "output": 2}[kind], min(u.order for u in units)
            size = 1
            for u in units:
                size *= u.size
            fixed = any(u.fixed for u in units)
            if fixed and kind != "hidden":
                found.append((place, NeuronGroup(name, size, kind)))  # type: ignore[arg-type]
                continue
            activation = Activation(activations.get(units[0], "identity"))
            own = self._own.get(units[0], [])
            first = TRIVIAL if fixed else self._matrices(own[0]) if own else PERMUTATION
            heads = self._heads.get(units[0])
            over = None if heads is None or first != GENERAL_LINEAR else self._names[heads,]
            found.append((place, NeuronGroup(name, size, "hidden", activation, first, None, over)))
            for gauge in [] if fixed else self._tied(units[0]):
                scaled = self._matrices(gauge)
                scales = MonomialGroup(f"{scaled.name}_scales", permutes=False, scales=scaled.scales)  # type: ignore[arg-type]
                tied = NeuronGroup(self._named(units[0], gauge), size, "hidden", activation, scales, tied=name)
                found.append((place, tied))
        return tuple(group for _, group in sorted(found, key=lambda item: item[0]))

    def _matrices(self, gauge: Gauge) -> MatrixGroup:
        if gauge.linear:
            return GENERAL_LINEAR
        return _SCALES.get((gauge.positive, gauge.sign), MONOMIAL)


_Place = tuple[Units, dict[tuple[int, Units], int]]


def _places(units: Units, axis: int) -> list[_Place]:
    """The parts of units that are whole, each with the part that it is in of every sum around it."""
    root = units.root
    if root.parts is None:
        return [(root, {})]
    kind, inner = root.parts
    return [
        (leaf, around | {(axis, root): i} if kind == "sum" else around)
        for i, part in enumerate(inner)
        for leaf, around in _places(part, axis)
    ]


def _together(mine: dict[tuple[int, Units], int], theirs: dict[tuple[int, Units], int]) -> bool:
    """Whether some entry of a tensor has both parts: they are not in different parts of a sum."""
    return all(mine.get(sum_, part) == part for sum_, part in theirs.items())
