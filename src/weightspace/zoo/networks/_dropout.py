"""Dropout in many networks at once, each with random numbers of its own."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Dropout"]

_LEVELS = 2**16  # a unit takes 16 random bits, the rate is rounded to them: four times as fast as uniform numbers


class Dropout:
    """Drops units of many networks in training; what a network gets does not depend on the others.

    Args:
        rates: share of the units dropped in each network, from 0 to below 1.
        streams: one random stream for each network.
    """

    def __init__(self, rates: Sequence[float], streams: Sequence[np.random.Generator]) -> None:
        self.streams = streams
        self.dropped = torch.tensor([round(rate * _LEVELS) for rate in rates])

    def __call__(self, x: Tensor, axis: int = 0) -> Tensor:
        """The units that remain, scaled by one over their share, and zeros.

        Args:
            x: activations.
            axis: the axis of ``x`` that counts the networks.
        """
        words = np.empty(x.shape, dtype=np.int16)
        for part, stream in zip(np.moveaxis(words, axis, 0), self.streams, strict=True):
            bits = stream.bit_generator.random_raw(-(-part.size // 4))
            part[:] = bits.view(np.int16)[: part.size].reshape(part.shape)
        shape = [-1 if i == axis else 1 for i in range(x.dim())]
        lowest = (self.dropped - _LEVELS // 2).to(torch.int16).view(shape)
        scale = (_LEVELS / (_LEVELS - self.dropped)).to(x.dtype).view(shape)
        return x * ((torch.from_numpy(words) >= lowest) * scale)
