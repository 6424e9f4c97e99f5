"""What the axes of a parameter join: which of them number the targets of edges, which the sources, which neither."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..space import Parameter, WeightSpace, last_word

__all__ = ["Ends", "Factors", "links", "read_ends"]

Factors = tuple[str, ...]
"""The neuron groups of a set of nodes, of tied ones the first, in their order in the space."""

Pairs = set[frozenset[str]]
"""Neuron groups that stand together at one end of a parameter."""


class Ends(NamedTuple):
    """The sets of nodes that a parameter joins.

    Attributes:
        target: the set at the end of its edges, or the set whose nodes it is a feature of.
        source: the set at their beginning; None for a feature of nodes.
        shared: factors of both sets on which the parameter is diagonal.
        axes: its axes: shared ones, those of the target, those of the source, plain ones.
        lead: how many of these are not plain.
        kind: the last word of its name, and its number of plain axes.
    """

    target: Factors
    source: Factors | None
    shared: Factors
    axes: tuple[int, ...]
    lead: int
    kind: tuple[str, int]


class _Atom(NamedTuple):
    """Axes that stay together: one, or those of heads and of their coordinates."""

    axes: tuple[int, ...]
    side: str  # "out", "in", or "" for both or neither
    rank: int  # the latest of its neuron groups


def read_ends(space: WeightSpace) -> list[Ends]:
    """Splits the axes of each parameter into those of its ends.

    Edges go from "in" to "out". Where two ends have one side, or one of them both, they go from the neuron group that
    is computed earlier to the later one. Units that stand together at one end of a parameter (heads and coordinates)
    do so in the others; what stands together with units of both ends is shared by them.
    """
    fibred = {frozenset((g.name, space.group(g.over).units)) for g in space.groups if g.over is not None}
    together = set(fibred)
    for parameter in space.parameters:
        roots = _roots(space, parameter)
        if len(atoms := _atoms(space, parameter, roots, fibred)) > 2:
            ends = [[roots[i] for i in end] for end in _split(atoms)]
            together |= {frozenset(pair) for end in ends for pair in itertools.combinations(end, 2)}
    return [_read(space, parameter, together) for parameter in space.parameters]


def _roots(space: WeightSpace, parameter: Parameter) -> dict[int, str]:
    """For each axis that is not plain, the first of the neuron groups of its units."""
    return {i: space.group(axis.group).units for i, axis in enumerate(parameter.axes) if axis.group is not None}


def _read(space: WeightSpace, parameter: Parameter, together: Pairs) -> Ends:
    rank, roots = {group.name: i for i, group in enumerate(space.groups)}, _roots(space, parameter)

    def ordered(axes: Iterable[int]) -> list[int]:
        return sorted(axes, key=lambda i: rank[roots[i]])

    def factors(axes: Iterable[int]) -> Factors:
        return tuple(roots[i] for i in ordered(axes))

    shared = [i for i in roots if parameter.axes[i].diagonal is not None or _on_both_ends(i, roots, together)]
    free = {i: root for i, root in roots.items() if i not in shared}
    target, source = _split(_atoms(space, parameter, free, together))
    if not free or _joined(roots.values(), together) or not (shared or (target and source)):
        shared, target, source = [], list(roots), []
    plain = [i for i in range(len(parameter.axes)) if i not in roots]
    return Ends(
        factors([*shared, *target]),
        factors([*shared, *source]) if shared or source else None,
        factors(shared),
        (*ordered(shared), *ordered(target), *ordered(source), *plain),
        len(roots),
        (last_word(parameter.name), len(plain)),
    )


def _joined(roots: Iterable[str], together: Pairs) -> bool:
    """Whether units all stand together."""
    return all(frozenset(pair) in together for pair in itertools.combinations(roots, 2))


def _on_both_ends(axis: int, roots: Mapping[int, str], together: Pairs) -> bool:
    """Whether an axis stands together with two others that do not stand together."""
    own = roots[axis]
    others = {root for root in roots.values() if root != own and _joined((own, root), together)}
    return not _joined(others, together) and list(roots.values()).count(own) == 1


def _atoms(space: WeightSpace, parameter: Parameter, roots: Mapping[int, str], together: Pairs) -> list[_Atom]:
    """The axes, each with the next after it that stands together with it elsewhere."""
    rank = {group.name: i for i, group in enumerate(space.groups)}
    sets: list[list[int]] = []
    for i, root in roots.items():
        known = [own for own in sets if _joined([*(roots[j] for j in own), root], together)]
        if known:
            known[-1].append(i)
        else:
            sets.append([i])
    atoms = []
    for own in sets:
        sides = {parameter.axes[i].side for i in own}
        side = sides.pop() if len(sides) == 1 else None
        atoms.append(_Atom(tuple(own), side or "", max(rank[str(parameter.axes[i].group)] for i in own)))
    return atoms


def _split(atoms: Sequence[_Atom]) -> tuple[list[int], list[int]]:
    """The axes of the targets and those of the sources."""
    into = [atom for atom in atoms if atom.side == "in"]
    if len(atoms) == 2 and {atom.side for atom in atoms} != {"out", "in"}:
        into = [min(atoms, key=lambda atom: (atom.rank, -atom.axes[0]))]
    return [i for a in atoms if a not in into for i in a.axes], [i for a in into for i in a.axes]


def links(space: WeightSpace, used: Iterable[Factors]) -> list[tuple[Factors, Factors]]:
    """Pairs of sets of which one is a factor of the other, or the node of the whole network, in both directions.

    Coordinates are joined with their head, and with a coordinate's number only if a parameter has it without heads.
    """
    used = set(used)
    pairs: list[tuple[Factors, Factors]] = []
    for product in sorted(factors for factors in used if len(factors) > 1):
        for name in dict.fromkeys(product):
            if (name,) in used or space.group(name).over not in product:
                pairs.append(((name,), product))
    if () in used:
        every = used | {part for part, _ in pairs}
        pairs += [((), factors) for factors in sorted(every) if factors]
    return [pair for part, whole in pairs for pair in ((part, whole), (whole, part))]
