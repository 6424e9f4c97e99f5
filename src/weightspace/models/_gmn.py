"""GMN: graph metanetworks."""

from __future__ import annotations

from torch import nn

from ..nn import GraphDecoder, GraphEncoder, GraphPool, Reduction, SpaceFamily, gmn_layer, head
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["gmn"]


@register("gmn", families=True)
def gmn(
    space: WeightSpace | SpaceFamily,
    ports: Ports,
    hidden: int = 128,
    depth: int | None = None,
    bidirectional: bool = True,
    reduction: Reduction = "sum",
    relu: bool = False,
    dropout: float = 0.1,
) -> Body:
    """Message passing on the graph of the input network, in both directions.

    Source: Lim et al. (2024), arXiv 2312.04501, in the configuration of Kalogeropoulos et al. (2024),
    arXiv 2406.10685, with the permutation group.

    Args:
        space: weight space of the networks, or a family of them.
        ports: input and output.
        hidden: channels of nodes and edges.
        depth: number of layers; by default 10 for an equivariant and 4 for an invariant task.
        bidirectional: pass messages backwards too.
        reduction: of the messages that a node receives.
        relu: ReLU in the place of LayerNorm and SiLU; such a network converts to other architectures, see
            `weightspace.theory.gmn_to_dws`.
        dropout: probability.
    """
    depth = depth or (10 if ports.equivariant else 4)
    encoder = GraphEncoder(space, ports.in_channels, hidden)
    decoder = GraphDecoder(space, ports.out, hidden)
    layers = [
        gmn_layer(
            hidden,
            decoder.width if last and ports.equivariant else None,
            reduction=reduction,
            bidirectional=bidirectional,
            relu=relu,
            edge_update=ports.equivariant or not last,
            dropout=0.0 if last else dropout,
        )
        for last in (i == depth - 1 for i in range(depth))
    ]
    if ports.equivariant:
        end: list[nn.Module] = [decoder]
    else:
        pool = GraphPool(space, hidden)
        end = [pool, head(pool.out_features, hidden, ports.out, dropout)]
    return Body(
        nn.Sequential(encoder, *layers, *end), space.symmetry("permutation") if isinstance(space, WeightSpace) else None
    )
