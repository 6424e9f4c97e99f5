"""An operator on functions that asks for more affine pieces than a network has, and the error that it must pay."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._errors import TheoryError
from ..space import WeightFeatures
from ._arguments import check_finite, check_whole
from ._explicit import interpolant
from ._pieces import linear_pieces

__all__ = ["TiledZoom", "capacity_lower_bound"]


class TiledZoom:
    """The operator that takes f to f(T(x)): while x runs from 0 to 1, T runs from 0 to 1 and back, c times in all.

    It is linear and leaves the largest absolute value on [0, 1] as it is, so it is as continuous as an operator can be;
    and it multiplies the number of affine pieces by up to c. (The zoom f(cx) does neither more nor less than
    multiplying the first weights by c, and is no example of this kind.)

    Source: arXiv 2602.01083, proposition 7.1, made precise here.

    Args:
        folds: the number c.

    Raises:
        TheoryError: for folds that are no whole number of at least 1.

    Example:
        >>> import torch
        >>> TiledZoom(4)(torch.square)(torch.tensor([0.0, 0.125, 0.25, 0.5])).tolist()
        [0.0, 0.25, 1.0, 0.0]
    """

    def __init__(self, folds: int) -> None:
        check_whole("folds", folds)
        self.folds = folds

    def fold(self, x: Tensor) -> Tensor:
        """The triangle wave T, on tensors of any shape with entries from 0 to 1."""
        return 1 - ((self.folds * x) % 2 - 1).abs()

    def __call__(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The zoomed function."""
        return lambda x: function(self.fold(x))

    def preimages(self, points: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        """All x in [0, 1] that T takes to one of the points, c for each, in no order."""
        tile = torch.arange(self.folds, dtype=points.dtype)[:, None]
        return ((tile + torch.where(tile % 2 == 0, points[:, None], 1 - points[:, None])) / self.folds).flatten(1)

    def network(self, theta: WeightFeatures) -> WeightFeatures:
        """Networks with one hidden layer that compute, on [0, 1], the zoomed functions of ReLU networks with one input.

        Raises:
            TheoryError: for networks with several inputs or outputs, or without ReLU.
        """
        if (ends := (theta.space.groups[0].size, theta.space.groups[-1].size)) != (1, 1):
            raise TheoryError(f"expected networks with one input and one output, found {ends[0]} and {ends[1]}")
        bends = pad_sequence(list(linear_pieces(theta).breakpoints), batch_first=True, padding_value=1.0)
        ends_of_tiles = torch.linspace(0, 1, self.folds + 1, dtype=bends.dtype).expand(len(theta), -1)
        knots = torch.cat([ends_of_tiles, self.preimages(bends)], 1).sort(1).values
        values = theta.space.realize(theta.to(knots.dtype), self.fold(knots)[..., None])[..., 0]
        return interpolant(knots, values)


def capacity_lower_bound(values: Sequence[float] | Float[Tensor, "n"], pieces: int) -> float:
    """The largest error that every function of so many affine pieces makes somewhere, given values of the target.

    If the target goes up and down q + 1 times in turn, each time by at least 2e, a function that stays nearer than e
    goes up and down as often, which takes q + 1 pieces. So q pieces have an error of at least e. The result is the
    largest such e, found by search over the differences of values.

    Source: arXiv 2602.01083, proposition 7.1, sharpened here.

    Args:
        values: the target at ascending positions.
        pieces: the number q of pieces, such as `max_pieces` of the networks.

    Raises:
        TheoryError: for fewer than one piece, no values, and values that are not finite.

    Example:
        >>> capacity_lower_bound([0, 1, 0, 1, 0], pieces=3), capacity_lower_bound([0, 1, 0, 1, 0], pieces=4)
        (0.5, 0.0)
    """
    check_whole("pieces", pieces)
    target = torch.as_tensor(values, dtype=torch.float64).flatten()
    check_finite("values", target)
    if not len(target):
        raise TheoryError("values: expected at least one, found none")
    swings = (target[:, None] - target).abs().unique().tolist()
    largest = bisect_right(swings, -pieces - 1, lo=1, key=lambda swing: -_turns(target.tolist(), swing)) - 1
    return float(swings[largest] / 2)


def _turns(values: list[float], swing: float) -> int:
    """How often the values can go up and down in turn, each time by at least a swing."""
    low = high = values[0]
    count, rising = 0, None
    for value in values[1:]:
        low, high = min(low, value), max(high, value)
        if rising is not True and value - low >= swing:
            count, rising, high = count + 1, True, value
        elif rising is not False and high - value >= swing:
            count, rising, low = count + 1, False, value
    return count
