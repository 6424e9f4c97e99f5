"""A task for networks on the canonical form: random elements of the orbits of a pair, told apart by noise on biases."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...space import WeightFeatures
from .._pairs import wl_pair

__all__ = ["fit", "moved_apart", "noisy_pair", "ranks"]

BIASES = ("0.bias", "2.bias")


def noisy_pair(batch: int, noise: float, generator: torch.Generator) -> tuple[WeightFeatures, Float[Tensor, "batch 1"]]:
    """Permuted copies of the networks of `wl_pair`, with noise on the hidden biases, and -1 or 1: which of the two."""
    both = _both()
    which = torch.randint(0, 2, (batch,), generator=generator)
    group = both.space.symmetry("permutation")
    theta = group.act(group.sample(batch, generator, dtype=torch.float64), both[which])
    drawn = {name: torch.randn(theta[name].shape, generator=generator, dtype=torch.float64) for name in BIASES}
    noisy = {name: theta[name] + noise * drawn[name] for name in BIASES}
    return both.space.features({**theta, **noisy}), 2.0 * which[:, None].double() - 1


def moved_apart(gap: float) -> WeightFeatures:
    """The two networks of `wl_pair`, with hidden biases at distance ``gap``, the same in both."""
    both = _both()
    steps = gap * torch.arange(4, dtype=torch.float64)[:, None]
    return both.space.features({**both, **{name: both[name] + steps for name in BIASES}})


def ranks(theta: WeightFeatures) -> Float[Tensor, "batch 4 1 1"]:
    """The ranks of the first hidden neurons by their biases, from -1/2 to 1/2: a target at the first weights."""
    order = theta["0.bias"][..., 0].argsort(dim=1).argsort(dim=1)
    scaled: Tensor = order.double() / 3 - 0.5
    return scaled[..., None, None]


def fit(net: nn.Module, loss: Callable[[torch.Generator], Tensor], steps: int) -> list[float]:
    """Trains a network with Adam on the loss of freshly drawn batches; returns the losses."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(generator)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    net.eval()
    return losses


def _both() -> WeightFeatures:
    first, second = wl_pair()
    return first.map(lambda a, b: torch.cat([a, b]), second)
