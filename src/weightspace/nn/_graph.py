"""The graph of the input network: neurons are nodes, weights are edges in complete bipartite blocks.

A weight matrix is one block ``[batch, target, source, channels]``: no edge index, no scatter. Residual and parallel
branches are several blocks into one set of nodes.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from ..space import WeightSpace
from ._blocks import Block, Kind, Member, NodeSet
from ._ends import Ends, Factors, links, read_ends

__all__ = ["Graph", "GraphState", "graph_of"]


class GraphState(NamedTuple):
    """Features of all nodes, by set, and of all edges, in the order of ``graph.blocks``.

    Attributes:
        graph: the graph of the networks.
        nodes: one tensor for each set of nodes.
        edges: one tensor for each block of edges.
        against: features of their own for messages against the direction of the network, for each block that has such
            and None for the others; empty if no block has.
        masks: for each set which nodes there are, where networks of different widths are padded to one; else empty.
    """

    graph: Graph
    nodes: dict[str, Float[Tensor, "batch n channels"]]
    edges: Sequence[Float[Tensor, "blocks rows columns channels"]]
    against: Sequence[Float[Tensor, "blocks rows columns channels"] | None] = ()
    masks: Mapping[str, Bool[Tensor, "batch n"]] = {}


class Graph:
    """Sets of nodes, blocks of edges between them, and which parameters are features of which.

    - Weights between two sets of units are edges. A block goes from the "in" to the "out" end of its weights; where
      these have one side (a key's coordinates), from the group that is computed earlier to the later one.
    - A parameter on one set is a feature of its nodes: biases, gains of norms, running statistics, position embeddings,
      depthwise convolutions. A parameter on none is one of the single node that stands for the whole network.
    - Groups of the same units are one set. Coordinates fibred over heads are the product of both, whose nodes are
      joined with that of their head by edges without weights. All nodes are joined so with that of the whole network,
      if there is one.

    Args:
        space: weight space of the networks.

    Attributes:
        space: the space.
        sets: the sets of nodes, by name, in the order in which they can be computed.
        nodes: for each set the parameters that are features of its nodes.
        blocks: the blocks of edges.
    """

    def __init__(self, space: WeightSpace) -> None:
        self.space = space
        ends = read_ends(space)
        joined = [end for each in ends for end in (each.source, each.target) if end is not None]
        pairs = links(space, joined)
        rank = {group.name: i for i, group in enumerate(space.groups)}
        used = {*joined, *(end for pair in pairs for end in pair)}
        self.sets: dict[str, NodeSet] = {}
        for factors in sorted(used, key=lambda f: (not f, [rank[name] for name in reversed(f)])):
            self.sets[_name(factors)] = self._node_set(factors)
        at: dict[tuple[Factors, Factors | None, Factors], list[int]] = {}
        for i, each in enumerate(ends):
            at.setdefault((each.target, each.source, each.shared), []).append(i)
        members = {key: _members(space, ends, positions) for key, positions in at.items()}
        self.nodes = {name: members.get((s.factors, None, ()), ()) for name, s in self.sets.items()}
        self.blocks = tuple(
            self._block(source, target, shared, own)
            for (target, source, shared), own in members.items()
            if source is not None
        )
        self.blocks += tuple(self._block(a, b, min(a, b, key=len), ()) for a, b in pairs)

    def _node_set(self, factors: Factors) -> NodeSet:
        groups = [self.space.group(name) for name in factors]
        kinds = {group.kind for group in groups}
        kind: Kind = kinds.pop() if len(kinds) == 1 else "hidden" if kinds else "whole"
        return NodeSet(
            name=_name(factors),
            factors=factors,
            sizes=tuple(group.size for group in groups),
            fixed=tuple(not group.symmetry.permutes for group in groups),
            kind=kind,
            place=sum(other.kind == kind for other in self.sets.values()),
        )

    def _block(self, source: Factors, target: Factors, shared: Factors, members: tuple[Member, ...]) -> Block:
        ends = self.sets[_name(source)], self.sets[_name(target)]
        diagonal = math.prod(self.space.group(name).size for name in shared)
        axes = [(end.sizes, tuple(end.factors.index(name) for name in shared)) if shared else None for end in ends]
        return Block(
            source=ends[0].name,
            target=ends[1].name,
            members=members,
            shared=diagonal,
            rows=ends[1].size // diagonal,
            columns=ends[0].size // diagonal,
            row_axes=axes[1],
            column_axes=axes[0],
        )


@functools.lru_cache(maxsize=512)
def graph_of(space: WeightSpace) -> Graph:
    """The graph of a space, made once."""
    return Graph(space)


def _name(factors: Factors) -> str:
    return "*".join(factors) or "*"


def _members(space: WeightSpace, ends: Sequence[Ends], positions: Sequence[int]) -> tuple[Member, ...]:
    """The parameters at some positions, on one set of nodes or one block; those of one kind are numbered."""
    seen: Counter[tuple[str, int]] = Counter()
    members = []
    for i in positions:
        own, shape = ends[i], space.parameters[i].shape
        word, rank = own.kind
        members.append(
            Member(
                parameter=i,
                role=f"{word}_{rank}_{seen[own.kind]}",
                shape=shape,
                order=(0, *(1 + axis for axis in own.axes), 1 + len(shape)),
                plain=tuple(shape[axis] for axis in own.axes[own.lead :]),
            )
        )
        seen[own.kind] += 1
    return tuple(members)
