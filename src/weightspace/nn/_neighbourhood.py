"""Functions for message passing with principal neighbourhood aggregation, as NG-GNN has them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._aggregate import aggregate, modulate
from ._dropout import dropout
from ._functions import Nodes, Received, senders

__all__ = ["LinearUpdate", "NeighbourhoodMessage", "NodeNorm"]


class NeighbourhoodMessage(nn.Module):
    r"""Messages :math:`s(e_{ij}) \odot U [x_i; x_j] + t(e_{ij})` with linear s, t, U, aggregated in eight ways.

    Their mean, minimum, maximum and standard deviation, and the same times :math:`\log(d_i + 1)` over its mean, where
    d is the number of senders. U splits into a part for each end, computed once per node.

    Source: Corso et al. (2020), arXiv 2004.05718, with the scalers "identity" and "amplification".

    Args:
        channels: of nodes, edges and messages.
        mean_log_degree: mean of log(d + 1) over all nodes.
    """

    def __init__(self, channels: int, mean_log_degree: float) -> None:
        super().__init__()
        self.width, self.mean_log_degree = 8 * channels, mean_log_degree
        self.scale, self.shift = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.of_receiver = nn.Linear(channels, channels, bias=False)
        self.of_sender = nn.Linear(channels, channels)

    def weights(self) -> list[Tensor]:
        """The linear maps of the edges."""
        return [self.scale.weight, self.shift.weight]

    def forward(self, edges: list[Tensor], rows: Nodes, columns: Nodes, axis: Literal[1, 2]) -> Received:
        """The messages through one block, less the bias of t; see `Message`."""
        of_row, of_column = (self.of_receiver, self.of_sender) if axis == 2 else (self.of_sender, self.of_receiver)
        messages = modulate(edges[0].add_(self.scale.bias), edges[1], of_row(rows.x), of_column(columns.x))
        mask = (columns if axis == 2 else rows).mask
        return Received(messages, messages.shape[axis], None if mask is None else mask.unsqueeze(1))

    def collect(self, parts: list[Received], axis: Literal[1, 2]) -> Tensor:
        """What a set receives from several blocks: all messages aggregated together."""
        messages = parts[0].x if len(parts) == 1 else torch.cat([part.x for part in parts], dim=axis)
        received = aggregate(messages, axis, _mask(parts, messages.shape[3 - axis]))
        bias = self.shift.bias
        received = received + torch.cat([bias, bias, bias, torch.zeros_like(bias)])
        count = senders(parts)
        logarithm = math.log(count + 1) if isinstance(count, int) else torch.log(count + 1)
        return torch.cat([received, received * (logarithm / self.mean_log_degree)], dim=-1)


def _mask(parts: list[Received], receivers: int) -> Tensor | None:
    """Which senders there are, for all blocks side by side: [batch, receivers or 1, senders]."""
    masks = [part.mask for part in parts if part.mask is not None]
    if not masks or len(parts) == 1:
        return masks[0] if masks else None
    return torch.cat([mask.expand(-1, receivers, -1) for mask in masks], dim=2)


class LinearUpdate(nn.Module):
    """A linear map of what a node has and receives.

    The published two linear maps with nothing between are one map here.

    Args:
        channels: of the nodes.
        incoming: channels of what they receive.
    """

    def __init__(self, channels: int, incoming: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels + incoming, channels)

    def forward(self, x: Tensor, incoming: list[Tensor]) -> Tensor:
        """New features."""
        out: Tensor = self.linear(torch.cat([x, *incoming], dim=-1))
        return out


class NodeNorm(nn.Module):
    """Normalisation, SiLU and dropout of the nodes of all groups.

    Args:
        channels: of the nodes.
        dropout: probability.
        across_batch: normalise by one mean and one variance of all channels of all nodes of all networks in the batch,
            as the published NG-GNN does, so that the features of a network depend on the others in its batch; a
            LayerNorm of every node otherwise.
    """

    def __init__(self, channels: int, dropout: float, *, across_batch: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.dropout, self.across_batch = dropout, across_batch

    def forward(self, nodes: dict[str, Tensor]) -> dict[str, Tensor]:
        """New features of all nodes."""
        if self.across_batch:
            std, mean = torch.std_mean(torch.cat([x.flatten() for x in nodes.values()]), correction=0)
            normalized = {
                g: (x - mean) / (std + self.norm.eps) * self.norm.weight + self.norm.bias for g, x in nodes.items()
            }
        else:
            normalized = {group: self.norm(x) for group, x in nodes.items()}
        return {group: dropout(F.silu(x), self.dropout, self.training) for group, x in normalized.items()}
