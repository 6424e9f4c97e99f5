"""The functions that message passing is made of, as GMN has them: of messages, of nodes and of edges."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ._dropout import dropout
from ._pool import add_rows_and_columns

__all__ = ["EdgeUpdate", "Message", "NodeUpdate", "Nodes", "NormalizedSiLU", "sum_then_map"]


class Nodes(NamedTuple):
    """The features of one neuron group, and how its symmetry scales them: "none", "signs" or "positive"."""

    x: Float[Tensor, "batch n channels"]
    kind: str


class NormalizedSiLU(nn.Module):
    """LayerNorm, SiLU, dropout: what stands between the two linear maps of a message or update function."""

    def __init__(self, channels: int, dropout: float, *, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Applies the three."""
        return dropout(F.silu(self.norm(x)), self.dropout, self.training)


class Message(nn.Module):
    r"""The message function of GMN: linear - LayerNorm - SiLU - linear on ``[e_ij; x_j]``, summed over the senders.

    The first linear map splits into an edge part and a node part, which is computed once per node; the last one
    commutes with the sum. So an edge costs one matrix product.

    Args:
        channels: of nodes, edges and messages.
        dropout: probability.

    Attributes:
        width: channels of what a node receives.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.width = channels
        self.of_edge = nn.Linear(channels, channels, bias=False)
        self.of_sender = nn.Linear(channels, channels)
        self.between = NormalizedSiLU(channels, dropout)
        self.last = nn.Linear(channels, channels)

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.of_edge.weight]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes, axis: Literal[1, 2]) -> Tensor:
        """Messages through one block, summed over the senders.

        Args:
            edges: the mapped edges ``[batch, rows, columns, channels]``.
            rows: nodes at the ends of the weights.
            columns: nodes at their beginnings.
            axis: of the senders: 2 along the direction of the network, 1 against it.
        """
        sender = self.of_sender((columns if axis == 2 else rows).x)
        h = add_rows_and_columns(edges[0], *((None, sender) if axis == 2 else (sender, None)))
        return sum_then_map(self.last, self.between(h), axis)

    def collect(self, parts: list[Tensor], axis: Literal[1, 2]) -> Tensor:
        """What a group receives from several blocks."""
        return sum(parts[1:], start=parts[0])


def sum_then_map(last: nn.Linear, h: Tensor, axis: Literal[1, 2]) -> Tensor:
    """The sum of ``last(h)`` over one axis; the linear map acts on the sum."""
    return F.linear(h.sum(axis), last.weight, h.shape[axis] * last.bias)


class NodeUpdate(nn.Module):
    """The node function of GMN: linear - LayerNorm - SiLU - linear on what a node has and receives.

    Args:
        channels: of the nodes.
        incoming: channels of what they receive.
        out_channels: of the result.
        dropout: probability.
        skip: add a linear map of the old features.
    """

    def __init__(self, channels: int, incoming: int, out_channels: int, *, dropout: float, skip: bool) -> None:
        super().__init__()
        self.first = nn.Linear(channels + incoming, channels)
        self.between = NormalizedSiLU(channels, dropout)
        self.last = nn.Linear(channels, out_channels)
        self.skip = nn.Linear(channels, out_channels, bias=False) if skip else None
        self.dropout = dropout

    def forward(self, x: Tensor, incoming: list[Tensor]) -> Tensor:
        """New features."""
        new = dropout(
            self.last(self.between(self.first(torch.cat([x, *incoming], dim=-1)))), self.dropout, self.training
        )
        return new if self.skip is None else self.skip(x).add_(new)


class EdgeUpdate(nn.Module):
    """The edge function of GMN: linear - LayerNorm - SiLU - linear on ``[e_ij; x_j; x_i]``.

    Args:
        channels: of nodes and edges.
        out_channels: of the result.
        dropout: probability.
        skip: add a linear map of the old features.
        norm: whether there is a LayerNorm.
    """

    def __init__(self, channels: int, out_channels: int, *, dropout: float, skip: bool, norm: bool = True) -> None:
        super().__init__()
        self.of_edge = nn.Linear(channels, channels, bias=False)
        self.of_source, self.of_target = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.between = NormalizedSiLU(channels, dropout, norm=norm)
        self.last = nn.Linear(channels, out_channels)
        self.skip = nn.Linear(channels, out_channels, bias=False) if skip else None
        self.dropout = dropout

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.of_edge.weight, *([] if self.skip is None else [self.skip.weight])]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes) -> Tensor:
        """New features of the edges from column nodes to row nodes."""
        h = add_rows_and_columns(edges[0], self.of_target(rows.x), self.of_source(columns.x))
        new = dropout(self.last(self.between(h)), self.dropout, self.training)
        return new if self.skip is None else edges[1].add_(new)
