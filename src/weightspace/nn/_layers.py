"""The layers of the published graph networks: configurations of message passing."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import nn

from ..space import SymmetryGroup, WeightSpace
from ._functions import EdgeUpdate, Message, NodeUpdate
from ._graph import Graph
from ._message import MessagePassing
from ._neighbourhood import LinearUpdate, NeighbourhoodMessage, NodeNorm
from ._scaled import ScaledEdgeUpdate, ScaledMessage, ScaledNodeUpdate, SignMap

__all__ = ["Receivers", "gmn_layer", "kinds", "ng_gnn_layer", "scaled_layer"]

Receivers = Literal["all", "hidden", "none"]


def kinds(space: WeightSpace, symmetry: SymmetryGroup) -> dict[str, str]:
    """How the group scales each neuron group."""
    return {group.name: str(symmetry.factor(group.name).scales) for group in space.groups}


def gmn_layer(
    graph: Graph,
    channels: int,
    out_channels: int | None = None,
    *,
    bidirectional: bool = True,
    edge_update: bool = True,
    skip: bool = True,
    dropout: float = 0.0,
) -> MessagePassing:
    """A layer of GMN: sums of messages, each function linear - LayerNorm - SiLU - linear.

    Source: Lim et al. (2024), arXiv 2312.04501; Kalogeropoulos et al. (2024), arXiv 2406.10685, with permutations.

    Args:
        graph: the graph of the input networks.
        channels: channels of nodes and edges.
        out_channels: channels of the result; ``channels`` if None.
        bidirectional: pass messages backwards too.
        edge_update: compute new edge features; otherwise the edges are returned as they are.
        skip: add a linear map of the old features to the new ones.
        dropout: probability.
    """
    out = out_channels or channels
    incoming = (2 if bidirectional else 1) * channels
    return MessagePassing(
        graph,
        along={"none": Message(channels, dropout)},
        against={"none": Message(channels, dropout)} if bidirectional else {},
        update={"none": NodeUpdate(channels, incoming, out, dropout=dropout, skip=skip)},
        edge={"none": EdgeUpdate(channels, out, dropout=dropout, skip=skip)} if edge_update else {},
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
        kinds: how each neuron group is scaled: "none", "signs" or "positive".
        channels: channels of nodes and edges.
        out_channels: channels of the result; ``channels`` if None.
        signs: what of features is invariant under signs: "absolute" values, or "symmetrized" functions.
        against: which groups receive messages against the direction: "all", all but the "input", or "none".
        reciprocal: which groups will receive messages through the edges' own features for that direction in the next
            layer, so that these are updated.
        edge_update: compute new edge features; otherwise the edges are returned as they are.
        skip: add a linear map of the old features to the new ones.
        dropout: probability.
    """
    end: dict[str, Any] = {"out_channels": out_channels or channels, "dropout": dropout, "skip": skip}
    ends = [(kinds[source], kinds[target]) for _, source, target, _ in graph.edges]
    scaled = [pair for pair in ends if pair != ("none", "none")]
    positive = [pair for pair in scaled if "positive" in pair]
    backward = _kinds_of(graph, kinds, against)
    incoming = (2 if backward else 1) * channels

    def edge(pairs: list[tuple[str, str]]) -> ScaledEdgeUpdate:
        sources, targets = zip(*pairs, strict=True)
        return ScaledEdgeUpdate(sources, targets, signs, channels, **end)

    edges: dict[str, nn.Module] = {"scaled": edge(scaled)} if scaled and edge_update else {}
    if len(scaled) < len(ends) and edge_update:
        edges["none"] = EdgeUpdate(channels, **end)
    return MessagePassing(
        graph,
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
            if (pairs := [pair for pair in positive if pair[0] == kind])
        },
        kinds=kinds,
    )


def _kinds_of(graph: Graph, kinds: dict[str, str], receivers: Receivers) -> list[str]:
    """The kinds of the groups that messages against the direction go to."""
    inputs = {group.name for group in graph.groups if group.kind == "input"}
    excluded = {"none": set(kinds), "hidden": inputs, "all": set()}[receivers]
    return sorted({kinds[source] for _, source, _, _ in graph.edges if source not in excluded})


def ng_gnn_layer(
    graph: Graph,
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
        graph: the graph of the input networks.
        channels: channels of nodes and edges.
        bidirectional: pass messages backwards too.
        last: leave out what follows the linear map of the nodes, and the edge update.
        dropout: probability, for the nodes.
        across_batch: see `NodeNorm`.
    """

    def message(receivers: list[str], senders: list[str]) -> dict[str, nn.Module]:
        degree = dict.fromkeys(size, 0)
        for receiver, sender in zip(receivers, senders, strict=True):
            degree[receiver] += size[sender]
        mean = sum(size[g] * math.log(d + 1) for g, d in degree.items()) / sum(size.values())
        return {"none": NeighbourhoodMessage(channels, mean)}

    size = {group.name: group.size for group in graph.groups}
    sources, targets = [source for _, source, _, _ in graph.edges], [target for _, _, target, _ in graph.edges]
    along = message(targets, sources)
    against = message(sources, targets) if bidirectional else {}
    return MessagePassing(
        graph,
        along=along,
        against=against,
        update={"none": LinearUpdate(channels, 8 * channels * (len(along) + len(against)))},
        edge={} if last else {"none": EdgeUpdate(channels, channels, dropout=0.0, skip=False, norm=False)},
        finish=None if last else NodeNorm(channels, dropout, across_batch=across_batch),
        late_edges=True,
    )
