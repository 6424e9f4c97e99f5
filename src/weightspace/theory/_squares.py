"""Squares as ReLU networks: products are made of them, ``a b = ((a + b)^2 - (a - b)^2) / 4``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DeepSquare", "Square", "WideSquare"]


class Square(nn.Module):
    """The square itself: an activation of degree 2.

    Attributes:
        pieces: the number of affine pieces; None, as there are none.
    """

    pieces: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Squares every entry."""
        return x.square()


class WideSquare(nn.Module):
    """A ReLU network with one hidden layer that interpolates the square between equidistant points.

    Args:
        radius: R; the interval is [-R, R].
        knots: number n of hidden units, and of affine pieces. The error is in [0, R^2 / n^2].
    """

    points: Tensor
    slopes: Tensor

    def __init__(self, radius: float, knots: int) -> None:
        super().__init__()
        self.radius, self.pieces = radius, knots
        ends = torch.linspace(-radius, radius, knots + 1, dtype=torch.float64)
        slope = ends[1:] + ends[:-1]
        self.register_buffer("points", ends[:-1])
        self.register_buffer("slopes", torch.cat([slope[:1], slope.diff()]))

    def forward(self, x: Tensor) -> Tensor:
        """Interpolates the square of every entry."""
        y = torch.full_like(x, self.radius**2)
        # a hidden unit at a time: side by side they would be n copies of the features
        for point, slope in zip(self.points.tolist(), self.slopes.tolist(), strict=True):
            y = y.add_(torch.relu(x - point), alpha=slope)
        return y


class DeepSquare(nn.Module):
    r"""A deep ReLU network for the square: :math:`x^2 = |x| - \sum_k g_k(|x|) / 4^k` on [-1, 1], scaled to [-R, R].

    :math:`g_k` is the k-fold composition of the tent map, three hidden units each, so that every layer doubles the
    number of affine pieces.

    Source: Yarotsky (2017), arXiv 1610.01145.

    Args:
        radius: R.
        depth: number m of compositions, for 2^(m + 1) pieces. The error is in [0, R^2 / 4^(m + 1)].
    """

    def __init__(self, radius: float, depth: int) -> None:
        super().__init__()
        self.radius, self.depth, self.pieces = radius, depth, 2 ** (depth + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Approximates the square of every entry."""
        tent = (torch.relu(x) + torch.relu(-x)) / self.radius
        total = tent
        for k in range(1, self.depth + 1):
            tent = 2 * torch.relu(tent) - 4 * torch.relu(tent - 0.5) + 2 * torch.relu(tent - 1)
            total = total - tent / 4**k
        return self.radius**2 * total
