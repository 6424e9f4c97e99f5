"""Small modules that the checks of symmetries need, and that torch has no layer for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Gaussian", "Positions", "Residual", "SelfAttention", "rotated", "transformer"]


class Gaussian(nn.Module):
    """exp(-x^2), an even activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies it to any tensor."""
        return torch.exp(-x.square())


class Residual(nn.Module):
    """after(x + down(relu(up(x))))."""

    def __init__(self, width: int, hidden: int, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.up, self.down, self.after = nn.Linear(width, hidden), nn.Linear(hidden, width), after

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        return self.after(x + self.down(torch.relu(self.up(x))))


class Positions(nn.Module):
    """Adds a learned vector for each position of [N, T, width]."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(length, width))

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.table


class SelfAttention(nn.Module):
    """Attention over the positions of [N, T, width] without a residual connection, with rotary positions if asked."""

    def __init__(self, width: int, heads: int, *, rotary: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.heads, self.rotary = heads, rotary

    def forward(self, x: Tensor) -> Tensor:
        """The mixed values."""
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if self.rotary:
            q, k = rotated(q), rotated(k)
        mixed = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


def rotated(x: Tensor) -> Tensor:
    """[..., T, d]: turns each pair of neighbouring coordinates by an angle proportional to the position."""
    pairs = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2]).to(x)[:, None] * 0.1 ** torch.arange(pairs).to(x)
    first, second = x.unflatten(-1, (pairs, 2)).unbind(-1)
    turned = (first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos())
    return torch.stack(turned, -1).flatten(-2)


def transformer(*, norm_first: bool, activation: str = "relu", positions: bool = False) -> nn.Module:
    """[N, 5, 3] -> [N, 5, 2]: an embedding, one block of width 8 with 2 heads, a final norm, a linear head."""
    block = nn.TransformerEncoderLayer(
        8, 2, 12, activation=activation, batch_first=True, norm_first=norm_first, dropout=0.0
    )
    embedding = nn.Sequential(nn.Linear(3, 8), Positions(5, 8) if positions else nn.Identity())
    return nn.Sequential(embedding, block, nn.LayerNorm(8), nn.Linear(8, 2))
