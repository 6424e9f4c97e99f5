"""DWS networks as graph metanetworks: message passing with perceptrons of one hidden ReLU layer."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..nn import EquivariantLinear, GraphDecoder, GraphEncoder, MessagePassing, Pointwise, Term
from ..space import WeightSpace
from ._fold import affine_layers, pooled_entries
from ._perceptron import Perceptron, edge_update, linear, message, node_update, side_by_side, typed
from ._simulation import Simulation, check_neurons
from ._slots import Slots

__all__ = ["dws_to_gmn"]


@torch.no_grad()
def dws_to_gmn(network: nn.Module, radius: float) -> Simulation:
    """A DWS network as a graph metanetwork whose messages and updates have one hidden ReLU layer.

    Edges and nodes start as weights and biases with a one-hot code of their type: hidden neurons of a layer are of one
    type, each input and each output is of its own. One equivariant linear layer becomes a few of message passing:

    1. Every edge sends its weight both ways, in the slot of its type; a unit ``relu(w - r t)`` closes all other slots,
       where t counts the codes of other types and ``|w| <= r``. So a node knows the sums of the weights that enter and
       leave it, by type.
    2. What nodes know is summed over neighbours, along and against, L times for L layers (2 for one): there is no node
       that stands for the whole network. Slots keep the sums over each layer apart, and what a node has then received
       is the sum times a number of walks on the graph, which is known.
    3. Everything that a term of the linear layer can read is now at the edge, at its two ends, or at the node. One
       affine map for each type, closed for the others in the same way, applies the coefficients. Where a ReLU follows,
       the half of its units that have a negative sign behind them is left out.

    The result is exact on weights of at most the radius; it is linear in no other way than by relu(x) - relu(-x) = x.

    Source: arXiv 2602.01083, Theorem 5.2; the layers are ours.

    Args:
        network: a layer, an `nn.Sequential` of layers, or an equivariant "dws" network of `weightspace.build` with
            linear neuron maps and "mean" or "sum" pooling. Batch normalisation and standardisation become part of the
            layers.
        radius: the largest absolute value of an entry of the input. Beyond it the result is wrong.

    Returns:
        `GraphEncoder`, layers of `MessagePassing` and `GraphDecoder`, in float64: L + 2 layers for each linear one. Its
        ``radius`` is the argument, its ``bound`` that of the output.

    Raises:
        TheoryError: for another network, for networks other than chains of layers, and a radius that is not positive.
        ModelError: for layers with attention or a rank.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 3, 2])
        >>> layer = ws.nn.EquivariantLinear(space, 1, 1).double()
        >>> simulation = ws.theory.dws_to_gmn(layer, radius=2.0)
        >>> theta = space.sample(4).map(lambda t: t.double().clamp(-2, 2))
        >>> both = simulation(theta).map(torch.sub, layer(theta))
        >>> max(float(t.detach().abs().max()) for t in both.tensors) < 1e-12
        True
    """
    if not 0 < radius < math.inf:
        raise TheoryError(f"radius: expected a positive number, found {radius}")
    layers = affine_layers(network)
    if not isinstance(layers[0], EquivariantLinear):
        raise TheoryError("dws_to_gmn takes networks that begin with an equivariant linear layer, found a ReLU")
    _check(layers[0].space, layers)
    linears = [
        (layer, not isinstance(behind, EquivariantLinear | None))
        for layer, behind in pairwise([*layers, None])
        if isinstance(layer, EquivariantLinear)
    ]
    space, bound = layers[0].space, radius
    converted: list[nn.Module] = [_encoder(space, layers[0].in_channels)]
    for i, (layer, positive) in enumerate(linears):
        converter = _Converter(layer, bound)
        converted += converter.layers(positive=positive, last=i == len(linears) - 1)
        bound = converter.bound()
    converted.append(GraphDecoder(space, linears[-1][0].out_channels, 1))
    return Simulation(space, converted, radius=radius, bound=bound)


def _check(space: WeightSpace, layers: list[EquivariantLinear | Pointwise]) -> None:
    check_neurons(space, "dws_to_gmn")
    if not space.is_chain:
        raise TheoryError("dws_to_gmn takes chains of layers (ws.mlp, ws.siren), found a traced module")
    symmetry = space.symmetry("permutation")
    if any(isinstance(layer, EquivariantLinear) and layer.symmetry != symmetry for layer in layers):
        raise TheoryError("dws_to_gmn takes layers that commute with the permutations of hidden neurons, found others")


def _encoder(space: WeightSpace, channels: int) -> GraphEncoder:
    """Nodes and edges with ``[features, codes]``: a node's code, and zeros; the codes of both ends of an edge."""
    slots = Slots(space, channels)
    encoder = GraphEncoder(space, channels, channels + 2 * slots.types).double()
    for parameter in encoder.parameters():
        parameter.zero_()
    for maps in (encoder.node, encoder.edge.maps):
        for weight in maps.weight.values():
            weight[:channels].flatten(1).copy_(torch.eye(channels))
    code, second = channels, channels + slots.types
    for name, node_set in slots.graph.sets.items():  # the codes are views of the tables
        encoder.node_code(node_set)[:, code:second] = slots.codes[name]
    for block in slots.graph.blocks:
        encoder.edge.target(slots.graph.sets[block.target])[:, code:second] = slots.codes[block.target]
        encoder.edge.source(slots.graph.sets[block.source])[:, second:] = slots.codes[block.source]
    return encoder


class _Converter:
    """Message passing in place of one equivariant linear layer, for inputs of at most a radius."""

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
