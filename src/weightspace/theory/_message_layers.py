"""One layer of message passing as three equivariant linear ones."""

from __future__ import annotations

from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from ..nn import EdgeUpdate, EquivariantLinear, Message, MessagePassing, NodeUpdate
from ._homes import Homes
from ._simulation import empty_layer, eye, shift, write

__all__ = ["MessageLayers"]


class MessageLayers:
    """Three equivariant linear layers in place of one of message passing.

    Args:
        homes: where nodes and edges are.
        layer: message passing, checked.
        edge: channels of the edges; they come first.
        node: channels of the nodes, behind them.
    """

    def __init__(self, homes: Homes, layer: MessagePassing, edge: int, node: int) -> None:
        self.homes, self.edge, self.node = homes, edge, node
        self.messages = [
            (cast(Message, f), along)
            for along, fs in ((True, layer.along), (False, layer.against))
            for f in fs.values()
        ]
        (self.nodes,) = cast(list[NodeUpdate], list(layer.update.values()))
        self.edges = cast(EdgeUpdate, layer.edge["none"]) if layer.edge else None
        self.edge_out = self.edges.last.out_features if self.edges else edge
        self.node_out = self.nodes.last.out_features
        # channels in front of the first ReLU: of messages, of the edge update, and what passes it with both signs
        widths = [f.last.in_features for f, _ in self.messages] + [self.edges.last.in_features if self.edges else 0]
        *self.sent, self.updated, self.edge_pass, self.node_pass, self.width = accumulate(
            [*widths, 2 * edge, 2 * node], initial=0
        )

    def send(self) -> EquivariantLinear:
        """The first maps of messages and of the edge update, and all features with both signs."""
        layer, homes = empty_layer(self.homes.space, self.edge + self.node, self.width), self.homes
        for weight, target, source in homes.edge:
            homes.each(layer, weight, _both(eye(self.edge)), self.edge_pass, 0)
            for (f, along), start in zip(self.messages, self.sent, strict=True):
                homes.each(layer, weight, f.of_edge.weight, start, 0)
                self._from_node(layer, weight, source if along else target, f.of_sender, start)
            if self.edges:
                homes.each(layer, weight, self.edges.of_edge.weight, self.updated, 0)
                self._from_node(layer, weight, target, self.edges.of_target, self.updated)
                self._from_node(layer, weight, source, self.edges.of_source, self.updated)
        for name in homes.node.values():
            homes.each(layer, name, _both(eye(self.node)), self.node_pass, self.edge)
        return layer

    def _from_node(self, layer: EquivariantLinear, weight: str, name: str, linear: nn.Linear, start: int) -> None:
        self.homes.broadcast(layer, weight, name, linear.weight, start, self.edge)
        self._shift(layer, weight, linear, start)

    def _shift(self, layer: EquivariantLinear, name: str, linear: nn.Linear, start: int) -> None:
        if linear.bias is not None:
            shift(layer, name, linear.bias, rows=start)

    def receive(self) -> EquivariantLinear:
        """New edges and old nodes, with both signs, and the first map of the node update."""
        hidden, passed = 2 * self.edge_out, 2 * self.edge_out + self.nodes.first.out_features
        layer, homes = empty_layer(self.homes.space, self.width, passed + 2 * self.node), self.homes
        for weight, _, _ in homes.edge:
            skip: Tensor | None = eye(self.edge) if self.edges is None else None
            if self.edges is not None:
                skip = None if self.edges.skip is None else self.edges.skip.weight
                homes.each(layer, weight, _both(self.edges.last.weight), 0, self.updated)
                shift(layer, weight, _both(self.edges.last.bias))
            if skip is not None:
                homes.each(layer, weight, _both(_joined(skip)), 0, self.edge_pass)
        widths = [self.node, *(f.width for f, _ in self.messages)]
        own, *received = self.nodes.first.weight.split(widths, dim=1)
        for node_set, name in homes.node.items():
            homes.each(layer, name, _joined(own), hidden, self.node_pass)
            homes.each(layer, name, _both(_joined(eye(self.node))), passed, self.node_pass)
            self._shift(layer, name, self.nodes.first, hidden)
            for (f, along), start, matrix in zip(self.messages, self.sent, received, strict=True):
                self._gather(layer, node_set, f, matrix, hidden, start, along=along)
        return layer

    def _gather(
        self, layer: EquivariantLinear, node_set: str, f: Message, m: Tensor, rows: int, start: int, *, along: bool
    ) -> None:
        """The messages that a set of nodes receives, added up, and mapped by the last map of the message and by m."""
        senders = self.homes.senders(node_set, along=along)
        for weight, target, source in self.homes.edge:
            if node_set == (target if along else source):
                matrix = m @ f.last.weight / (senders if f.reduction == "mean" else 1)
                write(layer, self.homes.node[node_set], weight, [node_set], matrix, rows=rows, columns=start)
        if senders and f.last.bias is not None:
            count = 1 if f.reduction == "mean" else senders
            shift(layer, self.homes.node[node_set], count * (m @ f.last.bias), rows=rows)

    def update(self) -> EquivariantLinear:
        """New edges, and the last map of the node update."""
        hidden, passed = 2 * self.edge_out, 2 * self.edge_out + self.nodes.first.out_features
        layer, homes = empty_layer(self.homes.space, passed + 2 * self.node, self.edge_out + self.node_out), self.homes
        for weight, _, _ in homes.edge:
            homes.each(layer, weight, _joined(eye(self.edge_out)), 0, 0)
        for name in homes.node.values():
            homes.each(layer, name, self.nodes.last.weight, self.edge_out, hidden)
            self._shift(layer, name, self.nodes.last, self.edge_out)
            if self.nodes.skip is not None:
                homes.each(layer, name, _joined(self.nodes.skip.weight), self.edge_out, passed)
        return layer


def _both(x: Tensor) -> Tensor:
    """A map, or a vector, and its negative below it."""
    return torch.cat([x, -x])


def _joined(matrix: Tensor) -> Tensor:
    """A map of positive and negative parts: of their difference."""
    return torch.cat([matrix, -matrix], dim=1)
