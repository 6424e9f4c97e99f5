"""Pairs of neurons of the input network, in dense blocks: every node of one set with every node of another.

All pairs are a single block. Pairs that a weight joins are one block for each weight and direction, and one of every
node with itself. Nothing else tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ._graph import Graph, GraphState
from ._pool import add_rows_and_columns

__all__ = ["Attend", "PairState", "Pairs", "PairsFromGraph", "PairsToGraph"]

Attend = Literal["all", "edges"]


class Block(NamedTuple):
    """The pairs of each node i of ``target`` with all nodes j of ``source``, or (``own``) with itself alone.

    The features of (j, i) stand in block ``reverse``, transposed unless ``own``.
    """

    target: str
    source: str
    reverse: int
    own: bool = False

    def source_side(self, x: Float[Tensor, "batch n *channels"]) -> Float[Tensor, "batch i j *channels"]:
        """Features of j, to be broadcast over the pairs."""
        return x.unsqueeze(2 if self.own else 1)

    def add_ends(
        self,
        y: Float[Tensor, "batch i j channels"],
        target: Float[Tensor, "batch i channels"] | None = None,
        source: Float[Tensor, "batch j channels"] | None = None,
    ) -> Float[Tensor, "batch i j channels"]:
        """``y[i, j] + target[i] + source[j]``; overwrites y."""
        if self.own and source is not None:
            target, source = source if target is None else target + source, None
        return add_rows_and_columns(y, target, source)


class PairState(NamedTuple):
    """Features of all nodes, by set, and of all pairs, in the order of ``Pairs.blocks``."""

    nodes: dict[str, Float[Tensor, "batch n channels"]]
    pairs: list[Float[Tensor, "batch i j channels"]]


class Pairs:
    """Which pairs of neurons attend to each other.

    Attributes:
        graph: the graph of the input networks.
        blocks: the pairs. In mode "all" one block, on a single set of nodes named "all". In mode "edges" for each
            block of weights the pairs along it and against it, then each node with itself.

    Raises:
        ModelError: without weights between neurons; in mode "all" if several blocks of weights join the same neurons,
            since a pair has one feature.
    """

    def __init__(self, graph: Graph, attend: Attend = "all") -> None:
        if attend not in get_args(Attend):
            raise ModelError(f"attend: expected 'all' or 'edges', found {attend!r}")
        if not graph.blocks:
            raise ModelError("no two neurons can attend to each other: no parameter is a weight between two of them")
        self.graph, self.attend = graph, attend
        ends = [(block.source, block.target) for block in graph.blocks]
        if attend == "edges":
            self.blocks = [b for i, (s, t) in enumerate(ends) for b in (Block(t, s, 2 * i + 1), Block(s, t, 2 * i))]
            self.blocks += [Block(name, name, 2 * len(ends) + n, True) for n, name in enumerate(graph.sets)]
            return
        self.blocks = [Block("all", "all", 0)]
        if len(set(ends)) < len(ends):
            raise ModelError("several weights join the same two neuron groups; use attend='edges'")
        self._span, start = {}, 0
        for name, node_set in graph.sets.items():
            self._span[name] = slice(start, start + node_set.size)
            start += node_set.size

    def join(self, nodes: dict[str, Tensor], along: list[Tensor], against: list[Tensor]) -> PairState:
        """Nodes by set and features by block, from nodes by neuron group and features along and against each weight.

        Pairs that no weight joins get zeros.
        """
        along, against = (
            [block.spread(e) for block, e in zip(self.graph.blocks, edges, strict=True)] for edges in (along, against)
        )
        size = len(along[0]), along[0].shape[-1]
        if self.attend == "edges":
            own = [along[0].new_zeros(size[0], x.shape[1], 1, size[1]) for x in nodes.values()]
            both = [e for pair in zip(along, against, strict=True) for e in (pair[0], pair[1].transpose(1, 2))]
            return PairState(nodes, both + own)
        x = torch.cat([nodes[name] for name in self.graph.sets], dim=1)
        e = along[0].new_zeros(size[0], x.shape[1], x.shape[1], size[1])
        for block, forward, backward in zip(self.graph.blocks, along, against, strict=True):
            i, j = self._span[block.target], self._span[block.source]
            e[:, i, j] = e[:, i, j] + forward
            e[:, j, i] = e[:, j, i] + backward.transpose(1, 2)
        return PairState({"all": x}, [e])

    def part(self, state: PairState) -> GraphState:
        """Nodes by neuron group and features along each weight."""
        if self.attend == "edges":
            return GraphState(self.graph, state.nodes, self._edges(state.pairs[: 2 * len(self.graph.blocks) : 2]))
        x, e = state.nodes["all"], state.pairs[0]
        nodes = {name: x[:, span] for name, span in self._span.items()}
        edges = [e[:, self._span[block.target], self._span[block.source]] for block in self.graph.blocks]
        return GraphState(self.graph, nodes, self._edges(edges))

    def _edges(self, pairs: Sequence[Tensor]) -> list[Tensor]:
        return [block.gather(e) for block, e in zip(self.graph.blocks, pairs, strict=True)]


class PairsFromGraph(nn.Module):
    """Features of pairs from features of weights, one linear map for each direction.

    Published as one map of [e_ij, e_ji, e_ij + e_ji], zeros where there is no weight. A feed-forward network has a
    weight in one direction at most, so the map is just that; the sum adds nothing to it.

    Args:
        pairs: which pairs there are.
        channels: channels of the weights.
        pair_channels: channels of the pairs.
    """

    def __init__(self, pairs: Pairs, channels: int, pair_channels: int) -> None:
        super().__init__()
        self.pairs = pairs
        self.along = nn.Linear(channels, pair_channels, bias=False)
        self.against = nn.Linear(channels, pair_channels, bias=False)

    def forward(self, state: GraphState) -> PairState:
        """Maps a graph to nodes by set and pairs by block."""
        along = [self.along(e) for e in state.edges]
        return self.pairs.join(state.nodes, along, [self.against(e) for e in state.edges])


class PairsToGraph(nn.Module):
    """The graph again: features of nodes as they are, those of pairs along each weight.

    Args:
        pairs: which pairs there are.
    """

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs

    def forward(self, state: PairState) -> GraphState:
        """Maps nodes by set and pairs by block to a graph."""
        return self.pairs.part(state)
