"""The maximum of a set with means and ReLU alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..nn import Pointwise
from ..space import Axis, NeuronGroup, Parameter, WeightSpace
from ._simulation import Simulation, empty_layer, write

__all__ = ["max_to_dws"]


def max_to_dws(n: int) -> Simulation:
    """The maximum of n numbers as a DWS network, n - 1 equivariant linear layers with ReLU and a last one: exact.

    So pooling by maximum or minimum, as in DWSNets or in principal neighbourhood aggregation, adds nothing to what
    means can do. Of ``x - mean(x)`` at most n - 1 entries are positive; ReLU keeps these. Then for k = n - 1, ..., 2 a
    k-th of their sum is subtracted, which leaves at most k - 1 positive ones, and does not exceed the largest of them.
    The last one that is left, and all that was subtracted, add up to the maximum.

    Source: sharpened here; arXiv 2602.01083, Theorem 5.2, has approximations.

    Args:
        n: how many numbers.

    Returns:
        The network in float64, with infinite radius. Its space has one parameter "set" with n neurons, all of which get
        the maximum.

    Raises:
        TheoryError: for fewer than 2 numbers.

    Example:
        >>> import torch, weightspace as ws
        >>> net = ws.theory.max_to_dws(3)
        >>> x = torch.tensor([[0.5, -2.0, 4.0]], dtype=torch.float64)
        >>> net(net.space.features({"set": x[:, :, None]}))["set"].flatten().tolist()
        [4.0, 4.0, 4.0]
    """
    if n < 2:
        raise TheoryError(f"expected at least 2 numbers, found {n}")
    space = WeightSpace((NeuronGroup("set", n),), (Parameter("set", (Axis(n, "set", "out"),)),))
    # channels: what is left of each number; what was subtracted, its positive part and its negative one
    first = [[1.0], [0.0], [0.0]], [[-1 / n], [1 / n], [-1 / n]]
    between = [(torch.eye(3).tolist(), [[-1 / k, 0, 0], [1 / k, 0, 0], [0, 0, 0]]) for k in range(n - 1, 1, -1)]
    last = [[0.0, 1.0, -1.0]], [[1.0, 0.0, 0.0]]
    layers: list[nn.Module] = []
    for own, total in (first, *between, last):
        layer = empty_layer(space, len(own[0]), len(own))
        write(layer, "set", "set", ["set"], torch.tensor(own, dtype=torch.float64))
        write(layer, "set", "set", [], torch.tensor(total, dtype=torch.float64))
        layers += [layer, Pointwise(F.relu)]
    return Simulation(space, layers[:-1])
