"""Where the nodes and edges of a graph are among the parameters, and equivariant layers that treat them as such."""

from __future__ import annotations

import math

from torch import Tensor

from .._errors import TheoryError
from ..nn import EquivariantLinear, graph_of
from ..space import WeightSpace
from ._simulation import check_neurons, write

__all__ = ["Homes"]


class Homes:
    """Which parameters the nodes and edges of a graph are channels of.

    A set of nodes is that of the vector that it has; the input nodes, without one, are on the first weights that leave
    them. Edges come first in the channels, then nodes.

    Args:
        space: weight space of the networks.

    Attributes:
        space: the space.
        node: the parameter of each set of nodes.
        edge: for each block of edges its parameter, the set at its end and that at its beginning.

    Raises:
        TheoryError: for networks that are no feed-forward layers of neurons, each with a bias.
    """

    def __init__(self, space: WeightSpace) -> None:
        check_neurons(space, "gmn_to_dws")
        graph, self.space = graph_of(space), space
        single = all(len(block.members) == 1 for block in graph.blocks)
        if not single or any(len(own) != (graph.sets[name].kind != "input") for name, own in graph.nodes.items()):
            raise TheoryError("expected one matrix between two neuron groups, and one bias for each but the input")
        names = [parameter.name for parameter in space.parameters]
        self.edge = [(names[b.members[0].parameter], b.target, b.source) for b in graph.blocks]
        self.node = {source: name for name, _, source in reversed(self.edge)}
        self.node |= {name: names[own[0].parameter] for name, own in graph.nodes.items() if own}

    def groups(self, name: str) -> tuple[str, ...]:
        """The neuron groups of a parameter."""
        return self.space.parameters[self.space.position(name)].groups

    def senders(self, name: str, *, along: bool) -> int:
        """The number of nodes from which one of a set receives messages."""
        ends = ((target, source) if along else (source, target) for _, target, source in self.edge)
        return sum(self.space.group(sender).size for receiver, sender in ends if receiver == name)

    def broadcast(self, layer: EquivariantLinear, weight: str, node_set: str, m: Tensor, rows: int, start: int) -> None:
        """Adds a map of what the nodes know, from channel ``start``, to all weights that they are an end of."""
        home = self.node[node_set]
        copies = math.prod(self.space.group(other).size for other in self.groups(home) if other != node_set)
        write(layer, weight, home, [node_set], m / copies, rows=rows, columns=start)

    def each(self, layer: EquivariantLinear, name: str, m: Tensor, rows: int, start: int) -> None:
        """Adds a map of every entry of a parameter alone."""
        write(layer, name, name, self.groups(name), m, rows=rows, columns=start)
