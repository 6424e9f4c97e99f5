"""NG-T: neural graphs with a relational transformer."""

from __future__ import annotations

from torch import nn

from ..nn import (
    Attend,
    GraphDecoder,
    GraphEncoder,
    GraphPool,
    GraphProjection,
    Pairs,
    PairsFromGraph,
    PairsToGraph,
    RelationalAttention,
    graph_of,
    head,
)
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["ng_t"]


@register("ng-t")
def ng_t(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 64,
    depth: int = 4,
    heads: int | None = None,
    attend: Attend = "all",
    dropout: float = 0.2,
) -> Body:
    """A relational transformer on the graph of the input network.

    Pairs of neurons have half as many channels as neurons; queries, keys and values twice as many. The published
    classifier reads the output neurons alone; here hidden neurons are read too, averaged over each group, so that a
    network deeper than the model is seen whole under ``attend="edges"``.

    Source: Kofinas et al. (2024), arXiv 2403.12143 (NG-T); Diao and Loynd (2023), arXiv 2210.05062.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels of the neurons.
        depth: number of layers.
        heads: attention heads; by default 4 for an equivariant and 8 for an invariant task.
        attend: "all" pairs of neurons as published, or the "edges": each neuron attends to itself and to those that
            a weight joins it with, and memory grows with the number of weights instead of neurons squared.
        dropout: probability (published: 0.3 for editing, 0.2 otherwise).
    """
    heads = heads or (4 if ports.equivariant else 8)
    pair_channels = (hidden + 1) // 2
    encoder = GraphEncoder(space, ports.in_channels, hidden)
    pairs = Pairs(graph_of(space), attend)
    layers: list[nn.Module] = [
        encoder,
        PairsFromGraph(pairs, hidden, pair_channels),
        *(
            RelationalAttention(
                pairs,
                hidden,
                pair_channels,
                2 * hidden,
                heads,
                pair_update=ports.equivariant or i < depth - 1,
                dropout=dropout,
            )
            for i in range(depth)
        ),
        PairsToGraph(pairs),
    ]
    if ports.equivariant:
        decoder = GraphDecoder(space, ports.out, hidden)
        layers += [GraphProjection(hidden, pair_channels, decoder.width), decoder]
    else:
        pool = GraphPool(space, hidden)
        layers += [pool, head(pool.out_features, hidden, ports.out, dropout)]
    return Body(nn.Sequential(*layers), space.symmetry("permutation"))
