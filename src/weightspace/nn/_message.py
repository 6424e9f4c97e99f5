"""Engine 2: message passing on the graph of the input network, as dense complete bipartite blocks.

A message is a broadcast sum over a block ``[batch, out, in, channels]``: no edge index, no scatter.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._dropout import dropout
from ._graph import Graph, GraphState
from ._pool import add_rows_and_columns, fan_out

__all__ = ["MessagePassing"]


class _NormalizedSiLU(nn.Module):
    """LayerNorm, SiLU, dropout: what stands between the two linear maps of every message and update function."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return dropout(F.silu(self.norm(x)), self.dropout, self.training)


class MessagePassing(nn.Module):
    r"""One layer of message passing along, and against, the direction of the network.

    .. math::
        a_i = \sum_j m([e_{ij}; x_j]), \quad c_j = \sum_i m'([e_{ij}; x_i]), \quad
        x'_i = u([x_i; a_i; c_i]), \quad e'_{ij} = w([e_{ij}; x_j; x_i])

    Each of m, m', u, w is linear - LayerNorm - SiLU - linear. The first linear map of a message splits into an edge
    part and a node part, which is computed once per node; the second one commutes with the sum. So an edge costs one
    matrix product for each of m and m' and two for w.

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

    def __init__(
        self,
        graph: Graph,
        channels: int,
        out_channels: int | None = None,
        *,
        bidirectional: bool = True,
        edge_update: bool = True,
        skip: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = out_channels or channels
        self.graph, self.dropout = graph, dropout
        self.kinds = ["along", *(["against"] if bidirectional else []), *(["edge"] if edge_update else [])]
        self.of_edge = nn.ModuleDict({kind: nn.Linear(channels, channels, bias=False) for kind in self.kinds})
        self.of_source = nn.ModuleDict({k: nn.Linear(channels, channels) for k in self.kinds if k != "against"})
        self.of_target = nn.ModuleDict({k: nn.Linear(channels, channels) for k in self.kinds if k != "along"})
        self.between = nn.ModuleDict({kind: _NormalizedSiLU(channels, dropout) for kind in self.kinds})
        self.message = nn.ModuleDict({k: nn.Linear(channels, channels) for k in self.kinds if k != "edge"})
        self.update = nn.Sequential(
            nn.Linear((1 + len(self.message)) * channels, channels),
            _NormalizedSiLU(channels, dropout),
            nn.Linear(channels, out_channels),
        )
        self.edge_out = nn.Linear(channels, out_channels) if edge_update else None
        self.node_skip = nn.Linear(channels, out_channels, bias=False) if skip else None
        self.edge_skip = nn.Linear(channels, out_channels, bias=False) if skip and edge_update else None

    def forward(self, state: GraphState) -> GraphState:
        """Applies the layer."""
        nodes, edges = state
        source = {k: {g: m(x) for g, x in nodes.items()} for k, m in self.of_source.items()}
        target = {k: {g: m(x) for g, x in nodes.items()} for k, m in self.of_target.items()}
        sums: dict[str, dict[str, Tensor]] = {kind: {} for kind in self.message}
        weights = [cast(nn.Linear, m).weight for m in (*self.of_edge.values(), self.edge_skip) if m is not None]
        new_edges = []
        for (_, s, t, _), e in zip(self.graph.edges, edges, strict=True):
            parts = fan_out(e, *weights)
            h = dict(zip(self.kinds, parts, strict=False))
            for kind in self.kinds:
                by_target = target[kind][t] if kind in target else None
                by_source = source[kind][s] if kind in source else None
                h[kind] = self.between[kind](add_rows_and_columns(h[kind], by_target, by_source))
            _accumulate(sums["along"], t, self._sum("along", h["along"], axis=2))
            if "against" in h:
                _accumulate(sums["against"], s, self._sum("against", h["against"], axis=1))
            if self.edge_out is None:
                new_edges.append(e)
            else:
                new_edges.append(self._finish(self.edge_out(h["edge"]), parts[-1] if self.edge_skip else None))
        new_nodes = {group: self._node(group, x, sums) for group, x in nodes.items()}
        return GraphState(new_nodes, new_edges)

    def _sum(self, kind: str, h: Tensor, axis: int) -> Tensor:
        """Sum of the messages over one end of a block; the last linear map acts on the sum."""
        last = cast(nn.Linear, self.message[kind])
        return F.linear(h.sum(axis), last.weight, h.shape[axis] * last.bias)

    def _node(self, group: str, x: Tensor, sums: dict[str, dict[str, Tensor]]) -> Tensor:
        zeros = torch.zeros_like(x)
        new: Tensor = self.update(torch.cat([x, *(sums[kind].get(group, zeros) for kind in sums)], dim=-1))
        return self._finish(new, None if self.node_skip is None else self.node_skip(x))

    def _finish(self, new: Tensor, skip: Tensor | None) -> Tensor:
        new = dropout(new, self.dropout, self.training)
        return new if skip is None else skip.add_(new)


def _accumulate(sums: dict[str, Tensor], group: str, message: Tensor) -> None:
    sums[group] = sums[group] + message if group in sums else message
