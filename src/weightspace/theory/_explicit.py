"""ReLU networks with given breakpoints, written down rather than trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from .._errors import TheoryError
from ..space import WeightFeatures, mlp

__all__ = ["interpolant", "ramps", "sawtooth"]


def interpolant(
    knots: Float[Tensor, "batch n"],
    values: Float[Tensor, "batch n"],
    *,
    width: int | None = None,
    networks: int = 1,
) -> WeightFeatures:
    """Networks 1-width-1 whose mean goes through given points, affine between them, on the interval that they span.

    There is one unit relu(t - x) for each knot t but the first, or fewer: those whose weight is zero in the whole batch
    are left out. So a function of q pieces takes q units, and q - 1 if its last piece is flat.

    Args:
        knots: positions, ascending; a knot may come twice.
        values: what the mean is there.
        width: hidden units of each network; as many as needed if None.
        networks: the number k of networks whose mean is taken, as channels.

    Raises:
        TheoryError: for tensors that do not fit, or too few units.

    Example:
        >>> import torch
        >>> net = interpolant(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 1.0]]))
        >>> net.space.realize(net, torch.tensor([[0.25], [0.75]], dtype=torch.float64)).flatten().tolist()
        [0.5, 1.0]
    """
    if knots.dim() != 2 or knots.shape != values.shape or knots.shape[1] < 2 or (knots.diff(dim=1) < 0).any():
        raise TheoryError(
            "expected ascending knots and values of one shape (batch, at least 2), found shapes "
            f"{tuple(knots.shape)} and {tuple(values.shape)}"
        )
    knots, values = knots.double(), values.double()
    step = knots.diff(dim=1)
    slopes = torch.where(step > 0, values.diff(dim=1) / torch.where(step > 0, step, 1), 0)
    bends = pad(slopes, (0, 1)).diff(dim=1)  # behind the last knot all units are 0
    used = (bends != 0).any(0)
    bends, knots = bends[:, used], knots[:, 1:][:, used]
    width = max(1, -(-bends.shape[1] // networks)) if width is None else width
    spare = networks * width - bends.shape[1]
    if spare < 0:
        raise TheoryError(f"these points take {bends.shape[1]} units, found {networks} networks of {width}")
    # unit j of network i in place [:, j, i]; the mean divides by k
    knots, bends = (pad(t, (0, spare)).view(len(t), networks, width).mT for t in (knots, networks * bends))
    tensors = {
        "0.weight": torch.full_like(knots, -1)[:, :, None],
        "0.bias": knots,
        "2.weight": bends[:, None],
        "2.bias": values[:, -1:, None].repeat(1, 1, networks),
    }
    return mlp([1, width, 1]).features(tensors)


def sawtooth(depth: int) -> WeightFeatures:
    """The network of ``depth`` hidden layers of two units that has 2^depth affine pieces on [0, 1], going 0, 1, 0, ...

    Each layer is the tent 2 relu(x) - 4 relu(x - 1/2), so that the network is `TiledZoom(2 ** (depth - 1))` of a tent.

    Source: Telgarsky (2015), arXiv 1509.08101.
    """
    if depth < 1:
        raise TheoryError(f"expected at least one hidden layer, found {depth}")
    space = mlp([1] + [2] * depth + [1])
    tent = torch.tensor([2.0, -4.0], dtype=torch.float64)
    tensors = {}
    for parameter in space.parameters:
        if len(parameter.shape) == 2:
            row = tent if parameter.shape[1] == 2 else tent.new_ones(1)
        else:
            row = tent.new_tensor([0.0, -0.5]) if parameter.shape == (2,) else tent.new_zeros(1)
        tensors[parameter.name] = row.expand(1, *parameter.shape)[..., None]
    return space.features(tensors)


def ramps(slopes: Float[Tensor, "batch"], thresholds: Float[Tensor, "batch"]) -> WeightFeatures:
    """Networks 1-3-1 of three equal units that compute ``slope * relu(x - threshold)``, in float64.

    All their hidden biases are tied, so that none of them is in general position.
    """
    slopes, thresholds = slopes.double()[:, None, None], thresholds.double()[:, None, None]
    tensors = {
        "0.weight": torch.ones_like(slopes)[..., None].repeat(1, 3, 1, 1),
        "0.bias": -thresholds.repeat(1, 3, 1),
        "2.weight": (slopes[..., None] / 3).repeat(1, 1, 3, 1),
        "2.bias": torch.zeros_like(slopes),
    }
    return mlp([1, 3, 1]).features(tensors)
