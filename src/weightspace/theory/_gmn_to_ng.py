"""Graph metanetworks as NG-GNNs: edges carry the messages, which nodes multiply with the number of their senders."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..models import Metanetwork
from ..nn import (
    EdgeUpdate,
    GraphProjection,
    GraphState,
    LinearUpdate,
    MessagePassing,
    NeighbourhoodMessage,
)
from ._carrier import SENDERS, Carrier, Read, keep_senders, pooled
from ._perceptron import Perceptron, dense, edge_update, linear
from ._simulation import Simulation

__all__ = ["Senders", "gmn_to_ng"]


class Senders(nn.Module):
    """Appends to every node how many nodes send to it, along and against, and for both whether there is any."""

    def forward(self, state: GraphState) -> GraphState:
        """Appends four channels to the nodes."""
        if state.masks:
            raise TheoryError("an NG-GNN of gmn_to_ng takes networks of one architecture, found padded ones")
        count = {name: [0, 0] for name in state.nodes}
        for block in state.graph.blocks:
            count[block.target][0] += block.columns
            count[block.source][1] += block.rows
        nodes = {}
        for name, x in state.nodes.items():
            known = x.new_tensor([*count[name], *(float(n > 0) for n in count[name])])
            nodes[name] = torch.cat([x, known.expand(*x.shape[:-1], -1)], dim=-1)
        return state._replace(nodes=nodes)


class _ReLU(nn.Module):
    """ReLU of the nodes of all sets, where NG-GNN has a normalisation and SiLU."""

    def forward(self, nodes: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: F.relu(x) for name, x in nodes.items()}


@torch.no_grad()
def gmn_to_ng(network: nn.Module) -> nn.Module:
    """A graph metanetwork with ReLU perceptrons as an NG-GNN: principal neighbourhood aggregation, late edges.

    The messages of a GMN depend on the edge and on the sender in a perceptron. Those of NG-GNN are ``s(e) * U [x; x'] +
    t(e)`` with linear maps s, t and U, and pooled to means, extrema and deviations. So the edge update of one layer
    computes the hidden units of the messages, for the next layer to pool: s reads them from the edge, U reads the
    number of senders from the node that receives, and the mean of the products is the sum. (Means and maxima, which
    other GMNs pool, need no product: t reads the units, s is zero.) The nodes of the NG-GNN are the hidden units of the
    updates of the GMN's nodes; the linear map behind these becomes part of the next layer, and skips pass the ReLU as
    positive and negative parts. K layers become K + 1, and all nodes and edges share their maps.

    Source: arXiv 2602.01083, Theorem 5.2; the layers are ours.

    Args:
        network: a layer, an `nn.Sequential` with layers one after another, or what `dws_to_gmn` returns. Each function
            must be linear - ReLU - linear, as in ``gmn_layer(..., relu=True)``. Dropout in the layers is left out.

    Returns:
        The same network in float64 with other layers: `Senders`, layers of NG-GNN with ReLU in place of normalisation
        and SiLU, and `GraphProjection`. They agree on inputs of any size.

    Raises:
        TheoryError: for layers with other functions, and if there is no layer of message passing.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 3, 2])
        >>> layers = ws.nn.gmn_layer(8, relu=True), ws.nn.gmn_layer(8, 1, relu=True)
        >>> ends = ws.nn.GraphEncoder(space, 1, 8), ws.nn.GraphDecoder(space, 1, 8)
        >>> gmn = torch.nn.Sequential(ends[0], *layers, ends[1]).double()
        >>> theta = space.sample(4).to(torch.float64)
        >>> both = ws.theory.gmn_to_ng(gmn)(theta).map(torch.sub, gmn(theta))
        >>> max(float(t.detach().abs().max()) for t in both.tensors) < 1e-12
        True
    """
    if isinstance(network, MessagePassing):
        return nn.Sequential(*_convert([network]))
    if isinstance(network, Simulation):
        layers = cast(nn.Sequential, gmn_to_ng(network.layers))
        return Simulation(network.space, layers, radius=network.radius, bound=network.bound)
    if isinstance(network, Metanetwork):
        net = gmn_to_ng(network.net)
        changed = copy.deepcopy(network).double()
        changed.net = net
        return changed
    if not isinstance(network, nn.Sequential) or not any(isinstance(module, MessagePassing) for module in network):
        raise TheoryError(
            f"gmn_to_ng takes message passing or an nn.Sequential with layers of it, found {type(network).__name__}"
            f"{' without any' if isinstance(network, nn.Sequential) else ''}"
        )
    modules: list[nn.Module] = []
    for passing, group in groupby(network, lambda module: isinstance(module, MessagePassing)):
        own = [copy.deepcopy(module).double() for module in group]
        modules += _convert(cast(list[MessagePassing], own)) if passing else own
    return nn.Sequential(*modules)


def _convert(layers: Sequence[MessagePassing]) -> list[nn.Module]:
    """What takes the place of layers that follow one another: each pools what the one before has put on the edges."""
    carriers = [Carrier(layer) for layer in layers]
    node, edge = carriers[0].channels
    one = torch.eye(node + SENDERS, dtype=torch.float64)
    update = keep_senders(linear(F.pad(one[:node], (0, 8))), node + SENDERS)
    messages = {"along": pooled(torch.zeros(1, edge, dtype=torch.float64), node + SENDERS)}
    nodes = Read(update.last, one.new_zeros(node))
    edges = Read(torch.eye(edge, dtype=torch.float64), one.new_zeros(edge))
    converted: list[nn.Module] = [Senders()]
    for carrier in carriers:
        units, new_edges = carrier.edges(nodes, edges)
        converted.append(_layer(messages, update, edge_update(units, edges.matrix.shape[1])))
        messages = carrier.pools(len(units.last), nodes.matrix.shape[1])
        update, nodes = carrier.update(nodes)
        edges = new_edges
    return [*converted, _layer(messages, update, None), _projection(nodes, edges)]


def _layer(messages: dict[str, NeighbourhoodMessage], update: Perceptron, edge: EdgeUpdate | None) -> MessagePassing:
    """A layer of NG-GNN, whose nodes are the hidden units of a perceptron; the last one if edges are not updated."""
    linear_update = LinearUpdate(1, 1)
    linear_update.linear = dense(update.first, update.bias)
    return MessagePassing(
        along={"none": messages["along"]},
        against={"none": messages["against"]} if "against" in messages else {},
        update={"none": linear_update},
        edge={} if edge is None else {"none": edge},
        finish=None if edge is None else _ReLU(),
        late_edges=True,
    )


def _projection(nodes: Read, edges: Read) -> GraphProjection:
    """ReLU of the nodes, whose last layer has none, and what is read from nodes and edges."""
    made = GraphProjection(1, 1, 1)
    units, carried = torch.eye(nodes.matrix.shape[1], dtype=torch.float64), linear(edges.matrix)
    made.node = nn.Sequential(dense(units), nn.ReLU(), dense(*nodes))
    made.edge = nn.Sequential(dense(carried.first), nn.ReLU(), dense(carried.last, edges.offset))
    return made
