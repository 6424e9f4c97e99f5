"""Architectures that one network takes: what their sets of nodes and their parameters are to one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from .._errors import ModelError
from ..space import WeightSpace
from ._blocks import Kind, Member, NodeSet
from ._graph import Graph, graph_of

__all__ = ["Roles", "SpaceFamily", "family_of", "set_key"]

Roles = dict[str, tuple[int, ...]]
"""The sizes of the plain axes of parameters, by role."""


class SpaceFamily:
    """Architectures that one network takes: the given ones, and all others within their limits.

    The others have the same input and output units, and hidden neuron groups and parameters of the same roles: at most
    as many groups, one after another, and parameters whose plain axes (taps of a convolution) are at most as long.

    Args:
        spaces: weight spaces of the architectures.
        depth: how many hidden sets of nodes an architecture may have, if more than the given ones have.
        taps: how long a plain axis may be, if longer than those of the given ones.

    Attributes:
        spaces: the weight spaces.
        sets: for each set of nodes, by what it is to its architecture, the number of codes: for each of its factors one
            for every unit that stays where it is, 1 for all units that are permuted.
        nodes: for each role of a parameter on nodes, the sizes of its plain axes at most.
        edges: the same for the roles of weights.
        depth: the number of hidden sets at most.
        activations: names of the activations of hidden units.

    Raises:
        ModelError: if there is no space, or if their input or output units differ in number.
    """

    def __init__(self, spaces: Sequence[WeightSpace], *, depth: int | None = None, taps: int | None = None) -> None:
        if wrong := [type(space).__name__ for space in spaces if not isinstance(space, WeightSpace)]:
            raise ModelError(f"space: expected weight spaces, found {wrong[0]}")
        self.spaces = tuple(dict.fromkeys(spaces))
        if not self.spaces:
            raise ModelError("a family of architectures needs at least one weight space, found none")
        graphs = [graph_of(space) for space in self.spaces]
        self.sets: dict[str, tuple[int, ...]] = {}
        self.nodes: Roles = {}
        self.edges: Roles = {}
        for graph in graphs:
            for node_set in graph.sets.values():
                self._check_ends(node_set)
                _widen(self.sets, set_key(node_set), _code_sizes(node_set))
            for roles, member in _members(graph, self.nodes, self.edges):
                _widen(roles, member.role, tuple(max(n, taps or 0) for n in member.plain))
        found = max((1 + s.place for g in graphs for s in g.sets.values() if s.kind == "hidden"), default=0)
        self.depth = max(found, depth or 0)
        if len(self.spaces) > 1 or depth:  # any set of permuted units may come at any depth
            permuted = {n for key, n in self.sets.items() if key.startswith("hidden") and set(n) == {1}} | {(1,)}
            for place, sizes in itertools.product(range(self.depth), permuted):
                self.sets.setdefault(_key("hidden", place, (False,) * len(sizes)), sizes)
        pairs = [pair for s in self.spaces for pair in zip(s.groups, s.unit_activations, strict=True)]
        self.activations = tuple(sorted({name for group, name in pairs if group.kind == "hidden"}))
        for space in self.spaces:
            self.check(space)

    @property
    def single(self) -> bool:
        """Whether a node stands for one number at most, and an edge does, in all architectures."""
        one = len(self.nodes) <= 1 and len(self.edges) <= 1
        return one and all(math.prod(n) == 1 for roles in (self.nodes, self.edges) for n in roles.values())

    def _check_ends(self, node_set: NodeSet) -> None:
        known = self.sets.get(set_key(node_set), sizes := _code_sizes(node_set))
        if node_set.kind != "hidden" and known != sizes:
            raise ModelError(
                "all spaces of a family need the same inputs and outputs; the units of neuron group "
                f"{node_set.name!r} number {_number(known)} in one and {_number(sizes)} in another"
            )

    def check(self, space: WeightSpace) -> None:
        """Refuses an architecture that is beyond the limits; `GraphEncoder` looks up the activations.

        Raises:
            ModelError: names the neuron groups or the parameter, the limit and what was found.
        """
        graph = graph_of(space)
        for node_set in graph.sets.values():
            known, sizes = self.sets.get(set_key(node_set)), _code_sizes(node_set)
            if known is None and node_set.kind == "hidden" and node_set.place >= self.depth:
                raise ModelError(
                    f"this network takes architectures with at most {self.depth} hidden neuron groups, found "
                    f"{node_set.name!r} beyond; build it with SpaceFamily(spaces, depth=...)"
                )
            exact = node_set.kind != "hidden"
            if known is None or (
                sizes != known if exact else any(n > most for n, most in zip(sizes, known, strict=True))
            ):
                raise ModelError(
                    f"neuron group {node_set.name!r}: {node_set.kind}, units {node_set.sizes}; this network takes "
                    f"{'none such' if known is None else known}; build it with a space that has it"
                )
        for roles, member in _members(graph, self.nodes, self.edges):
            limit, name = roles.get(member.role), space.parameters[member.parameter].name
            if limit is None or any(n > most for n, most in zip(member.plain, limit, strict=True)):
                raise ModelError(
                    f"parameter {name!r}: {member.role} with plain axes {member.plain}; this network takes "
                    f"{'no such parameter' if limit is None else f'at most {limit}'}; build it with a space that has "
                    "it, or with SpaceFamily(spaces, taps=...)"
                )


def family_of(space: WeightSpace | SpaceFamily) -> SpaceFamily:
    """The family itself, or that of one space."""
    return space if isinstance(space, SpaceFamily) else SpaceFamily([space])


def set_key(node_set: NodeSet) -> str:
    """What a set of nodes is to its architecture: its kind and place, and which of its units stay where they are."""
    return _key(node_set.kind, node_set.place, node_set.fixed)


def _key(kind: Kind, place: int, fixed: tuple[bool, ...]) -> str:
    usual = (kind != "hidden",) * min(len(fixed), 1)
    pattern = "" if fixed == usual else "_" + "".join("pf"[stays] for stays in fixed)
    return f"{kind}{place}{pattern}"


def _code_sizes(node_set: NodeSet) -> tuple[int, ...]:
    return tuple(size if fixed else 1 for size, fixed in zip(node_set.sizes, node_set.fixed, strict=True))


def _number(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _members(graph: Graph, nodes: Roles, edges: Roles) -> list[tuple[Roles, Member]]:
    """All members of a graph, each with the roles that it belongs to."""
    found = [(nodes, member) for own in graph.nodes.values() for member in own]
    return found + [(edges, member) for block in graph.blocks for member in block.members]


def _widen(table: dict[str, tuple[int, ...]], key: str, sizes: tuple[int, ...]) -> None:
    table[key] = tuple(max(pair) for pair in zip(table.get(key, sizes), sizes, strict=True))
