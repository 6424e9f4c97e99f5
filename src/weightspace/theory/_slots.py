"""Where a graph network that simulates equivariant linear layers keeps what: types, slots and channels of nodes."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..nn import Graph, NodeSet, Term, graph_of
from ..space import WeightSpace

__all__ = ["Place", "Slot", "Slots"]


class Slot(NamedTuple):
    """A parameter, and its channels among those of all vectors, or of all weights.

    Attributes:
        target: the set of nodes whose vector it is, or at the end of its weights.
        source: the set at their beginning; None for a vector.
        kinds: number of its entries up to permutations.
        start: its first channel.
    """

    target: str
    source: str | None
    kinds: int
    start: int


class Place(NamedTuple):
    """Where an edge or a node finds what a term of a linear layer reads.

    Attributes:
        part: whose channels these are, those of the "edge" or of the node at its "target" or "source".
        start: the first channel.
        copies: by what the sum that is there must be divided.
    """

    part: str
    start: int
    copies: int = 1


class Slots:
    """Channels of the nodes of a chain of layers, in which the sums of weights of every kind have a place of their own.

    Nodes that the group permutes are of one type, each other node is of its own. A parameter has ``channels`` channels
    for each of its entries up to permutations. A node holds ``[own, into, out, net, codes]``: its vector where those of
    its type are, the sums of the weights that enter it and that leave it, what has arrived of the whole network, which
    are sums of vectors and of weights, and its type, one-hot, followed by as many zeros.

    Args:
        space: weight space of the networks: a chain of layers, one matrix from each to the next.
        channels: of the weight features that are read.

    Attributes:
        graph: the graph of the networks.
        types: number of types of nodes.
        codes: for each set of nodes the one-hot codes of its types.
        of: the slot of each parameter.
        starts: the first channel of each part of a node.
        vectors: number of channels for all vectors.
        width: number of channels of a node, codes excluded.
        walks: how often the sum over the nodes of set k has arrived at each node of set l after ``hops``, at [k, l].
        hops: sums over neighbours until everything has arrived everywhere.
    """

    def __init__(self, space: WeightSpace, channels: int) -> None:
        self.graph = graph_of(space)
        self.of: dict[str, Slot] = {}
        ends: dict[bool, int] = {True: 0, False: 0}
        for parameter in space.parameters:
            groups = parameter.groups
            kinds = math.prod(_types(self.graph.sets[name]) for name in groups)
            slot = Slot(groups[0], groups[1] if len(groups) > 1 else None, kinds, ends[len(groups) > 1])
            self.of[parameter.name] = slot
            ends[len(groups) > 1] += kinds * channels
        sizes = [_types(node_set) for node_set in self.graph.sets.values()]
        self.types = sum(sizes)
        ones = torch.eye(self.types, dtype=torch.float64).split(sizes)
        self.codes = dict(zip(self.graph.sets, ones, strict=True))
        self.vectors, weights = ends[False], ends[True]
        self.starts = {"own": 0, "into": self.vectors, "out": self.vectors + weights}
        self.starts["net"] = self.starts["out"] + weights
        self.width = self.starts["net"] + self.starts["out"]
        self.walks, self.hops = _walks(self.graph)
        self._place = {name: i for i, name in enumerate(self.graph.sets)}

    def find(self, term: Term) -> Place:
        """Where the term's output finds its input, pooled over what is not tied."""
        out, read = self.of[term.output], self.of[term.input]
        if len(term.tied) == 2:
            return Place("edge", 0)
        if not term.tied:
            start = self.starts["net"] + read.start + (0 if read.source is None else self.vectors)
            copies = self.walks[self._place[read.target], self._place[out.target]]
            return Place("target", start, int(copies))
        (group,) = term.tied
        part = "own" if read.source is None else "into" if group == read.target else "out"
        return Place("target" if group == out.target else "source", self.starts[part] + read.start)

    def others(self, name: str) -> Float[Tensor, "kinds codes"]:
        """For each kind of entry of a parameter, where the codes of nodes or edges of other kinds stand.

        An edge has the code of its target, then that of its source; a node has its own alone.
        """
        slot = self.of[name]
        target = 1 - self.codes[slot.target]
        if slot.source is None:
            return torch.cat([target, torch.zeros_like(target)], dim=1)
        source = 1 - self.codes[slot.source]
        pairs = itertools.product(target, source)
        return torch.stack([torch.cat(pair) for pair in pairs])


def _types(node_set: NodeSet) -> int:
    return node_set.size if node_set.fixed[0] else 1


def _walks(graph: Graph) -> tuple[Int[Tensor, "sets sets"], int]:
    """How often sums over sets have arrived at each set, with nodes that pass on what is theirs and what arrives."""
    place = {name: i for i, name in enumerate(graph.sets)}
    joined = torch.zeros(len(place), len(place), dtype=torch.int64)
    for block in graph.blocks:
        joined[place[block.source], place[block.target]] = joined[place[block.target], place[block.source]] = 1
    sizes = torch.tensor([node_set.size for node_set in graph.sets.values()])
    walks, hops = torch.zeros_like(joined), 0
    while (walks == 0).any():
        walks, hops = (torch.eye(len(place), dtype=torch.int64) + walks * sizes) @ joined, hops + 1
    return walks, hops
