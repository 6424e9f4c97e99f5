"""One layer of a graph metanetwork, in parts that layers of NG-GNN can hold."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..nn import EdgeUpdate, Message, MessagePassing, NeighbourhoodMessage, NodeUpdate
from ._perceptron import Perceptron, dense, linear, side_by_side

__all__ = ["SENDERS", "Carrier", "Read", "keep_senders", "pooled"]

SENDERS = 4  # the last channels of every node: its senders along and against, and for both whether there is any
_MEAN, _MAX = 0, 2  # among the aggregations of NG-GNN, all of which come twice
_AGGREGATIONS = 8


class Read(NamedTuple):
    """How the features of a GMN are read from those of the NG-GNN: ``matrix @ features + offset``."""

    matrix: Float[Tensor, "out channels"]
    offset: Float[Tensor, " out"]

    def through(self, layer: nn.Linear) -> Read:
        """The same, followed by a linear layer."""
        bias = self.offset.new_zeros(()) if layer.bias is None else layer.bias
        return Read(layer.weight @ self.matrix, layer.weight @ self.offset + bias)


class Carrier:
    """A layer of a graph metanetwork whose functions are linear - ReLU - linear.

    Args:
        layer: in float64.

    Attributes:
        messages: the message functions, along and perhaps against.
        channels: of its nodes and of its edges.

    Raises:
        TheoryError: for other functions.
    """

    def __init__(self, layer: MessagePassing) -> None:
        _check(layer)
        both = {0: layer.along, 1: layer.against}
        self.messages = {way: cast(Message, own["none"]) for way, own in both.items() if "none" in own}
        self._update = cast(NodeUpdate, layer.update["none"])
        self._edge = cast(EdgeUpdate, layer.edge["none"]) if layer.edge else None
        along = self.messages[0]
        self.channels = along.of_sender.in_features, along.of_edge.in_features

    def edges(self, nodes: Read, edges: Read) -> tuple[Perceptron, Read]:
        """The hidden units of all messages, side by side, and the new edges; and how to read these.

        The inputs of the perceptron are an edge, its target and its source.
        """
        parts = []
        for way, message in self.messages.items():
            sender, edge = nodes.through(message.of_sender), edges.through(message.of_edge)
            silent = torch.zeros_like(sender.matrix)
            ends = (silent, sender.matrix) if way == 0 else (sender.matrix, silent)
            one = torch.eye(len(silent), dtype=silent.dtype)
            parts.append(Perceptron(torch.cat([edge.matrix, *ends], 1), edge.offset + sender.offset, one))
        new, offset = self._new_edges(nodes, edges)
        units = side_by_side(*parts, new)
        one = torch.eye(len(units.last), dtype=offset.dtype)
        return units, Read(one[-len(offset) :], offset)

    def _new_edges(self, nodes: Read, edges: Read) -> tuple[Perceptron, Tensor]:
        """The update of the edges, less its constant part."""
        if self._edge is None:
            return linear(F.pad(edges.matrix, (0, 2 * nodes.matrix.shape[1]))), edges.offset
        own = edges.through(self._edge.of_edge)
        target, source = nodes.through(self._edge.of_target), nodes.through(self._edge.of_source)
        first = torch.cat([own.matrix, target.matrix, source.matrix], dim=1)
        made = Perceptron(first, own.offset + target.offset + source.offset, self._edge.last.weight)
        return _with_skip(made, self._edge.last.bias, self._edge.skip, edges)

    def pools(self, edge: int, node: int) -> dict[str, NeighbourhoodMessage]:
        """Messages of NG-GNN that pool the hidden units.

        Args:
            edge: channels of an edge, the first of which are the units.
            node: channels of a node.
        """
        made, start = {}, 0
        for way, message in self.messages.items():
            units = F.pad(torch.eye(message.last.in_features, dtype=torch.float64), (start, 0))
            units = F.pad(units, (0, edge - units.shape[1]))
            made["along" if way == 0 else "against"] = pooled(
                units, node, senders=node - SENDERS + way if message.reduction == "sum" else None
            )
            start += message.last.in_features
        return made

    def update(self, nodes: Read) -> tuple[Perceptron, Read]:
        """The update of the nodes, and how to read them; the inputs are a node and what it receives from `pools`."""
        widths = [message.width for message in self.messages.values()]
        own, *received = self._update.first.weight.split([len(nodes.matrix), *widths], dim=1)
        bias, of_node, of_pools = self._update.first.bias + own @ nodes.offset, own @ nodes.matrix, []
        for (way, message), matrix in zip(self.messages.items(), received, strict=True):
            units = message.last.in_features
            columns = matrix.new_zeros(len(matrix), _AGGREGATIONS, units)
            columns[:, _MAX if message.reduction == "max" else _MEAN] = matrix @ message.last.weight
            of_pools.append(columns.flatten(1))
            times = way - SENDERS if message.reduction == "sum" else way - SENDERS + 2  # how often the bias arrives
            of_node[:, times] += matrix @ message.last.bias
        made = Perceptron(torch.cat([of_node, *of_pools], dim=1), bias, self._update.last.weight)
        padded = Read(F.pad(nodes.matrix, (0, made.first.shape[1] - nodes.matrix.shape[1])), nodes.offset)
        made, offset = _with_skip(made, self._update.last.bias, self._update.skip, padded)
        made = keep_senders(made, nodes.matrix.shape[1])
        return made, Read(made.last, offset)


def _with_skip(made: Perceptron, bias: Tensor, skip: nn.Linear | None, read: Read) -> tuple[Perceptron, Tensor]:
    """Adds a skip; the constant part apart. What is read are the first inputs."""
    if skip is None:
        return made, bias
    skipped = read.through(skip)
    matrix = F.pad(skipped.matrix, (0, made.first.shape[1] - skipped.matrix.shape[1]))
    both = linear(matrix)
    parts = (
        torch.cat([made.first, both.first]),
        torch.cat([made.bias, both.bias]),
        torch.cat([made.last, both.last], 1),
    )
    return Perceptron(*parts), bias + skipped.offset


def keep_senders(p: Perceptron, node: int) -> Perceptron:
    """Hidden units for the last channels of the node with which the input begins, which no output reads."""
    kept = F.pad(torch.eye(SENDERS, dtype=p.first.dtype), (node - SENDERS, p.first.shape[1] - node))
    return Perceptron(torch.cat([p.first, kept]), F.pad(p.bias, (0, SENDERS)), F.pad(p.last, (0, SENDERS)))


def pooled(units: Float[Tensor, "units edge"], node: int, senders: int | None = None) -> NeighbourhoodMessage:
    """Messages of NG-GNN that are linear in the edge, perhaps times a channel of the node that receives.

    Args:
        units: the linear map.
        node: channels of a node.
        senders: that channel.
    """
    made = NeighbourhoodMessage(1, mean_log_degree=1.0)
    made.width = _AGGREGATIONS * len(units)
    zero, none = torch.zeros_like(units), units.new_zeros(len(units))
    of_receiver = units.new_zeros(len(units), node)
    if senders is not None:
        of_receiver[:, senders] = 1
    made.scale = dense(zero if senders is None else units, none)
    made.shift = dense(units if senders is None else zero, none)
    made.of_receiver, made.of_sender = dense(of_receiver), dense(torch.zeros_like(of_receiver), none)
    return made


def _check(layer: MessagePassing) -> None:
    """Refuses layers that are not made of perceptrons with one hidden ReLU layer."""
    for kind in layer.kinds.values():
        if kind != "none":
            raise TheoryError(f"gmn_to_ng takes layers of gmn, found one that respects the scales {kind!r} of neurons")
    if layer.finish is not None or layer.late_edges:
        raise TheoryError("gmn_to_ng takes layers of gmn, found one whose edges see the new nodes, as those of NG-GNN")
    expected = (layer.along, Message), (layer.against, Message), (layer.update, NodeUpdate), (layer.edge, EdgeUpdate)
    for functions, known in expected:
        for function in functions.values():
            if type(function) is not known:
                raise TheoryError(f"gmn_to_ng: expected a function {known.__name__}, found {type(function).__name__}")
            if not isinstance(function.between, nn.ReLU):
                raise TheoryError(
                    f"gmn_to_ng: expected ReLU alone between the linear maps of each function, found "
                    f"{type(function.between).__name__} in {known.__name__}; take gmn_layer(relu=True)"
                )
