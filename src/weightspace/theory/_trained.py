"""A small editor that was trained, for conversions to show that they take real networks and not drawn ones alone."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..models import build
from ..space import WeightFeatures, WeightSpace, mlp

__all__ = ["Editor", "trained_editor"]


class Editor(NamedTuple):
    """A network that computes changes of weights, in evaluation mode and float64.

    Attributes:
        network: maps the weights of a network to those changes.
        theta: networks on which it was not trained.
        before: the squared error of these networks, unchanged.
        after: that of the networks that it has edited.
    """

    network: nn.Module
    theta: WeightFeatures
    before: float
    after: float


@functools.cache
def trained_editor(seed: int = 0, steps: int = 120) -> Editor:
    """A "dws" network that has learned to edit 2-6-6-2 networks f so that they compute ``|f|``.

    It has all that its architecture can have and remain affine between ReLUs: standardisation, linear neuron maps with
    mean pooling, batch normalisation.

    Args:
        seed: of all draws.
        steps: of Adam, on 32 new networks each.
    """
    space = mlp([2, 6, 6, 2], activation="tanh")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(
            "dws", space, hidden=8, depth=3, reduction="mean", neuron_map="linear", batch_norm=True, dropout=0.0
        ).double()
        network.standardize.fit(_draw(space, 512))
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(steps):
            theta, x = _draw(space, 32), torch.rand(64, 2, dtype=torch.float64) * 2 - 1
            optimizer.zero_grad()
            _error(theta, theta + 0.1 * network(theta), x).backward()
            optimizer.step()
        network.eval()
        theta, x = _draw(space, 128), torch.rand(64, 2, dtype=torch.float64) * 2 - 1
        with torch.no_grad():
            before, after = (float(_error(theta, t, x)) for t in (theta, theta + 0.1 * network(theta)))
    return Editor(network, theta, before, after)


def _draw(space: WeightSpace, number: int) -> WeightFeatures:
    return space.sample(number).map(lambda t: 1.5 * t.double())


def _error(theta: WeightFeatures, edited: WeightFeatures, x: Tensor) -> Tensor:
    space = theta.space
    return (space.realize(edited, x) - space.realize(theta, x).abs()).square().mean()
