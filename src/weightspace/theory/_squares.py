"""Squares as ReLU networks: products are made of them, ``a b = ((a + b)^2 - (a - b)^2) / 4``.

Beyond the interval that they are made for they go on with their last slope, on both sides alike. So they are even and
convex, as the square is, and stay below it there. That keeps products in bounds whose factors have left the interval,
see `ForwardPassNetwork.error_bound`.
"""

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

    Two units, ``relu(x - t)`` and ``relu(-x - t)``, bend at a point and at its negative.

    Args:
        radius: R; the interval is [-R, R].
        knots: number n of affine pieces, which takes n hidden units, or n - 1 if n is odd. The error is in
            [0, R^2 / n^2].
    """

    points: Tensor
    slopes: Tensor

    def __init__(self, radius: float, knots: int) -> None:
        super().__init__()
        self.radius, self.pieces = radius, knots
        step = 2 * radius / knots
        points = step * (torch.arange((knots + 1) // 2, dtype=torch.float64) + (knots % 2) / 2)[: knots // 2]
        self.least = (step / 2) ** 2 if knots % 2 else 0.0  # in the middle
        self.register_buffer("points", points)
        self.register_buffer("slopes", step * (1 + points.sign()))

    def forward(self, x: Tensor) -> Tensor:
        """Interpolates the square of every entry."""
        y, size = torch.full_like(x, self.least), x.abs()
        # a pair of hidden units at a time, which is relu(|x| - t): side by side they would be n copies of the features
        for point, slope in zip(self.points.tolist(), self.slopes.tolist(), strict=True):
            y = y.add_(torch.relu(size - point), alpha=slope)
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
        total = tent + (1 - 2 / self.pieces) * torch.relu(tent - 1)  # beyond 1 all g_k are 0
        for k in range(1, self.depth + 1):
            tent = 2 * torch.relu(tent) - 4 * torch.relu(tent - 0.5) + 2 * torch.relu(tent - 1)
            total = total - tent / 4**k
        square: Tensor = self.radius**2 * total
        return square
