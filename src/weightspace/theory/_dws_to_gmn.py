"""DWS networks as graph metanetworks: message passing with perceptrons of one hidden ReLU layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from .._errors import TheoryError
from ..nn import EquivariantLinear, GraphDecoder, GraphEncoder, Pointwise, graph_of
from ..space import WeightSpace
from ._arguments import check_positive
from ._fold import affine_layers
from ._layer_to_messages import LayerToMessages
from ._simulation import Simulation
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
       affine map for each type, closed for the others in the same way, applies the coefficients.

    What must pass a ReLU unchanged does so as x = relu(x) - relu(-x). Where the network has a ReLU itself, the second
    half is left out.

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
    check_positive("radius", radius)
    layers = affine_layers(network)
    if not isinstance(layers[0], EquivariantLinear):
        raise TheoryError("dws_to_gmn takes networks that begin with an equivariant linear layer, found a ReLU")
    _check(layers)
    linears = [
        (layer, not isinstance(behind, EquivariantLinear | None))
        for layer, behind in pairwise([*layers, None])
        if isinstance(layer, EquivariantLinear)
    ]
    space, bound = layers[0].space, radius
    converted: list[nn.Module] = [_encoder(space, layers[0].in_channels)]
    for i, (layer, positive) in enumerate(linears):
        converter = LayerToMessages(layer, bound)
        converted += converter.layers(positive=positive, last=i == len(linears) - 1)
        bound = converter.bound()
    converted.append(GraphDecoder(space, linears[-1][0].out_channels, 1))
    return Simulation(space, converted, radius=radius, bound=bound)


def _check(layers: list[EquivariantLinear | Pointwise]) -> None:
    """Refuses networks that are no chains of layers, and layers for other groups."""
    linears = [layer for layer in layers if isinstance(layer, EquivariantLinear)]
    space = linears[0].space
    graph = graph_of(space)
    chain = [[(target, source)] for source, target in pairwise(graph.sets)]
    matrices = [[space.parameters[m.parameter].groups for m in block.members] for block in graph.blocks]
    if matrices != chain or max(len(vectors) for vectors in graph.nodes.values()) != 1:
        raise TheoryError(
            "dws_to_gmn takes chains of layers with one matrix each, and biases, as those of ws.mlp; found "
            f"{[p.name for p in space.parameters]} between {', '.join(graph.sets)}"
        )
    if any(layer.symmetry != space.symmetry("permutation") for layer in linears):
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
