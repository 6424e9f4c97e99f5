r"""Functions for message passing that commute with signs and positive scales of neurons.

Where a neuron is scaled by q, its features are multiplied by q, and those of an edge from j to i by :math:`q_i / q_j`.
A map of features z that are multiplied by q commutes with it if it is a linear map without bias times a function of
what q leaves alone:

.. math:: f(z) = (W z) \odot \varphi(\mathrm{inv}(z))

with :math:`\varphi` linear - LayerNorm - SiLU - linear and inv, for signs, :math:`|z|` or
:math:`\rho(z) + \rho(-z)`; for positive scales, :math:`z / \lVert z \rVert`.

Source: Kalogeropoulos et al. (2024), arXiv 2406.10685, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..space import WeightSpace
from ._dropout import dropout
from ._functions import Nodes, NormalizedSiLU, sum_then_map
from ._graph import GraphPool, GraphState
from ._monomial import unit

__all__ = ["ScaledEdgeUpdate", "ScaledMessage", "ScaledNodeUpdate", "ScaledPool", "SignMap"]

SignMap = Literal["absolute", "symmetrized"]


class _Invariant(nn.Module):
    r"""A linear map of what signs or scales leave alone of features: the first half of :math:`\varphi \circ` inv.

    The last linear map of :math:`\rho` and the first one of :math:`\varphi`, with nothing between, are one map here.
    """

    def __init__(self, kind: str, signs: SignMap, channels: int, out_channels: int) -> None:
        super().__init__()
        self.kind, self.signs = kind, signs
        symmetrized = kind == "signs" and signs == "symmetrized"
        self.rho = nn.Linear(channels, out_channels) if symmetrized else None
        self.between = NormalizedSiLU(out_channels, 0.0) if symmetrized else None
        self.linear = nn.Linear(out_channels if symmetrized else channels, out_channels)

    def forward(self, z: Tensor) -> Tensor:
        if self.rho is not None and self.between is not None:
            h = F.linear(z, self.rho.weight)
            z = self.between(self.rho.bias + h) + self.between(self.rho.bias - h)
        elif self.kind == "signs":
            z = z.abs()
        elif self.kind == "positive":
            z = unit(z)
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

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes, axis: Literal[1, 2]) -> Tensor:
        """Messages through one block, summed over the senders; see `Message`."""
        sender: Tensor = self.of_sender((columns if axis == 2 else rows).x)
        z = edges[0] * sender.unsqueeze(3 - axis)
        h = self.between(self.first(z))
        if self.value is None:
            return sum_then_map(self.last, h, axis)
        messages: Tensor = self.value(z) * self.last(h)
        return messages.sum(axis)

    def collect(self, parts: list[Tensor], axis: Literal[1, 2]) -> Tensor:
        """What a group receives from several blocks."""
        return sum(parts[1:], start=parts[0])


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
        kinds: how each neuron group is scaled.
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
        pooled: Tensor = self.pool(GraphState(nodes, state.edges))
        return pooled
