"""The affine pieces of ReLU networks on a line: exact breakpoints, layer after layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._errors import TheoryError
from ..space import WeightFeatures
from ._chain import layers

__all__ = ["LinearPieces", "linear_pieces"]

_MERGE = 1e-12  # of the segment: nearer breakpoints are one
_KINK = 1e-12  # of what all paths to an output add up to: smaller changes of its slope are rounding


class LinearPieces(NamedTuple):
    """Where the networks of a batch bend on a segment.

    Attributes:
        breakpoints: for each network its breakpoints in ascending order, in float64: values of x for two numbers,
            positions from 0 to 1 for a segment between two points.
        pieces: [batch], how many affine pieces each network has on the segment: one more than breakpoints.
    """

    breakpoints: tuple[Float[Tensor, "count"], ...]
    pieces: Int[Tensor, "batch"]


def linear_pieces(
    theta: WeightFeatures, low: float | Float[Tensor, "inputs"] = 0.0, high: float | Float[Tensor, "inputs"] = 1.0
) -> LinearPieces:
    """The breakpoints of ReLU networks on a segment, up to rounding, and the number of their affine pieces.

    Between the breakpoints of all units in front of it, what enters a unit is affine, so its zeros are those of a
    chord. Going through the layers collects the zeros of all units; of these, the points where a slope of the output
    changes are the breakpoints. Units that bend at the same place count once, those that cancel do not count.

    Rounding sets two limits: breakpoints nearer to each other than 1e-12 of the segment are one, and the slope of an
    output changes only if it does by more than 1e-12 of the sum, over all paths to that output, of the absolute values
    of the weights along them. Each output has a limit of its own: steep ones do not hide the bends of flat ones.

    Source: arXiv 2602.01083, proposition 7.1 (the count); exact propagation is standard for networks with one input.

    Args:
        theta: a batch of ReLU networks, one channel.
        low: the start of the segment: a number if the networks have one input, or a point.
        high: its end.

    Raises:
        TheoryError: for other networks, an empty batch, weights that are not finite, or ends that do not fit.

    Example:
        >>> import torch, weightspace as ws
        >>> tent = ws.theory.interpolant(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
        >>> linear_pieces(tent)
        LinearPieces(breakpoints=(tensor([0.5000], dtype=torch.float64),), pieces=tensor([2]))
    """
    chain = layers(theta.to(torch.float64).detach(), "linear pieces")
    start, end, first, last = _segment(theta, low, high)
    points = torch.tensor([first, last], dtype=torch.float64).repeat(len(theta), 1)

    def at(position: Tensor) -> Tensor:
        """[batch, N] -> [batch, inputs, N]."""
        share = (position[:, None] - first) / (last - first)
        return start[:, None] + share * (end - start)[:, None]

    for depth in range(1, len(chain)):
        points = _with_zeros(points, _entering(chain[:depth], at(points)))
    middle = (points[:, 1:] + points[:, :-1]) / 2
    direction = (end - start) / (last - first)
    slopes = _slopes(chain, at(middle), direction)
    bends = (slopes.diff(dim=2).abs() > _KINK * _paths(chain, direction)).any(1) & (points[:, 1:-1] < last)
    count = bends.sum(1)
    return LinearPieces(points[:, 1:-1][bends].split(count.tolist()), count + 1)


def _segment(theta: WeightFeatures, low: float | Tensor, high: float | Tensor) -> tuple[Tensor, Tensor, float, float]:
    """The two ends as points, and the numbers that breakpoints are counted in."""
    inputs = theta.space.groups[0].size
    start, end = (torch.as_tensor(x, dtype=torch.float64) for x in (low, high))
    numbers = start.dim() == end.dim() == 0
    if (numbers and inputs != 1) or (not numbers and not start.shape == end.shape == (inputs,)):
        raise TheoryError(
            f"the ends of the segment: expected points of shape ({inputs},){' or numbers' if inputs == 1 else ''}, "
            f"found shapes {tuple(start.shape)} and {tuple(end.shape)}"
        )
    if not (torch.isfinite(start) & torch.isfinite(end)).all() or torch.equal(start, end) or (numbers and start > end):
        raise TheoryError(f"the ends of the segment: expected finite ones, low below high, found {low} and {high}")
    return (start[None], end[None], float(start), float(end)) if numbers else (start, end, 0.0, 1.0)


def _entering(chain: Sequence[tuple[Tensor, Tensor]], x: Float[Tensor, "batch d n"]) -> Float[Tensor, "batch units n"]:
    """What enters the units of the last of these layers."""
    for i, (weight, bias) in enumerate(chain):
        x = torch.baddbmm(bias[..., None], weight, x.relu() if i else x)
    return x


def _with_zeros(points: Float[Tensor, "batch n"], values: Float[Tensor, "batch units n"]) -> Float[Tensor, "batch m"]:
    """The points, which ascend, and the zeros of functions that are affine between them; the end fills up the rows."""
    left, right = values[..., :-1], values[..., 1:]
    crosses = left * right < 0
    share = torch.where(crosses, left, 0) / torch.where(crosses, left - right, 1)
    zeros = points[:, None, :-1] + share * points.diff(dim=1)[:, None]
    last = points[0, -1]
    points = torch.cat([points, torch.where(crosses, zeros, last).flatten(1)], 1).sort(1).values
    tolerance = _MERGE * (last - points[0, 0])
    again = points.diff(dim=1, append=last.expand(len(points), 1)) <= tolerance
    points = torch.where(again, last, points).sort(1).values
    return points[:, : int((points < last).sum(1).max()) + 1]


def _slopes(
    chain: Sequence[tuple[Tensor, Tensor]], x: Float[Tensor, "batch d n"], direction: Float[Tensor, "d"]
) -> Float[Tensor, "batch out n"]:
    """The derivatives of the outputs at points, along a direction."""
    slope = direction[:, None].expand_as(x)
    for i, (weight, bias) in enumerate(chain):
        if i:
            slope, x = slope * (x > 0), x.relu()
        slope, x = weight @ slope, torch.baddbmm(bias[..., None], weight, x)
    return slope


def _paths(chain: Sequence[tuple[Tensor, Tensor]], direction: Float[Tensor, "d"]) -> Float[Tensor, "batch out 1"]:
    """For each output the sum of the absolute values of all paths to it: what no slope exceeds."""
    total = direction.abs()[:, None]
    for weight, _ in chain:
        total = weight.abs() @ total
    return total
