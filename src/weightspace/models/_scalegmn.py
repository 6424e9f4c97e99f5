"""ScaleGMN: graph metanetworks that respect signs and positive scales of neurons."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..nn import (
    GraphDecoder,
    GraphEncoder,
    Receivers,
    ScaledPool,
    SignMap,
    graph_of,
    head,
    kinds,
    node_symmetry,
    scaled_layer,
)
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["scalegmn", "scalegmn_b"]

Signs = Literal["absolute", "symmetrized", "by_task"]


def _body(
    space: WeightSpace,
    ports: Ports,
    hidden: int,
    depth: int | None,
    signs: Signs,
    dropout: float,
    *,
    bidirectional: bool,
    reciprocal: bool,
) -> Body:
    depth = depth or (10 if ports.equivariant else 4)
    sign_map: SignMap = ("absolute" if ports.equivariant else "symmetrized") if signs == "by_task" else signs
    symmetry = node_symmetry(space)
    kind = kinds(space, symmetry)
    encoder = GraphEncoder(space, ports.in_channels, hidden, symmetry, reciprocal=reciprocal)
    decoder = GraphDecoder(space, ports.out, hidden)
    both: list[Receivers] = ["all" if bidirectional else "none"] * depth
    if bidirectional and ports.equivariant:
        both[-1] = "hidden"  # the last features of input neurons are no parameter's
    layers = [
        scaled_layer(
            graph_of(space),
            kind,
            hidden,
            decoder.width if last and ports.equivariant else None,
            signs=sign_map,
            against=both[i],
            reciprocal="none" if last or not reciprocal else both[i + 1],
            edge_update=ports.equivariant or not last,
            dropout=0.0 if last else dropout,
        )
        for i, last in ((i, i == depth - 1) for i in range(depth))
    ]
    if ports.equivariant:
        end: list[nn.Module] = [decoder]
    else:
        pool = ScaledPool(space, kind, hidden, signs=sign_map)
        end = [pool, head(pool.out_features, hidden, ports.out, dropout)]
    broken = bidirectional and not reciprocal and not {"positive", "nonzero"}.isdisjoint(kind.values())
    return Body(nn.Sequential(encoder, *layers, *end), symmetry.restricted(scales=not broken))


@register("scalegmn")
def scalegmn(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 128,
    depth: int | None = None,
    signs: Signs = "by_task",
    dropout: float = 0.1,
) -> Body:
    """Message passing along the network, whose functions commute with signs and positive scales of neurons.

    Each neuron group has the functions of its own symmetry, so networks may mix activations. Beside the published
    network, hidden neurons are read out by the mean over each group instead of the sum over all.

    Source: Kalogeropoulos et al. (2024), arXiv 2406.10685.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels of nodes and edges.
        depth: number of layers; by default 10 for an equivariant and 4 for an invariant task.
        signs: what of features is invariant under signs: "absolute" values, or functions "symmetrized" over both
            signs; "by_task": the former for equivariant and the latter for invariant tasks, as published.
        dropout: probability.
    """
    return _body(space, ports, hidden, depth, signs, dropout, bidirectional=False, reciprocal=False)


@register("scalegmn-b")
def scalegmn_b(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 128,
    depth: int | None = None,
    signs: Signs = "by_task",
    dropout: float = 0.1,
    published: bool = False,
) -> Body:
    """ScaleGMN in both directions.

    Against the direction, a message goes from neuron i to neuron j through a weight that is multiplied by
    :math:`q_i / q_j`. For signs that is :math:`q_j / q_i` too; for positive scales its reciprocal takes its place.

    Source: Kalogeropoulos et al. (2024), arXiv 2406.10685.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels of nodes and edges.
        depth: number of layers; by default 10 for an equivariant and 4 for an invariant task.
        signs: see `scalegmn`.
        dropout: probability.
        published: use the weights themselves against the direction, as the published code does; then the network
            does not respect positive scales.
    """
    return _body(space, ports, hidden, depth, signs, dropout, bidirectional=True, reciprocal=not published)
