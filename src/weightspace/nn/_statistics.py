"""Statistics of the weights of each parameter."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..space import WeightFeatures

__all__ = ["NUM_STATISTICS", "weight_statistics"]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)

NUM_STATISTICS = 2 + len(_QUANTILES)
"""Statistics of one parameter and channel."""


def weight_statistics(theta: WeightFeatures) -> Float[Tensor, "batch features"]:
    """Mean, unbiased variance, minimum, quartiles and maximum of each parameter and channel, over all its entries.

    The variance of a single entry is 0; quantiles are interpolated linearly.

    Source: Unterthiner et al. (2020), arXiv 2002.11448.

    Args:
        theta: weight features of B networks with C channels and T parameters.

    Returns:
        ``[B, 7 * C * T]``: parameter by parameter, channel by channel.
    """
    parts = []
    for tensor in theta.tensors:
        count = math.prod(tensor.shape[1:-1])
        entries = tensor.reshape(len(theta), count, theta.channels)
        mean = entries.mean(1, keepdim=True)
        variance = (entries - mean).square().sum(1, keepdim=True) / max(1, count - 1)
        # torch.quantile takes neither bfloat16 nor more than 2^24 entries
        ordered = entries.sort(dim=1).values
        places = [q * (count - 1) for q in _QUANTILES]
        quantiles = torch.lerp(
            ordered[:, [math.floor(place) for place in places]],
            ordered[:, [math.ceil(place) for place in places]],
            ordered.new_tensor([place % 1 for place in places])[:, None],
        )
        parts.append(torch.cat([mean, variance, quantiles], dim=1).mT.flatten(1))
    return torch.cat(parts, dim=1)
