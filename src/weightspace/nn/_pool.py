"""The passes over an entry-wise tensor that the engines need, each with a fused gradient.

A layer on a weight matrix is ``y[i, j] = A x[i, j] + row[i] + column[j]``, where row and column come from pools of x.
Left to autograd, every pool and every broadcast of the backward pass writes a tensor as large as x; written as
functions of their own, the backward pass costs about what the forward pass does.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .._errors import ModelError
from ._layout import autocast_dtype

__all__ = ["Reduction", "add_rows_and_columns", "argmax", "fan_out", "map_and_pool", "reduce"]

Reduction = Literal["mean", "sum", "max"]


def reduce(x: Tensor, axis: int, reduction: Reduction) -> Tensor:
    """Pools one axis."""
    if reduction not in get_args(Reduction):
        raise ModelError(f"reduction: expected 'mean', 'sum' or 'max', found {reduction!r}")
    if reduction == "max":
        return x.amax(axis)
    return x.mean(axis) if reduction == "mean" else x.sum(axis)


def argmax(x: Tensor, axis: Literal[1, 2]) -> tuple[Tensor, Tensor]:
    """Maximum over one of the two middle axes of [batch, rows, columns, channels], and where it is.

    Written as a pooling over a channels-last image, which is vectorised on a CPU as `torch.max` is not.
    """
    batch, rows, columns, channels = x.shape
    image = x.view(batch, rows, 1, columns * channels) if axis == 1 else x.view(batch * rows, columns, 1, channels)
    kernel = (rows if axis == 1 else columns, 1)
    best, index = F.max_pool2d_with_indices(image.permute(0, 3, 1, 2), kernel)
    shape = (batch, columns, channels) if axis == 1 else (batch, rows, channels)
    return best.reshape(shape), index.reshape(shape)


class _MapAndPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, reduction: Reduction) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous()
        batch, rows, columns, channels = x.shape
        y = x.new_empty(batch, rows, columns, weight.shape[1])
        torch.mm(x.reshape(-1, channels), weight, out=y.view(-1, weight.shape[1]))
        ctx.reduction = reduction
        if reduction == "max":
            by_row, row_index = argmax(x, 2)
            by_column, column_index = argmax(x, 1)
            ctx.save_for_backward(x, weight, row_index, column_index)
        else:
            by_row, by_column = reduce(x, 2, reduction), reduce(x, 1, reduction)
            ctx.save_for_backward(x, weight)
        return y, by_row, by_column

    @staticmethod
    def backward(ctx: Any, gy: Tensor, g_row: Tensor, g_column: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, *indices = ctx.saved_tensors
        flat = gy.reshape(-1, gy.shape[-1])
        g_weight = x.reshape(-1, x.shape[-1]).mT @ flat
        if ctx.reduction == "max":
            gx = (flat @ weight.mT).view_as(x)
            gx.scatter_add_(2, indices[0].unsqueeze(2), g_row.unsqueeze(2))
            gx.scatter_add_(1, indices[1].unsqueeze(1), g_column.unsqueeze(1))
            return gx, g_weight, None
        if ctx.reduction == "mean":
            g_row, g_column = g_row / x.shape[2], g_column / x.shape[1]
        gx = g_row.unsqueeze(2) + g_column.unsqueeze(1)
        gx.view(-1, x.shape[-1]).addmm_(flat, weight.mT)
        return gx, g_weight, None


class _FanOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *weights)
        flat = x.reshape(-1, x.shape[-1])
        outs = [x.new_empty(*x.shape[:-1], weight.shape[0]) for weight in weights]
        for out, weight in zip(outs, weights, strict=True):
            torch.mm(flat, weight.mT, out=out.view(-1, weight.shape[0]))
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        flat = x.reshape(-1, x.shape[-1])
        rows = [g.reshape(-1, g.shape[-1]) for g in gradients]
        gx = rows[0] @ weights[0]
        for g, weight in zip(rows[1:], weights[1:], strict=True):
            gx.addmm_(g, weight)
        return gx.view_as(x), *(g.mT @ flat for g in rows)


class _AddRowsAndColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, row: Tensor | None, column: Tensor | None) -> Tensor:
        ctx.mark_dirty(y)
        ctx.given = row is not None, column is not None
        if row is not None:
            y.add_(row.unsqueeze(2))
        if column is not None:
            y.add_(column.unsqueeze(1))
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        by_row, by_column = ctx.given
        return g, g.sum(2) if by_row else None, g.sum(1) if by_column else None


def map_and_pool(
    x: Float[Tensor, "batch rows columns channels"], weight: Float[Tensor, "channels out"], reduction: Reduction
) -> tuple[
    Float[Tensor, "batch rows columns out"],
    Float[Tensor, "batch rows channels"],
    Float[Tensor, "batch columns channels"],
]:
    """``x @ weight`` and the pools of x over its columns and over its rows."""
    y, by_row, by_column = _MapAndPool.apply(*_autocast(x, weight), reduction)  # type: ignore[no-untyped-call]
    return y, by_row, by_column


def fan_out(x: Float[Tensor, "*batch channels"], *weights: Float[Tensor, "out channels"]) -> tuple[Tensor, ...]:
    """``x @ weight.T`` for several weights; the gradient to x is summed inside the matrix products."""
    outs: tuple[Tensor, ...] = _FanOut.apply(*_autocast(x, *weights))  # type: ignore[no-untyped-call]
    return outs


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """What autocast does before a matrix product; it does not look into functions with their own gradient."""
    dtype = autocast_dtype(tensors[0].device.type)
    return list(tensors) if dtype is None else [t.to(dtype) for t in tensors]


def add_rows_and_columns(
    y: Float[Tensor, "batch rows columns channels"],
    row: Float[Tensor, "batch rows channels"] | None,
    column: Float[Tensor, "batch columns channels"] | None,
) -> Float[Tensor, "batch rows columns channels"]:
    """``y[i, j] + row[i] + column[j]``, either of them optional; overwrites y."""
    if y.numel() == 0:
        return y  # every view of nothing is contiguous, and some may not be overwritten
    row, column = (None if part is None else part.to(y.dtype) for part in (row, column))
    out: Tensor = _AddRowsAndColumns.apply(y, row, column)  # type: ignore[no-untyped-call]
    return out
