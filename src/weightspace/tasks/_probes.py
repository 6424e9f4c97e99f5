"""What the networks of a zoo answer to random inputs: all that a baseline needs that looks at functions alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..space import WeightFeatures
from ..zoo import Zoo, traced

__all__ = ["random_probes"]

_BATCH = 64


def random_probes(
    zoo: Zoo, points: int = 32, seed: int = 0
) -> Callable[[WeightFeatures], Float[Tensor, "batch features"]]:
    """A function that gives the outputs of networks of a zoo at random inputs, uniform in [-1, 1], side by side.

    No symmetry changes these features.

    Args:
        zoo: networks that `zoo.traced` knows how to run: INRs and other chains of layers, classifiers of
            `zoo.make_zoo`, published ones.
        points: number of inputs.
        seed: of the inputs.

    Raises:
        ZooError: if it is not known how to run the networks.
    """
    space, shape = traced(zoo)
    inputs = 2 * torch.rand(points, *shape, generator=torch.Generator().manual_seed(seed)) - 1

    def outputs(theta: WeightFeatures) -> Tensor:
        parts = [theta[start : start + _BATCH] for start in range(0, len(theta), _BATCH)]
        return torch.cat([space.realize(part, inputs.to(part.tensors[0])).flatten(1) for part in parts])

    return outputs
