"""Aggregation of messages on dense blocks, each pass with a fused gradient."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._pool import argmax

__all__ = ["aggregate", "masked_sum", "modulate"]

_VARIANCE_FLOOR = 1e-5  # what is added to the variance, so that equal messages have a finite gradient


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scale: Tensor, shift: Tensor, row: Tensor, column: Tensor) -> Tensor:
        ctx.save_for_backward(scale, row, column)
        ctx.mark_dirty(shift)
        return shift.addcmul_(scale, row.unsqueeze(2) + column.unsqueeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale, row, column = ctx.saved_tensors
        by_scale = g * scale
        g_row, g_column = by_scale.sum(2), by_scale.sum(1)
        torch.add(row.unsqueeze(2), column.unsqueeze(1), out=by_scale)
        return by_scale.mul_(g), g, g_row, g_column


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: Literal[1, 2]) -> Tensor:
        x = x.contiguous()
        largest, at_largest = argmax(x, axis)
        smallest, at_smallest = argmax(-x, axis)
        mean = x.mean(axis)
        std = (x - mean.unsqueeze(axis)).square_().mean(axis).add_(_VARIANCE_FLOOR).sqrt_()
        ctx.axis = axis
        ctx.save_for_backward(x, mean, std, at_largest, at_smallest)
        return torch.cat([mean, smallest.neg_(), largest, std], dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        x, mean, std, at_largest, at_smallest = ctx.saved_tensors
        axis, n = ctx.axis, x.shape[ctx.axis]
        g_mean, g_smallest, g_largest, g_std = g.chunk(4, dim=-1)
        slope = g_std / (n * std)
        gx = torch.addcmul((g_mean / n - mean * slope).unsqueeze(axis), x, slope.unsqueeze(axis))
        gx.scatter_add_(axis, at_largest.unsqueeze(axis), g_largest.unsqueeze(axis))
        gx.scatter_add_(axis, at_smallest.unsqueeze(axis), g_smallest.unsqueeze(axis))
        return gx, None


class _MaskedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, axis: Literal[1, 2]) -> Tensor:
        ctx.axis = axis
        ctx.save_for_backward(mask)
        if axis == 2:
            return (mask[:, None, None] @ x).squeeze(2)
        return (mask[:, None] @ x.flatten(2)).view(x.shape[0], *x.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        there = mask[:, None, :, None] if ctx.axis == 2 else mask[:, :, None, None]
        return g.unsqueeze(ctx.axis) * there, None, None


def masked_sum(
    x: Float[Tensor, "batch rows columns channels"], mask: Bool[Tensor, "batch senders"], axis: Literal[1, 2]
) -> Float[Tensor, "batch n channels"]:
    """The sum over axis 1 or 2 of what a mask leaves: a product with the mask, which writes nothing as large as x."""
    out: Tensor = _MaskedSum.apply(x, mask.to(x.dtype), axis)  # type: ignore[no-untyped-call]
    return out


def modulate(
    scale: Float[Tensor, "batch rows columns channels"],
    shift: Float[Tensor, "batch rows columns channels"],
    row: Float[Tensor, "batch rows channels"],
    column: Float[Tensor, "batch columns channels"],
) -> Float[Tensor, "batch rows columns channels"]:
    """``scale[i, j] * (row[i] + column[j]) + shift[i, j]``; overwrites the shift."""
    parts = scale, shift, row.to(shift.dtype), column.to(shift.dtype)
    out: Tensor = _Modulate.apply(*parts)  # type: ignore[no-untyped-call]
    return out


def aggregate(
    x: Float[Tensor, "batch rows columns channels"],
    axis: Literal[1, 2],
    mask: Bool[Tensor, "batch receivers_or_1 senders"] | None = None,
) -> Float[Tensor, "batch n four_channels"]:
    """Mean, minimum, maximum and standard deviation over axis 1 or 2, side by side; of what a mask leaves."""
    if mask is None:
        out: Tensor = _Aggregate.apply(x, axis)  # type: ignore[no-untyped-call]
        return out
    there = (mask if axis == 2 else mask.mT).unsqueeze(-1)
    count = there.sum(axis, dtype=x.dtype)
    mean = x.where(there, 0).sum(axis) / count
    variance = (x - mean.unsqueeze(axis)).square().where(there, 0).sum(axis) / count
    smallest, largest = x.where(there, math.inf).amin(axis), x.where(there, -math.inf).amax(axis)
    return torch.cat([mean, smallest, largest, (variance + _VARIANCE_FLOOR).sqrt()], dim=-1)
