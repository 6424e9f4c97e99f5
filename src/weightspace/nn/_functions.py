"""The functions that message passing is made of, as GMN has them: of messages, of nodes and of edges."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ._aggregate import masked_sum
from ._blocks import Block
from ._dropout import dropout
from ._pool import Reduction, add_rows_and_columns

__all__ = ["EdgeUpdate", "Message", "NodeUpdate", "Nodes", "NormalizedSiLU", "Received", "senders"]


class Nodes(NamedTuple):
    """The features of one set of nodes, and how its symmetry scales them: "none", "signs", "positive" or "nonzero".

    Where networks of different widths are padded to one, the mask tells which nodes there are.
    """

    x: Float[Tensor, "batch n channels"]
    kind: str
    mask: Bool[Tensor, "batch n"] | None = None


class Received(NamedTuple):
    """What arrives through one block, aggregated or one by one, and the number of senders or which of them there are.

    Messages one by one have the axes of the block, ``[batch, rows, columns, channels]``.
    """

    x: Float[Tensor, "batch receivers channels"]
    number: int
    mask: Bool[Tensor, "batch receivers_or_1 senders"] | None = None

    def on(self, block: Block, axis: Literal[1, 2]) -> Received:
        """The same for the nodes of a whole set; axis is that of the senders."""
        if block.shared == 1:
            return self
        mask = self.mask
        if mask is not None:
            receivers = block.rows if axis == 2 else block.columns
            mask = block.receivers(mask.expand(-1, receivers, -1), axis)
        return Received(block.receivers(self.x, axis), self.number, mask)


def senders(parts: Sequence[Received]) -> int | Float[Tensor, "batch receivers_or_1 1"]:
    """How many senders there are in all blocks."""
    masks = [part.mask for part in parts if part.mask is not None]
    if len(masks) < len(parts):
        return sum(part.number for part in parts)
    counts = [mask.sum(-1, keepdim=True, dtype=parts[0].x.dtype) for mask in masks]
    return sum(counts[1:], start=counts[0])


class NormalizedSiLU(nn.Module):
    """LayerNorm, SiLU, dropout: what stands between the two linear maps of a message or update function."""

    def __init__(self, channels: int, dropout: float, *, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Applies the three."""
        return dropout(F.silu(self.norm(x)), self.dropout, self.training)


def _between(channels: int, dropout: float, *, norm: bool = True, relu: bool = False) -> nn.Module:
    return nn.ReLU() if relu else NormalizedSiLU(channels, dropout, norm=norm)


class Message(nn.Module):
    r"""The message function of GMN: linear - LayerNorm - SiLU - linear on ``[e_ij; x_j]``, summed over the senders.

    The first linear map splits into an edge part and a node part, which is computed once per node; the last one
    commutes with the sum and is applied to it. So an edge costs one matrix product.

    Args:
        channels: of nodes, edges and messages.
        dropout: probability.
        reduction: "sum" over the senders, their "mean", or the entry-wise "max" of what enters the last linear map.
        relu: ReLU in the place of LayerNorm, SiLU and dropout.

    Attributes:
        width: channels of what a node receives.
    """

    def __init__(self, channels: int, dropout: float, reduction: Reduction = "sum", *, relu: bool = False) -> None:
        super().__init__()
        self.width, self.reduction = channels, reduction
        self.of_edge = nn.Linear(channels, channels, bias=False)
        self.of_sender = nn.Linear(channels, channels)
        self.between = _between(channels, dropout, relu=relu)
        self.last = nn.Linear(channels, channels)

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.of_edge.weight]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes, axis: Literal[1, 2]) -> Received:
        """Messages through one block, pooled over the senders.

        Args:
            edges: the mapped edges ``[batch, rows, columns, channels]``.
            rows: nodes at the ends of the weights.
            columns: nodes at their beginnings.
            axis: of the senders: 2 along the direction of the network, 1 against it.
        """
        nodes = columns if axis == 2 else rows
        sender = self.of_sender(nodes.x)
        h = self.between(add_rows_and_columns(edges[0], *((None, sender) if axis == 2 else (sender, None))))
        mask = None if nodes.mask is None else nodes.mask.unsqueeze(1)
        return Received(_pool(h, axis, self.reduction, nodes.mask), h.shape[axis], mask)

    def collect(self, parts: list[Received], axis: Literal[1, 2]) -> Tensor:
        """What a set receives from several blocks."""
        pooled = [part.x for part in parts]
        if self.reduction == "max":
            return cast(Tensor, self.last(functools.reduce(torch.maximum, pooled)))
        total, count = sum(pooled[1:], start=pooled[0]), senders(parts)
        if self.reduction == "mean":
            return cast(Tensor, self.last(total / count))
        if isinstance(count, int):
            return F.linear(total, self.last.weight, count * self.last.bias)
        return F.linear(total, self.last.weight) + count * self.last.bias


def _pool(h: Tensor, axis: Literal[1, 2], reduction: Reduction, mask: Tensor | None) -> Tensor:
    """The sum over one axis, or the maximum, of what the mask leaves."""
    if mask is None:
        return h.amax(axis) if reduction == "max" else h.sum(axis)
    if reduction == "max":
        return h.masked_fill(~mask[:, None, :, None] if axis == 2 else ~mask[:, :, None, None], -math.inf).amax(axis)
    return masked_sum(h, mask, axis)


class NodeUpdate(nn.Module):
    """The node function of GMN: linear - LayerNorm - SiLU - linear on what a node has and receives.

    Args:
        channels: of the nodes.
        incoming: channels of what they receive.
        out_channels: of the result.
        dropout: probability.
        skip: add a linear map of the old features.
        relu: ReLU in the place of LayerNorm, SiLU and dropout.
    """

    def __init__(
        self, channels: int, incoming: int, out_channels: int, *, dropout: float, skip: bool, relu: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Linear(channels + incoming, channels)
        self.between = _between(channels, dropout, relu=relu)
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
        relu: ReLU in the place of LayerNorm, SiLU and dropout.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        dropout: float,
        skip: bool,
        norm: bool = True,
        relu: bool = False,
    ) -> None:
        super().__init__()
        self.of_edge = nn.Linear(channels, channels, bias=False)
        self.of_source, self.of_target = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.between = _between(channels, dropout, norm=norm, relu=relu)
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
