"""Engine 2: message passing on the graph of the input network, as dense complete bipartite blocks.

A message is a broadcast sum over a block ``[batch, out, in, channels]``: no edge index, no scatter. One layer,
`MessagePassing`, keeps the books of blocks and directions; what a message, an update of nodes and an update of edges
are is plugged in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Literal, cast

from torch import Tensor, nn

from ._blocks import Block
from ._functions import EdgeUpdate, Message, Nodes, Received
from ._graph import GraphState
from ._pool import fan_out

__all__ = ["MessagePassing"]


class MessagePassing(nn.Module):
    r"""One layer of message passing along, and against, the direction of the network.

    .. math::
        a_i = \mathrm{agg}_j\, m(e_{ij}, x_j, x_i), \quad c_j = \mathrm{agg}_i\, m'(e_{ij}, x_i, x_j), \quad
        x'_i = u([x_i; a_i; c_i]), \quad e'_{ij} = w(e_{ij}, x_j, x_i)

    The first thing that every function does with the edges is a linear map (its ``weights``); those of all functions
    are applied in one pass. A message function then takes a block's mapped edges and the nodes at both ends, and says
    what arrives (``forward``), and how several blocks into one set are combined (``collect``).

    Args:
        along: message functions, one for each kind of a receiving set of nodes.
        against: the same for messages against the direction; a set whose kind is missing receives none.
        update: node functions, one for each kind.
        edge: edge functions for "none", blocks none of whose ends is scaled, and "scaled", the others; the edges are
            returned as they are if empty.
        reciprocal: edge functions for the features that edges have of their own for messages against the direction, one
            for each kind of a set that will receive such messages.
        kinds: the kind of each set of nodes; "none" where there is none.
        finish: a map of all new nodes together.
        late_edges: whether the edge functions see the new nodes instead of the old ones.
    """

    def __init__(
        self,
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
        self.kinds, self.late_edges = dict(kinds or {}), late_edges
        self.along, self.against = nn.ModuleDict(along), nn.ModuleDict(against)
        self.update, self.edge = nn.ModuleDict(update), nn.ModuleDict(edge)
        self.reciprocal, self.finish = nn.ModuleDict(reciprocal or {}), finish

    def forward(self, state: GraphState) -> GraphState:
        """Applies the layer."""
        blocks = state.graph.blocks
        nodes = self._nodes(state.nodes, state)
        inbox: dict[str, dict[str, list[Received]]] = {name: {"along": [], "against": []} for name in nodes}
        mapped = []
        for n, block in enumerate(blocks):
            own = self._map(n, state)
            rows, columns = _ends(block, nodes)
            message = self.along[rows.kind](own.pop("along"), rows, columns, axis=2)
            inbox[block.target]["along"].append(message.on(block, 2))
            if "against" in own:
                message = self.against[columns.kind](own.pop("against"), rows, columns, axis=1)
                inbox[block.source]["against"].append(message.on(block, 1))
            mapped.append(own)
        new = {name: self._update(x, inbox[name]) for name, x in nodes.items()}
        if self.finish is not None:
            new = self.finish(new)
        if self.late_edges:
            nodes = self._nodes(new, state)
        edges, against = list(state.edges), list(state.against)
        for n, block in enumerate(blocks):
            if self.edge or "reciprocal" in mapped[n]:
                rows, columns = _ends(block, nodes)
            if self.edge:
                edges[n] = self._edge(block)(mapped[n]["edge"], rows, columns)
            if "reciprocal" in mapped[n]:
                against[n] = self.reciprocal[columns.kind](mapped[n]["reciprocal"], rows, columns)
        return state._replace(nodes=new, edges=edges, against=against)

    def _kind(self, name: str) -> str:
        return self.kinds.get(name, "none")

    def _nodes(self, x: Mapping[str, Tensor], state: GraphState) -> dict[str, Nodes]:
        return {name: Nodes(own, self._kind(name), state.masks.get(name)) for name, own in x.items()}

    def _edge(self, block: Block) -> nn.Module:
        return self.edge["none" if self._kind(block.source) == self._kind(block.target) == "none" else "scaled"]

    def _map(self, n: int, state: GraphState) -> dict[str, list[Tensor]]:
        """The linear maps of the edges of one block for each of the functions."""
        block = state.graph.blocks[n]
        source = self._kind(block.source)
        functions = {"along": self.along[self._kind(block.target)]}
        if self.edge:
            functions["edge"] = self._edge(block)
        backward = {"against": self.against[source]} if source in self.against else {}
        own = state.against[n] if state.against else None
        if own is None or not backward:
            return _fan_out(state.edges[n], functions | backward)
        if source in self.reciprocal:
            backward["reciprocal"] = self.reciprocal[source]
        return _fan_out(state.edges[n], functions) | _fan_out(own, backward)

    def _update(self, nodes: Nodes, inbox: dict[str, list[Received]]) -> Tensor:
        incoming = [self._collect(self.along, nodes, inbox["along"], 2)]
        if self.against:
            incoming.append(self._collect(self.against, nodes, inbox["against"], 1))
        new: Tensor = self.update[nodes.kind](nodes.x, incoming)
        return new

    def _collect(self, functions: nn.ModuleDict, nodes: Nodes, parts: list[Received], axis: Literal[1, 2]) -> Tensor:
        if parts:
            return cast(Message, functions[nodes.kind]).collect(parts, axis)
        width = cast(Message, next(iter(functions.values()))).width
        return nodes.x.new_zeros(*nodes.x.shape[:-1], width)


def _ends(block: Block, nodes: Mapping[str, Nodes]) -> tuple[Nodes, Nodes]:
    """The nodes at the ends of a block's edges, and those at their beginnings."""
    target, source = nodes[block.target], nodes[block.source]
    if block.shared == 1:
        return target, source
    return _shared(target, block.targets), _shared(source, block.sources)


def _shared(nodes: Nodes, share: Callable[[Tensor], Tensor]) -> Nodes:
    """The nodes of a set by the shared factor. Its padding has none: there all count, so that their mean is finite."""
    if nodes.mask is None:
        return nodes._replace(x=share(nodes.x))
    mask = share(nodes.mask)
    return nodes._replace(x=share(nodes.x), mask=mask | ~mask.any(1, keepdim=True))


def _fan_out(edges: Tensor, functions: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    weights = {name: cast(Message | EdgeUpdate, function).weights() for name, function in functions.items()}
    parts = iter(fan_out(edges, *chain.from_iterable(weights.values())))
    return {name: list(islice(parts, len(own))) for name, own in weights.items()}
