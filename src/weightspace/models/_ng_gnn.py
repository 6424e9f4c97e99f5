"""NG-GNN: neural graphs with a graph neural network."""

from __future__ import annotations

import torch
from torch import nn

from .._errors import ModelError
from ..nn import (
    GaussianFourier,
    GraphDecoder,
    GraphEncoder,
    GraphPool,
    GraphProjection,
    GraphState,
    SpaceFamily,
    graph_of,
    head,
    ng_gnn_layer,
)
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["ng_gnn"]


class _NodesTooEarly(nn.Module):
    """The published slices of the nodes: those of the first hidden group begin at the first input neuron."""

    def forward(self, state: GraphState) -> GraphState:
        first, *others = state.nodes.items()
        flat = torch.cat(list(state.nodes.values()), dim=1)
        slices = flat[:, : -first[1].shape[1]].split([x.shape[1] for _, x in others], dim=1)
        nodes = dict([first, *((group, part) for (group, _), part in zip(others, slices, strict=True))])
        return state._replace(nodes=nodes)


@register("ng-gnn", families=True)
def ng_gnn(
    space: WeightSpace | SpaceFamily,
    ports: Ports,
    hidden: int = 128,
    depth: int = 4,
    bidirectional: bool = True,
    fourier: int | None = 128,
    dropout: float = 0.2,
    published: bool = False,
) -> Body:
    """Message passing with principal neighbourhood aggregation on the graph of the input network.

    The published classifier reads the output neurons alone; here hidden neurons are read too, averaged over each group,
    so that a network deeper than the model is seen whole. The two directions have functions of their own; the published
    option for both gives every edge the features of its reverse instead.

    Source: Kofinas et al. (2024), arXiv 2403.12143 (NG-GNN).

    Args:
        space: weight space of the networks, or a family of them.
        ports: input and output.
        hidden: channels of nodes and edges (128 in the published configuration for editing, 64 in the paper's table).
        depth: number of layers.
        bidirectional: pass messages backwards too.
        fourier: frequencies by which every weight is encoded first; see `GaussianFourier`. None leaves this out.
        dropout: probability.
        published: the defects of the published code: one normalisation over all nodes of all networks in a batch, which
            makes an output depend on the other networks; and biases read from neurons that come too early by the
            number of inputs, which makes an equivariant task's output not equivariant.
    """
    family = space if isinstance(space, SpaceFamily) else SpaceFamily([space])
    if published and isinstance(space, SpaceFamily):
        raise ModelError("published: not of a family of architectures; with padding its defects would be others")
    one = space if isinstance(space, WeightSpace) else None
    waves = GaussianFourier(one, ports.in_channels, fourier, encoded=ports.raw_channels) if fourier else None
    encoder = GraphEncoder(space, waves.out_channels if waves else ports.in_channels, hidden)
    layers: list[nn.Module] = [*([waves] if waves else []), encoder]
    layers += [
        ng_gnn_layer(
            [graph_of(own) for own in family.spaces],
            hidden,
            bidirectional=bidirectional,
            last=i == depth - 1,
            dropout=dropout,
            across_batch=published,
        )
        for i in range(depth)
    ]
    if ports.equivariant:
        decoder = GraphDecoder(space, ports.out, hidden)
        layers += [GraphProjection(hidden, hidden, decoder.width), *([_NodesTooEarly()] if published else []), decoder]
    else:
        pool = GraphPool(space, hidden)
        layers += [pool, head(pool.out_features, hidden, ports.out, dropout)]
    broken = published and ports.equivariant
    symmetry = None if one is None else one.symmetry("trivial" if broken else "permutation")
    return Body(nn.Sequential(*layers), symmetry)
