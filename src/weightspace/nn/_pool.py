"""The two passes over an entry-wise tensor that an equivariant linear layer needs, each with a fused gradient.

A layer on a weight matrix is ``y[i, j] = A x[i, j] + row[i] + column[j]``, where row and column come from pools of x.
Left to autograd, every pool and every broadcast of the backward pass writes a tensor as large as x; written as two
functions, the backward pass costs about what the forward pass does.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Reduction", "add_rows_and_columns", "map_and_pool", "reduce"]

Reduction = Literal["mean", "sum", "max"]


def reduce(x: Tensor, axis: int, reduction: Reduction) -> Tensor:
    """Pools one axis."""
    if reduction == "max":
        return x.amax(axis)
    return x.mean(axis) if reduction == "mean" else x.sum(axis)


def _argmax(x: Tensor, axis: Literal[1, 2]) -> tuple[Tensor, Tensor]:
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
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, reduction: Reduction
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous()
        batch, rows, columns, channels = x.shape
        y = x.new_empty(batch, rows, columns, weight.shape[1])
        torch.mm(x.reshape(-1, channels), weight, out=y.view(-1, weight.shape[1]))
        ctx.reduction = reduction
        if reduction == "max":
            by_row, row_index = _argmax(x, 2)
            by_column, column_index = _argmax(x, 1)
            ctx.save_for_backward(x, weight, row_index, column_index)
        else:
            by_row, by_column = reduce(x, 2, reduction), reduce(x, 1, reduction)
            ctx.save_for_backward(x, weight)
        return y, by_row, by_column

    @staticmethod
    def backward(ctx: Any, gy: Tensor, g_row: Tensor, g_column: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
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


class _AddRowsAndColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, row: Tensor, column: Tensor) -> Tensor:
        ctx.mark_dirty(y)
        return y.add_(row.unsqueeze(2)).add_(column.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        return g, g.sum(2), g.sum(1)


def map_and_pool(
    x: Float[Tensor, "batch rows columns channels"], weight: Float[Tensor, "channels out"], reduction: Reduction
) -> tuple[
    Float[Tensor, "batch rows columns out"],
    Float[Tensor, "batch rows channels"],
    Float[Tensor, "batch columns channels"],
]:
    """``x @ weight`` and the pools of x over its columns and over its rows."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    y, by_row, by_column = _MapAndPool.apply(x, weight, reduction)
    return y, by_row, by_column


def add_rows_and_columns(
    y: Float[Tensor, "batch rows columns channels"],
    row: Float[Tensor, "batch rows channels"],
    column: Float[Tensor, "batch columns channels"],
) -> Float[Tensor, "batch rows columns channels"]:
    """``y[i, j] + row[i] + column[j]``; overwrites y."""
    out: Tensor = _AddRowsAndColumns.apply(y, row.to(y.dtype), column.to(y.dtype))
    return out
