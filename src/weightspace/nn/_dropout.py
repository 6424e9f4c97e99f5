"""Dropout whose random bits are cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["dropout"]


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeroes each entry with probability ``p`` and scales the others by 1 / (1 - p), in training only.

    On a CPU one 64-bit draw decides four entries (p is resolved to 2^-16); `torch.nn.functional.dropout` spends one
    draw on each, which costs more than the matrix products of the layer before it.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or p == 1:
        return F.dropout(x, p)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    factor = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(draws.view(torch.int16)[: x.numel()], round(p * 2**16) - 2**15, out=factor.view(-1))
    return x * factor.mul_(1 / (1 - p))
