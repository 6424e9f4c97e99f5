r"""Functions for message passing that commute with signs and scales of neurons.

Where a neuron is scaled by q, its features are multiplied by q, and those of an edge from j to i by :math:`q_i / q_j`.
A map of features z that are multiplied by q commutes with it if it is a linear map without bias times a function of
what q leaves alone:

.. math:: f(z) = (W z) \odot \varphi(\mathrm{inv}(z))

with :math:`\varphi` linear - LayerNorm - SiLU - linear and inv, for signs, :math:`|z|` or
:math:`\rho(z) + \rho(-z)`; for positive scales, :math:`z / \lVert z \rVert`; for any scales but zero, both after
another.

Source: Kalogeropoulos et al. (2024), arXiv 2406.10685, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..group import MatrixGroup
from ..space import NeuronGroup, SymmetryGroup, WeightSpace
from ._dropout import dropout
from ._ends import read_ends
from ._functions import Nodes, NormalizedSiLU, Received, senders
from ._graph import GraphState, graph_of
from ._graph_decoder import GraphPool
from ._monomial import unit

__all__ = ["ScaledEdgeUpdate", "ScaledMessage", "ScaledNodeUpdate", "ScaledPool", "SignMap", "node_symmetry"]

SignMap = Literal["absolute", "symmetrized"]


def node_symmetry(space: WeightSpace) -> SymmetryGroup:
    """The part of the largest symmetry under which each node has one scale and each weight those of its ends.

    A neuron group keeps its scales where all that its units carry is multiplied by them, or at the beginnings of
    weights by their inverses. Units that are tied to others (behind a norm), on a diagonal (a depthwise convolution),
    the coordinates of heads, or without a scale on some parameter keep their permutations alone, and so do those with
    general matrices.
    """
    largest = space.symmetry().restricted(linear=False)
    plain = largest.restricted(scales=False)
    products = {name for s in graph_of(space).sets.values() if len(s.factors) > 1 for name in s.factors}
    factors = [
        factor if group.tied is None and group.name not in products and _has_one_scale(space, group, factor) else rest
        for group, factor, rest in zip(space.groups, largest.factors, plain.factors, strict=True)
    ]
    return SymmetryGroup(space, tuple(factors))


def _has_one_scale(space: WeightSpace, group: NeuronGroup, factor: MatrixGroup) -> bool:
    for parameter, ends in zip(space.parameters, read_ends(space), strict=True):
        own = [axis for axis in parameter.axes if axis.group and space.group(axis.group).units == group.name]
        if any(axis.group != group.name or axis.side is None or axis.diagonal is not None for axis in own):
            return False
        expected = ["in"] * (ends.source or ()).count(group.name) + ["out"] * ends.target.count(group.name)
        if factor.scales != "signs" and sorted(str(axis.side) for axis in own) != expected:
            return False
    return True


class _Invariant(nn.Module):
    r"""A linear map of what signs or scales leave alone of features: the first half of :math:`\varphi \circ` inv.

    The last linear map of :math:`\rho` and the first one of :math:`\varphi`, with nothing between, are one map here.
    """

    def __init__(self, kind: str, signs: SignMap, channels: int, out_channels: int) -> None:
        super().__init__()
        self.signed, self.scaled = kind in ("signs", "nonzero"), kind in ("positive", "nonzero")
        symmetrized = self.signed and signs == "symmetrized"
        self.rho = nn.Linear(channels, out_channels) if symmetrized else None
        self.between = NormalizedSiLU(out_channels, 0.0) if symmetrized else None
        self.linear = nn.Linear(out_channels if symmetrized else channels, out_channels)

    def forward(self, z: Tensor) -> Tensor:
        if self.scaled:
            z = unit(z)
        if self.rho is not None and self.between is not None:
            h = F.linear(z, self.rho.weight)
            z = self.between(self.rho.bias + h) + self.between(self.rho.bias - h)
        elif self.signed:
            z = z.abs()
        out: Tensor = self.linear(z)
        return out


class ScaledMessage(nn.Module):
    r"""Message :math:`f((W_e e_{ij}) \odot (W_v x_j))`, summed over the senders; for their receivers' kind.

    The product is multiplied by what the receiver is. Where that is nothing, f is linear - LayerNorm - SiLU - linear.
    """

    def __init__(self, kind: str, signs: SignMap, channels: int, dropout: float) -> None:
        super().__init__()
        self.width = channels
        self.of_edge = nn.Linear(channels, channels, bias=False)
        self.of_sender = nn.Linear(channels, channels, bias=False)
        self.value = None if kind == "none" else nn.Linear(channels, channels, bias=False)
        self.first = _Invariant(kind, signs, channels, channels)
        self.between = NormalizedSiLU(channels, dropout)
        self.last = nn.Linear(channels, channels)

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.of_edge.weight]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes, axis: Literal[1, 2]) -> Received:
        """Messages through one block, summed over the senders; see `Message`."""
        sender: Tensor = self.of_sender((columns if axis == 2 else rows).x)
        z = edges[0] * sender.unsqueeze(3 - axis)
        h = self.between(self.first(z))
        messages = h if self.value is None else self.value(z) * self.last(h)
        return Received(messages.sum(axis), z.shape[axis])

    def collect(self, parts: list[Received], axis: Literal[1, 2]) -> Tensor:
        """What a set receives from several blocks."""
        total = sum((part.x for part in parts[1:]), start=parts[0].x)
        if self.value is not None:
            return total
        return F.linear(total, self.last.weight, senders(parts) * self.last.bias)


class ScaledNodeUpdate(nn.Module):
    """New features f([x_i; a_i; c_i]) of nodes that are scaled."""

    def __init__(
        self, kind: str, signs: SignMap, channels: int, incoming: int, out_channels: int, *, dropout: float, skip: bool
    ) -> None:
        super().__init__()
        self.value = nn.Linear(channels + incoming, out_channels, bias=False)
        self.first = _Invariant(kind, signs, channels + incoming, channels)
        self.between = NormalizedSiLU(channels, dropout)
        self.last = nn.Linear(channels, out_channels)
        self.skip = nn.Linear(channels, out_channels, bias=False) if skip else None
        self.dropout = dropout

    def forward(self, x: Tensor, incoming: list[Tensor]) -> Tensor:
        """New features."""
        z = torch.cat([x, *incoming], dim=-1)
        new = dropout(self.value(z) * self.last(self.between(self.first(z))), self.dropout, self.training)
        return new if self.skip is None else self.skip(x).add_(new)


class ScaledEdgeUpdate(nn.Module):
    r"""New features :math:`(W e_{ij}) \odot \varphi([\mathrm{inv}(x_j); \mathrm{inv}(x_i)])`, where an end is scaled.

    The first linear map of :math:`\varphi` splits into a part for each end, computed once per node.
    """

    def __init__(
        self,
        sources: Iterable[str],
        targets: Iterable[str],
        signs: SignMap,
        channels: int,
        out_channels: int,
        *,
        dropout: float,
        skip: bool,
    ) -> None:
        super().__init__()
        self.value = nn.Linear(channels, out_channels, bias=False)
        self.of_source, self.of_target = (
            nn.ModuleDict({kind: _Invariant(kind, signs, channels, channels) for kind in sorted(set(kinds))})
            for kinds in (sources, targets)
        )
        self.between = NormalizedSiLU(channels, dropout)
        self.last = nn.Linear(channels, out_channels)
        self.skip = nn.Linear(channels, out_channels, bias=False) if skip else None
        self.dropout = dropout

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.value.weight, *([] if self.skip is None else [self.skip.weight])]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes) -> Tensor:
        """New features of the edges from column nodes to row nodes."""
        h = self.of_target[rows.kind](rows.x).unsqueeze(2) + self.of_source[columns.kind](columns.x).unsqueeze(1)
        new = dropout(edges[0] * self.last(self.between(h)), self.dropout, self.training)
        return new if self.skip is None else edges[1].add_(new)


class ScaledPool(nn.Module):
    r"""Invariant features of a graph: means of :math:`\varphi(\mathrm{inv}(x_i))` over hidden groups, and all others.

    Args:
        space: weight space of the networks.
        kinds: how each set of nodes is scaled.
        channels: channels of the nodes.
        signs: what of features is invariant under signs.

    Attributes:
        out_features: length of the vector.
    """

    def __init__(self, space: WeightSpace, kinds: dict[str, str], channels: int, *, signs: SignMap) -> None:
        super().__init__()
        self.kinds = kinds
        self.pool = GraphPool(space, channels)
        self.out_features = self.pool.out_features
        self.maps = nn.ModuleDict(
            {
                kind: nn.Sequential(
                    _Invariant(kind, signs, channels, channels),
                    NormalizedSiLU(channels, 0.0),
                    nn.Linear(channels, channels),
                )
                for kind in sorted(set(kinds.values()) - {"none"})
            }
        )

    def forward(self, state: GraphState) -> Float[Tensor, "batch out_features"]:
        """Pools the nodes."""
        nodes = {g: x if self.kinds[g] == "none" else self.maps[self.kinds[g]](x) for g, x in state.nodes.items()}
        pooled: Tensor = self.pool(state._replace(nodes=nodes))
        return pooled
