"""Graph metanetworks as DWS networks: message passing is broadcasting, maps of entries, and pooling."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..models import Metanetwork
from ..nn import (
    EdgeUpdate,
    EquivariantLinear,
    GraphDecoder,
    GraphEncoder,
    Message,
    MessagePassing,
    NodeUpdate,
    Pointwise,
)
from ..space import WeightFeatures, WeightSpace
from ._homes import Homes
from ._message_layers import MessageLayers
from ._simulation import Simulation, empty_layer, eye, shift

__all__ = ["gmn_to_dws"]


@torch.no_grad()
def gmn_to_dws(network: nn.Module, space: WeightSpace | None = None) -> Simulation:
    """A graph metanetwork with ReLU as a DWS network: equivariant linear layers with ReLU between, exact everywhere.

    Edges are the weights, with other channels; nodes are the biases; input nodes, which have no bias, are channels of
    the first weights that are the same for all their edges. One layer of message passing becomes three equivariant
    linear ones with two ReLUs between: the first brings to every edge what its two ends know and applies the first maps
    of messages and of the edge update; the second adds up the messages at each node and applies the first map of the
    node update; the third applies the last one. What must pass a ReLU unchanged does so as x = relu(x) - relu(-x).

    Source: arXiv 2602.01083, Theorem 5.2; the layers are ours.

    Args:
        network: `nn.Sequential` of `GraphEncoder`, layers of message passing with "sum" or "mean", and `GraphDecoder`;
            a network with a space of its own made of these, such as `dws_to_gmn` returns.
        space: weight space of the networks, if the network does not know it.

    Returns:
        The network in float64, of infinite radius.

    Raises:
        TheoryError: for another space or network, in particular for SiLU and LayerNorm, which ReLU can only come near
            to, and for maxima (see `max_to_dws`).

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 3, 2])
        >>> layers = ws.nn.gmn_layer(8, relu=True), ws.nn.gmn_layer(8, 1, relu=True)
        >>> ends = ws.nn.GraphEncoder(space, 1, 8), ws.nn.GraphDecoder(space, 1, 8)
        >>> gmn = torch.nn.Sequential(ends[0], *layers, ends[1]).double()
        >>> theta = space.sample(4).map(torch.Tensor.double)
        >>> both = ws.theory.gmn_to_dws(gmn, space)(theta).map(torch.sub, gmn(theta))
        >>> max(float(t.detach().abs().max()) for t in both.tensors) < 1e-12
        True
    """
    space = space or getattr(network, "space", None)
    if space is None:
        raise TheoryError("an nn.Sequential does not know its weight space; pass space=")
    parts = _parts(network)
    encoder, decoder = (parts[0], parts[-1]) if len(parts) > 1 else (None, None)
    if not isinstance(encoder, GraphEncoder) or not isinstance(decoder, GraphDecoder):
        raise TheoryError(
            "expected GraphEncoder, layers of message passing and GraphDecoder, found "
            f"{[type(part).__name__ for part in parts]}"
        )
    homes = Homes(space)
    first = _encode(encoder, homes)
    converted: list[nn.Module] = [first]
    edge = node = first.out_channels // 2
    relu = Pointwise(F.relu)
    for layer in parts[1:-1]:
        own = MessageLayers(homes, _checked(layer), edge, node)
        converted += [own.send(), relu, own.receive(), relu, own.update()]
        edge, node = own.edge_out, own.node_out
    converted.append(_decode(decoder, homes, edge, node))
    return Simulation(space, converted)


def _parts(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, Metanetwork):
        if network.standardize.mode != "none" or network.encodings:
            raise TheoryError("expected a network of the raw weights: standardize='none', no probes and no gradients")
        return _parts(network.net)
    if isinstance(network, Simulation):
        return _parts(network.layers)
    return [part for m in network for part in _parts(m)] if isinstance(network, nn.Sequential) else [network]


def _checked(layer: nn.Module) -> MessagePassing:
    """Refuses layers that are no broadcasting, ReLU and pooling."""
    if not isinstance(layer, MessagePassing):
        raise TheoryError(f"expected layers of message passing, found {type(layer).__name__}")
    functions = [*layer.along.values(), *layer.against.values(), *layer.update.values(), *layer.edge.values()]
    wrong = [type(f).__name__ for f in functions if not isinstance(f, Message | NodeUpdate | EdgeUpdate)]
    betweens = [getattr(f, "between", f) for f in functions]
    wrong += [type(between).__name__ for between in betweens if not isinstance(between, nn.ReLU)]
    if wrong:
        raise TheoryError(
            f"functions with {wrong[0]} are no ReLU networks, which only come near them; take gmn_layer(relu=True)"
        )
    if layer.finish is not None or layer.late_edges:
        raise TheoryError("edges that see the new nodes, and maps of all nodes together, are not those of GMN")
    if any(f.reduction == "max" for f in functions if isinstance(f, Message)):
        raise TheoryError("messages of which the maximum is taken need as many layers as senders; see max_to_dws")
    if any(f.training and f.dropout > 0 for f in functions if isinstance(f, NodeUpdate | EdgeUpdate)):
        raise TheoryError("dropout in training mode is no map; call .eval() first")
    return copy.deepcopy(layer).double()


def _encode(encoder: GraphEncoder, homes: Homes) -> EquivariantLinear:
    """The encoder, an affine map of every entry: what it makes of zero, and of each channel."""
    if set(encoder.kinds.values()) - {"none"}:
        raise TheoryError("the graph network commutes with scales of neurons, DWS networks with permutations alone")
    encoder, space = copy.deepcopy(encoder).double(), homes.space
    channels = next(iter(encoder.edge.maps.weight.values())).shape[-1]
    probes = torch.eye(1 + channels, dtype=torch.float64)[:, 1:]
    theta = [probes.view(-1, *[1] * len(p.axes), channels).expand(-1, *p.shape, -1) for p in space.parameters]
    state = encoder(WeightFeatures(space, tuple(theta)))
    width = state.edges[0].shape[-1]
    layer = empty_layer(space, channels, 2 * width)
    for (name, _, _), x in zip(homes.edge, state.edges, strict=True):
        homes.each(layer, name, (x[1:, 0, 0] - x[0, 0, 0]).mT, 0, 0)
        shift(layer, name, x[0])
    for node_set, name in homes.node.items():
        x = state.nodes[node_set]
        homes.each(layer, name, (x[1:, 0] - x[0, 0]).mT, width, 0)
        axes = [x.shape[1] if group == node_set else 1 for group in homes.groups(name)]
        shift(layer, name, x[0].view(*axes, width), rows=width)
    return layer


def _decode(decoder: GraphDecoder, homes: Homes, edge: int, node: int) -> EquivariantLinear:
    """The decoder, which reads edges and nodes as weights and biases."""
    if decoder.node is not None or not edge == node == decoder.width:
        raise TheoryError(
            f"expected a decoder that reads {edge} and {node} channels of edges and nodes as they are, found one of "
            f"{decoder.width} channels"
        )
    layer = empty_layer(homes.space, edge + node, edge)
    for name in (p.name for p in homes.space.parameters):
        homes.each(layer, name, eye(edge), 0, 0 if len(homes.groups(name)) == 2 else edge)
    return layer
