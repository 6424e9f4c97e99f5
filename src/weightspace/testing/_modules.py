"""Blocks of which random networks are built: what torch itself has no layer for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Attention", "Concatenate", "Gate", "Last", "Mean", "Outputs", "Residual", "SqueezeExcite", "Twice"]


class Residual(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


class Concatenate(nn.Module):
    """What several branches make of the same input, side by side along an axis."""

    def __init__(self, branches: list[nn.Module], dim: int) -> None:
        super().__init__()
        self.branches, self.dim = nn.ModuleList(branches), dim

    def forward(self, x: Tensor) -> Tensor:
        """All branches."""
        return torch.cat([branch(x) for branch in self.branches], self.dim)


class Gate(nn.Module):
    """One half of what a layer makes, times an activation of the other half."""

    def __init__(self, layer: nn.Module, activation: Callable[[Tensor], Tensor], dim: int) -> None:
        super().__init__()
        self.layer, self.activation, self.dim = layer, activation, dim

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        value, gate = self.layer(x).chunk(2, self.dim)
        out: Tensor = value * self.activation(gate)
        return out


class SqueezeExcite(nn.Module):
    """Channels of an image times gates made of their means."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The gated image."""
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * gates[:, :, None, None]


class Attention(nn.Module):
    """Attention over the positions of [N, T, width], with one layer for queries, keys and values, or three."""

    def __init__(self, width: int, heads: int, *, packing: str, fused: bool, causal: bool) -> None:
        super().__init__()
        self.heads, self.packing, self.fused, self.causal = heads, packing, fused, causal
        if packing == "separate":
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        else:
            self.packed = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The mixed values."""
        batch, length, width = x.shape
        q, k, v = self._projections(x)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
            if self.causal:
                later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
                scores = scores.masked_fill(later, -math.inf)
            mixed = scores.softmax(-1) @ v
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return out

    def _projections(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each [N, heads, T, width / heads]."""
        batch, length, width = x.shape
        size = width // self.heads
        if self.packing == "separate":
            return tuple(
                layer(x).view(batch, length, self.heads, size).transpose(1, 2)
                for layer in (self.query, self.key, self.value)
            )
        packed = self.packed(x)
        if self.packing == "thirds":
            parts = packed.split(width, -1)
            return tuple(part.view(batch, length, self.heads, size).transpose(1, 2) for part in parts)
        if self.packing == "heads":  # all three of one head, then those of the next
            return tuple(packed.view(batch, length, self.heads, 3 * size).transpose(1, 2).chunk(3, -1))
        return tuple(packed.reshape(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4).unbind(0))


class Outputs(nn.Module):
    """What a recurrent layer puts out, without its last state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, width]."""
        out: Tensor = self.layer(x)[0]
        return out


class Twice(nn.Module):
    """One module, two times."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """body(body(x))."""
        out: Tensor = self.body(self.body(x))
        return out


class Mean(nn.Module):
    """The mean over the axes between the first and the channels."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels]."""
        return x.mean(self.dims)


class Last(nn.Module):
    """The last position of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, width]."""
        return x[:, -1]
