"""One equivariant linear layer as message passing: sums into slots, sums over neighbours, a map for each type."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..nn import EquivariantLinear, MessagePassing, Term
from ._fold import pooled_entries
from ._perceptron import Perceptron, edge_update, linear, message, node_update, side_by_side, typed
from ._slots import Slots

__all__ = ["LayerToMessages"]


class LayerToMessages:
    """Message passing in place of one equivariant linear layer on a chain of layers.

    Edges and nodes come as ``[features, codes]``. In between, nodes are as `Slots` has them.

    Args:
        layer: in float64.
        radius: what the absolute values of the input do not exceed.
    """

    def __init__(self, layer: EquivariantLinear, radius: float) -> None:
        self.layer, self.radius, self.out = layer, radius, layer.out_channels
        self.slots = slots = Slots(layer.space, layer.in_channels)
        self.features, self.codes = layer.in_channels, 2 * slots.types
        self.edge, self.node = self.features + self.codes, slots.width + self.codes
        names = sorted(slots.of, key=lambda name: slots.of[name].source is None)
        self.weights = [name for name in names if slots.of[name].source is not None]
        self.vectors = [name for name in names if slots.of[name].source is None]

    def layers(self, *, positive: bool, last: bool) -> list[MessagePassing]:
        """What takes the place of the layer, and of a ReLU behind it if the positive parts are wanted."""
        return [self._collect(), *(self._hop() for _ in range(self.slots.hops)), self._apply(positive, last)]

    def bound(self) -> float:
        """What no entry of the layer's output exceeds."""
        sizes = {name: self._biases(name).abs() for name in self.slots.of}
        for term in self.layer.terms():
            entries = pooled_entries(self.layer, term.input, term.tied)
            sizes[term.output] += self._matrices(term).abs().sum(2) * entries * self.radius
        return max(float(size.max()) for size in sizes.values())

    def _biases(self, name: str) -> Float[Tensor, "kinds out"]:
        return self.layer.biases(name).reshape(self.out, -1).mT.clone()

    def _matrices(self, term: Term) -> Float[Tensor, "kinds out columns"]:
        """The coefficients of sums, for each kind of entry that is written; columns are those of the slot read."""
        sizes = self.out, self.slots.of[term.output].kinds, self.features, self.slots.of[term.input].kinds
        matrices = self.layer.coefficients(*term).reshape(sizes).permute(1, 0, 3, 2).flatten(2)
        mean = self.layer.reduction == "mean"
        return matrices / pooled_entries(self.layer, term.input, term.tied) if mean else matrices

    def _collect(self) -> MessagePassing:
        """Sums of all weights into nodes, each in the slot of its type."""
        s = self.slots
        send = self._into_slots(
            self.weights, s.starts["out"] - s.starts["into"], self.edge + self.features + self.codes
        )
        sums = s.starts["net"] - s.starts["into"]
        rest = torch.zeros(self.node - s.vectors, self.edge + sums, dtype=torch.float64)
        rest[:sums, self.edge :] = torch.eye(sums)
        rest[-self.codes :, self.features : self.edge] = torch.eye(self.codes)
        own = self._into_slots(self.vectors, s.vectors, self.edge + sums)
        return _layer(send, side_by_side(own, linear(rest)), self.edge)

    def _into_slots(self, names: list[str], width: int, inputs: int) -> Perceptron:
        """The features with which the input begins, before the codes, in the slot of the type; zero in all others."""
        kinds = width // self.features
        matrices = torch.zeros(kinds, width, inputs, dtype=torch.float64)
        own = torch.eye(kinds)[:, :, None, None] * torch.eye(self.features)
        matrices[:, :, : self.features] = own.reshape(kinds, width, self.features)
        others = torch.cat([self.slots.others(name) for name in names])
        others = F.pad(others, (self.features, inputs - self.features - self.codes))
        sizes = torch.full((inputs,), self.radius, dtype=torch.float64)
        return typed(matrices, matrices.new_zeros(kinds, width), others, sizes)

    def _hop(self) -> MessagePassing:
        """What nodes know of the network: the sum of what their neighbours are and know."""
        start, net = self.slots.starts["net"], self.slots.width - self.slots.starts["net"]
        one = torch.eye(net, dtype=torch.float64)
        send = torch.zeros(net, self.edge + self.node, dtype=torch.float64)
        send[:, self.edge : self.edge + net] = send[:, self.edge + start : self.edge + start + net] = one
        update = F.pad(torch.eye(self.node, dtype=torch.float64), (0, 2 * net))
        update[start : start + net] = 0
        update[start : start + net, self.node :] = torch.cat([one, one], dim=1)
        return _layer(linear(send), linear(update), self.edge)

    def _apply(self, positive: bool, last: bool) -> MessagePassing:
        """The affine map of each type of edge and of node."""
        parts = {"edge": 0, "target": self.edge, "source": self.edge + self.node}
        edges = self._maps(self.weights, parts, self.edge + 2 * self.node, self.features, positive)
        nodes = self._maps(self.vectors, {"target": 0}, self.node + 1, self.slots.width, positive)
        if not last:
            edges = side_by_side(edges, _some(self.codes, self.features, edges.first.shape[1]))
            nodes = side_by_side(nodes, _some(self.codes, self.slots.width, nodes.first.shape[1]))
        silent = Perceptron(*(torch.zeros(n, dtype=torch.float64) for n in ((1, self.edge + self.node), (1,), (1, 1))))
        return MessagePassing(
            along={"none": message(silent, self.edge)},
            against={},
            update={"none": node_update(nodes)},
            edge={"none": edge_update(edges, self.edge)},
        )

    def _maps(self, names: list[str], parts: dict[str, int], inputs: int, codes: int, positive: bool) -> Perceptron:
        """The affine maps of all kinds of entries of some parameters.

        Args:
            names: of the parameters.
            parts: the first input of each part that `Place` names.
            inputs: number of inputs.
            codes: the first input that is a code.
            positive: see `typed`.
        """
        at = {name: torch.zeros(self.slots.of[name].kinds, self.out, inputs, dtype=torch.float64) for name in names}
        for term in self.layer.terms():
            if term.output in at:
                place, matrices = self.slots.find(term), self._matrices(term)
                start = parts[place.part] + place.start
                at[term.output][..., start : start + matrices.shape[2]] += matrices / place.copies
        others = torch.cat([self.slots.others(name) for name in names])
        others = F.pad(others, (codes, inputs - codes - self.codes))
        offsets = torch.cat([self._biases(name) for name in names])
        return typed(torch.cat(list(at.values())), offsets, others, self._sizes(parts, inputs), positive=positive)

    def _sizes(self, parts: dict[str, int], inputs: int) -> Float[Tensor, " inputs"]:
        """What the inputs of those maps do not exceed."""
        most = max(node_set.size for node_set in self.slots.graph.sets.values())
        sizes = torch.full((inputs,), most * self.radius, dtype=torch.float64)
        net = slice(self.slots.starts["net"], self.slots.width)
        for name, start in parts.items():
            if name != "edge":
                sizes[start:][net] *= most * int(self.slots.walks.max())
        return sizes


def _some(count: int, start: int, inputs: int) -> Perceptron:
    """Some of the inputs, which are not negative."""
    one = torch.eye(count, dtype=torch.float64)
    return Perceptron(F.pad(one, (start, inputs - start - count)), one.new_zeros(count), one)


def _layer(send: Perceptron, update: Perceptron, edge: int) -> MessagePassing:
    """Message passing with the same messages both ways, and edges that stay as they are."""
    return MessagePassing(
        along={"none": message(send, edge)},
        against={"none": message(send, edge)},
        update={"none": node_update(update)},
        edge={},
    )
