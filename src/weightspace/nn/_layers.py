"""The layers of the published graph networks: configurations of message passing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from ._functions import EdgeUpdate, Message, NodeUpdate
from ._graph import Graph
from ._message import MessagePassing
from ._neighbourhood import LinearUpdate, NeighbourhoodMessage, NodeNorm
from ._pool import Reduction
from ._scaled import ScaledEdgeUpdate, ScaledMessage, ScaledNodeUpdate, SignMap

__all__ = ["Receivers", "gmn_layer", "ng_gnn_layer", "scaled_layer"]

Receivers = Literal["all", "hidden", "none"]


def gmn_layer(
    channels: int,
    out_channels: int | None = None,
    *,
    reduction: Reduction = "sum",
    bidirectional: bool = True,
    edge_update: bool = True,
    skip: bool = True,
    dropout: float = 0.0,
    relu: bool = False,
) -> MessagePassing:
    """A layer of GMN: sums of messages, each function linear - LayerNorm - SiLU - linear.

    Source: Lim et al. (2024), arXiv 2312.04501; Kalogeropoulos et al. (2024), arXiv 2406.10685, with permutations.

    Args:
        channels: channels of nodes and edges.
        out_channels: channels of the result; ``channels`` if None.
        reduction: of messages; see `Message`.
        bidirectional: pass messages backwards too.
        edge_update: compute new edge features; otherwise the edges are returned as they are.
        skip: add a linear map of the old features to the new ones.
        dropout: probability.
        relu: ReLU in the place of LayerNorm and SiLU, as in proofs of what such networks can compute.
    """
    out = out_channels or channels
    incoming = (2 if bidirectional else 1) * channels
    end: dict[str, Any] = {"dropout": dropout, "skip": skip, "relu": relu}
    return MessagePassing(
        along={"none": Message(channels, dropout, reduction, relu=relu)},
        against={"none": Message(channels, dropout, reduction, relu=relu)} if bidirectional else {},
        update={"none": NodeUpdate(channels, incoming, out, **end)},
        edge={"none": EdgeUpdate(channels, out, **end)} if edge_update else {},
    )


def scaled_layer(
    graph: Graph,
    kinds: dict[str, str],
    channels: int,
    out_channels: int | None = None,
    *,
    signs: SignMap = "absolute",
    against: Receivers = "none",
    reciprocal: Receivers = "none",
    edge_update: bool = True,
    skip: bool = True,
    dropout: float = 0.0,
) -> MessagePassing:
    """A layer of ScaleGMN: the functions of scaled neurons and edges commute with their scales, the others are GMN's.

    Source: Kalogeropoulos et al. (2024), arXiv 2406.10685, section 5.

    Args:
        graph: the graph of the input networks.
        kinds: how each set of nodes is scaled: "none", "signs", "positive" or "nonzero".
        channels: channels of nodes and edges.
        out_channels: channels of the result; ``channels`` if None.
        signs: what of features is invariant under signs: "absolute" values, or "symmetrized" functions.
        against: which sets receive messages against the direction: "all", all but the "input", or "none".
        reciprocal: which sets will receive messages through the edges' own features for that direction in the next
            layer, so that these are updated.
        edge_update: compute new edge features; otherwise the edges are returned as they are.
        skip: add a linear map of the old features to the new ones.
        dropout: probability.
    """
    end: dict[str, Any] = {"out_channels": out_channels or channels, "dropout": dropout, "skip": skip}
    ends = [(kinds[block.source], kinds[block.target]) for block in graph.blocks]
    scaled = [pair for pair in ends if pair != ("none", "none")]
    inverted = [pair for pair in scaled if not {"positive", "nonzero"}.isdisjoint(pair)]
    backward = _kinds_of(graph, kinds, against)
    incoming = (2 if backward else 1) * channels

    def edge(pairs: list[tuple[str, str]]) -> ScaledEdgeUpdate:
        sources, targets = zip(*pairs, strict=True)
        return ScaledEdgeUpdate(sources, targets, signs, channels, **end)

    edges: dict[str, nn.Module] = {"scaled": edge(scaled)} if scaled and edge_update else {}
    if len(scaled) < len(ends) and edge_update:
        edges["none"] = EdgeUpdate(channels, **end)
    return MessagePassing(
        along={kind: ScaledMessage(kind, signs, channels, dropout) for kind in sorted({target for _, target in ends})},
        against={kind: ScaledMessage(kind, signs, channels, dropout) for kind in backward},
        update={
            kind: NodeUpdate(channels, incoming, **end)
            if kind == "none"
            else ScaledNodeUpdate(kind, signs, channels, incoming, **end)
            for kind in sorted(set(kinds.values()))
        },
        edge=edges,
        reciprocal={
            kind: edge(pairs)
            for kind in _kinds_of(graph, kinds, reciprocal)
            if (pairs := [pair for pair in inverted if pair[0] == kind])
        },
        kinds=kinds,
    )


def _kinds_of(graph: Graph, kinds: dict[str, str], receivers: Receivers) -> list[str]:
    """The kinds of the sets that messages against the direction go to."""
    inputs = {name for name, node_set in graph.sets.items() if node_set.kind == "input"}
    excluded = {"none": set(kinds), "hidden": inputs, "all": set()}[receivers]
    return sorted({kinds[block.source] for block in graph.blocks if block.source not in excluded})


def ng_gnn_layer(
    graphs: Sequence[Graph],
    channels: int,
    *,
    bidirectional: bool = True,
    last: bool = False,
    dropout: float = 0.0,
    across_batch: bool = False,
) -> MessagePassing:
    """A layer of NG-GNN: principal neighbourhood aggregation, then edges that see the new nodes.

    Source: Kofinas et al. (2024), arXiv 2403.12143, section 3.2.

    Args:
        graphs: the graphs of the input networks, for the mean logarithm of the degrees.
        channels: channels of nodes and edges.
        bidirectional: pass messages backwards too.
        last: leave out what follows the linear map of the nodes, and the edge update.
        dropout: probability, for the nodes.
        across_batch: see `NodeNorm`.
    """
    along = NeighbourhoodMessage(channels, _mean_log_degree(graphs, against=False))
    against = NeighbourhoodMessage(channels, _mean_log_degree(graphs, against=True)) if bidirectional else None
    return MessagePassing(
        along={"none": along},
        against={} if against is None else {"none": against},
        update={"none": LinearUpdate(channels, along.width * (2 if bidirectional else 1))},
        edge={} if last else {"none": EdgeUpdate(channels, channels, dropout=0.0, skip=False, norm=False)},
        finish=None if last else NodeNorm(channels, dropout, across_batch=across_batch),
        late_edges=True,
    )


def _mean_log_degree(graphs: Sequence[Graph], *, against: bool) -> float:
    """The mean of log(senders + 1) over all nodes of all graphs."""
    total = nodes = 0.0
    for graph in graphs:
        degree = dict.fromkeys(graph.sets, 0)
        for block in graph.blocks:
            degree[block.source if against else block.target] += block.rows if against else block.columns
        total += sum(graph.sets[name].size * math.log(d + 1) for name, d in degree.items())
        nodes += sum(node_set.size for node_set in graph.sets.values())
    return total / nodes
