"""Engine 2: message passing on the graph of the input network, as dense complete bipartite blocks.

A message is a broadcast sum over a block ``[batch, out, in, channels]``: no edge index, no scatter. One layer,
`MessagePassing`, keeps the books of blocks and directions; what a message, an update of nodes and an update of edges
are is plugged in.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import Literal, cast

from torch import Tensor, nn

from ._functions import EdgeUpdate, Message, Nodes
from ._graph import Graph, GraphState
from ._pool import fan_out

__all__ = ["MessagePassing"]


class MessagePassing(nn.Module):
    r"""One layer of message passing along, and against, the direction of the network.

    .. math::
        a_i = \mathrm{agg}_j\, m(e_{ij}, x_j, x_i), \quad c_j = \mathrm{agg}_i\, m'(e_{ij}, x_i, x_j), \quad
        x'_i = u([x_i; a_i; c_i]), \quad e'_{ij} = w(e_{ij}, x_j, x_i)

    The first thing that every function does with the edges is a linear map (its ``weights``); those of all functions
    are applied in one pass. A message function then takes a block's mapped edges and the nodes at both ends, and says
    what arrives (``forward``), and how several blocks into one group are combined (``collect``).

    Args:
        graph: the graph of the input networks.
        along: message functions, one for each kind of a receiving group.
        against: the same for messages against the direction; a group whose kind is missing receives none.
        update: node functions, one for each kind.
        edge: edge functions for "none", blocks none of whose ends is scaled, and "scaled", the others; the edges are
            returned as they are if empty.
        reciprocal: edge functions for the features that edges have of their own for messages against the direction, one
            for each kind of a group that will receive such messages.
        kinds: the kind of each neuron group; "none" for all by default.
        finish: a map of all new nodes together.
        late_edges: whether the edge functions see the new nodes instead of the old ones.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        along: Mapping[str, nn.Module],
        against: Mapping[str, nn.Module],
        update: Mapping[str, nn.Module],
        edge: Mapping[str, nn.Module],
        reciprocal: Mapping[str, nn.Module] | None = None,
        kinds: Mapping[str, str] | None = None,
        finish: nn.Module | None = None,
        late_edges: bool = False,
    ) -> None:
        super().__init__()
        self.graph, self.late_edges = graph, late_edges
        self.kinds = dict(kinds) if kinds is not None else {group.name: "none" for group in graph.groups}
        self.along, self.against = nn.ModuleDict(along), nn.ModuleDict(against)
        self.update, self.edge = nn.ModuleDict(update), nn.ModuleDict(edge)
        self.reciprocal, self.finish = nn.ModuleDict(reciprocal or {}), finish

    def forward(self, state: GraphState) -> GraphState:
        """Applies the layer."""
        nodes = {group: Nodes(x, self.kinds[group]) for group, x in state.nodes.items()}
        inbox: dict[str, dict[str, list[Tensor]]] = {group: {"along": [], "against": []} for group in nodes}
        mapped = []
        for n, (_, s, t, _) in enumerate(self.graph.edges):
            block = self._map(n, state)
            inbox[t]["along"].append(self.along[nodes[t].kind](block.pop("along"), nodes[t], nodes[s], axis=2))
            if "against" in block:
                message = self.against[nodes[s].kind](block.pop("against"), nodes[t], nodes[s], axis=1)
                inbox[s]["against"].append(message)
            mapped.append(block)
        new = {group: self._update(x, inbox[group]) for group, x in nodes.items()}
        if self.finish is not None:
            new = self.finish(new)
        if self.late_edges:
            nodes = {group: Nodes(x, self.kinds[group]) for group, x in new.items()}
        edges = list(state.edges)
        against = list(state.against)
        for n, (_, s, t, _) in enumerate(self.graph.edges):
            if self.edge:
                edges[n] = self._edge(s, t)(mapped[n]["edge"], nodes[t], nodes[s])
            if "reciprocal" in mapped[n]:
                against[n] = self.reciprocal[nodes[s].kind](mapped[n]["reciprocal"], nodes[t], nodes[s])
        return GraphState(new, edges, against)

    def _edge(self, source: str, target: str) -> nn.Module:
        return self.edge["none" if self.kinds[source] == self.kinds[target] == "none" else "scaled"]

    def _map(self, n: int, state: GraphState) -> dict[str, list[Tensor]]:
        """The linear maps of the edges of one block for each of the functions."""
        _, s, t, _ = self.graph.edges[n]
        functions = {"along": self.along[self.kinds[t]]}
        if self.edge:
            functions["edge"] = self._edge(s, t)
        backward = {"against": self.against[self.kinds[s]]} if self.kinds[s] in self.against else {}
        own = state.against[n] if state.against else None
        if own is None or not backward:
            return _fan_out(state.edges[n], functions | backward)
        if self.kinds[s] in self.reciprocal:
            backward["reciprocal"] = self.reciprocal[self.kinds[s]]
        return _fan_out(state.edges[n], functions) | _fan_out(own, backward)

    def _update(self, nodes: Nodes, inbox: dict[str, list[Tensor]]) -> Tensor:
        incoming = [self._collect(self.along, nodes, inbox["along"], 2)]
        if self.against:
            incoming.append(self._collect(self.against, nodes, inbox["against"], 1))
        new: Tensor = self.update[nodes.kind](nodes.x, incoming)
        return new

    def _collect(self, functions: nn.ModuleDict, nodes: Nodes, parts: list[Tensor], axis: Literal[1, 2]) -> Tensor:
        if parts:
            return cast(Message, functions[nodes.kind]).collect(parts, axis)
        width = cast(Message, next(iter(functions.values()))).width
        return nodes.x.new_zeros(*nodes.x.shape[:-1], width)


def _fan_out(edges: Tensor, functions: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    weights = {name: cast(Message | EdgeUpdate, function).weights() for name, function in functions.items()}
    parts = iter(fan_out(edges, *chain.from_iterable(weights.values())))
    return {name: list(islice(parts, len(own))) for name, own in weights.items()}
