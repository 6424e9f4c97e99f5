"""How well one list of numbers predicts another: rank correlation with its uncertainty, R², accuracy."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["kendall_tau", "r_squared", "tau_interval"]

_ROWS = 1024  # of the matrix of pairs, at a time


def kendall_tau(predicted: Float[Tensor, " n"], true: Float[Tensor, " n"]) -> float:
    r"""Kendall's rank correlation with ties, τ-b.

    .. math:: \tau_b = \frac{\sum_{i<j} s_{ij} t_{ij}}{\sqrt{\sum_{i<j} s_{ij}^2} \sqrt{\sum_{i<j} t_{ij}^2}},
        \qquad s_{ij} = \operatorname{sign}(x_i - x_j), \quad t_{ij} = \operatorname{sign}(y_i - y_j).

    A constant list has no order to agree with: then the value is 0 (other implementations return NaN). NaN among the
    numbers gives NaN, and so do fewer than two of them.

    Source: Kendall (1945), *The treatment of ties in ranking problems*.

    Example:
        >>> import torch
        >>> kendall_tau(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.1, 0.2, 0.4, 0.3])) * 6
        4.0
    """
    return float(_weighted_tau(predicted, true, torch.ones(1, len(true)))[0])


def tau_interval(
    predicted: Float[Tensor, " n"],
    true: Float[Tensor, " n"],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of `kendall_tau`: over the networks, not over training runs.

    Args:
        predicted: one number for each network.
        true: what it should be.
        level: the share of resamples between the two ends.
        draws: resamples of n networks with replacement.
        seed: of the draws.
    """
    n = len(true)
    chosen = torch.randint(n, (draws, n), generator=torch.Generator().manual_seed(seed))
    weights = torch.zeros(draws, n).scatter_add_(1, chosen, torch.ones(draws, n))
    low, high = _weighted_tau(predicted, true, weights).quantile(
        torch.tensor([0.5 - level / 2, 0.5 + level / 2]).double()
    )
    return float(low), float(high)


def _weighted_tau(x: Tensor, y: Tensor, weights: Float[Tensor, "draws n"]) -> Float[Tensor, " draws"]:
    """τ-b of lists in which entry i stands ``weights[r, i]`` times: sums over pairs become quadratic forms.

    All counts below 2^24 are exact in float32.
    """
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    sums = torch.zeros(3, len(weights), dtype=torch.float64)
    for part in torch.arange(len(x)).split(_ROWS):
        s, t = ((values[part, None] - values).sign().float() for values in (x, y))
        for which, pairs in enumerate((s * t, s.abs(), t.abs())):
            sums[which] += ((weights[:, part] @ pairs) * weights).sum(1, dtype=torch.float64)
    if len(x) < 2 or x.isnan().any() or y.isnan().any():  # the sign of NaN is 0
        return torch.full((len(weights),), math.nan, dtype=torch.float64)
    spread = (sums[1] * sums[2]).sqrt()
    return torch.where(spread == 0, 0.0, sums[0] / spread)


def r_squared(predicted: Float[Tensor, " n"], true: Float[Tensor, " n"]) -> float:
    """The coefficient of determination, 1 − Σ(y − x)² / Σ(y − ȳ)²; it may be negative, and is NaN for constant y."""
    x, y = predicted.double(), true.double()
    return float(1 - (y - x).square().sum() / (y - y.mean()).square().sum())
