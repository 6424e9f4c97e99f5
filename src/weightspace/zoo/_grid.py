"""Loss and gradient of many SIRENs on one pixel grid, written out by hand.

A layer of a batch of networks is a batched matrix product. Three things make it fast on one core and on a GPU:

- The first layer is separable: ``sin(a + c) = sin a cos c + cos a sin c``, where ``a`` depends on the column of a pixel
  and ``c`` on its row. One product ``[H, 2] [2, W]`` for each unit replaces the sines of H W numbers.
- Memory is laid out for the matrix products: units first in the first hidden layer, pixels first in the later ones.
- Buffers and views are made once, and gradients overwrite activations that are no longer needed: a small chunk of
  networks stays near one core, a step is few calls.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..space import WeightFeatures, WeightSpace

__all__ = ["SirenGrid"]


class SirenGrid:
    """Mean squared errors of ``batch`` SIRENs on a ``height`` x ``width`` grid, and their gradients.

    Pixel (row i, column j) has the coordinates (x, y) = (-1 + 2 j / (W - 1), -1 + 2 i / (H - 1)); the column index runs
    fastest. Networks do not mix: each row of ``weights`` is one network and gets the gradient of its own loss.

    Attributes:
        weights: ``[batch, num_parameters]``: for each layer the matrix ``[in + 1, out]``, biases in its last row.
        gradient: of each network's loss, laid out as ``weights``; filled by `loss_and_gradient`.
    """

    def __init__(
        self,
        space: WeightSpace,
        height: int,
        width: int,
        batch: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        omegas = [*(group.activation.omega for group in space.groups[1:-1]), 1.0]
        self.space = space
        widths, pixels = [group.size for group in space.groups], height * width

        def buffer(*shape: int) -> Tensor:
            return torch.empty(batch, *shape, dtype=dtype, device=device)

        counts = [(n + 1) * m for n, m in pairwise(widths)]
        omega = torch.cat([torch.full((n,), w, dtype=dtype) for n, w in zip(counts, omegas, strict=True)])
        self._omega = omega.to(device)
        self._gain = self._omega * (2 / (pixels * widths[-1]))
        self.weights, self._scaled, self.gradient = (buffer(sum(counts)) for _ in range(3))
        self._layers = self._views(self._scaled)  # omega times the weights: a matrix [in, out] and a row [1, out] each
        self._gradients = self._views(self.gradient)
        self._sines = [buffer(widths[1], pixels).mT] + [buffer(pixels, n) for n in widths[2:-1]]
        self._cosines = [buffer(pixels, n) for n in widths[2:-1]]
        self._output = buffer(widths[-1], pixels)
        self._first = _FirstLayer(buffer, widths[1], height, width)
        self._first_matrix, self._first_gradient = (
            flat[:, : counts[0]].unflatten(1, (3, widths[1])) for flat in (self._scaled, self.gradient)
        )

    def load(self, theta: WeightFeatures) -> None:
        """Takes the weights of ``batch`` networks."""
        for view, tensor in zip(_pairs(self._views(self.weights)), theta.tensors, strict=True):
            view.copy_(tensor[..., 0].mT if tensor.dim() == 4 else tensor.mT)

    def features(self, flat: Tensor) -> WeightFeatures:
        """A copy of ``weights`` or ``gradient`` as weight features."""
        tensors = [
            part.mT.contiguous() if len(parameter.shape) == 2 else part[:, 0].clone()
            for part, parameter in zip(_pairs(self._views(flat)), self.space.parameters, strict=True)
        ]
        return WeightFeatures(self.space, tuple(t[..., None] for t in tensors))

    def loss(self, targets: "Float[Tensor, 'batch channels pixels']") -> "Float[Tensor, ' batch']":
        """Mean squared error of each network over channels and pixels."""
        return (self._forward() - targets).square_().mean((1, 2))

    def loss_and_gradient(self, targets: "Float[Tensor, 'batch channels pixels']") -> "Float[Tensor, ' batch']":
        """The same, and ``gradient`` is filled.

        ``delta`` of a layer is the gradient with respect to what enters its sines, ``[batch, pixels, out]``; the
        constants that all weights of a layer share, omega and 2 / pixels, are multiplied in at the end.
        """
        residual = self._forward().sub_(targets)
        loss = residual.square().mean((1, 2))
        delta = residual.mT
        gradient_W, gradient_b = self._gradients[-1]
        gradient_W.copy_(torch.bmm(residual, self._sines[-1]).mT)  # into a view, bmm would loop over the batch
        torch.sum(delta, 1, keepdim=True, out=gradient_b)
        for k in range(len(self._cosines), 0, -1):
            delta = torch.bmm(delta, self._layers[k + 1][0].mT, out=self._sines[k]).mul_(self._cosines[k - 1])
            gradient_W, gradient_b = self._gradients[k]
            gradient_W.copy_(torch.bmm(self._sines[k - 1].mT, delta))
            torch.sum(delta, 1, keepdim=True, out=gradient_b)
        torch.bmm(self._layers[1][0], delta.mT, out=self._sines[0].mT)
        self._first.gradient(self._sines[0].mT, self._first_gradient)
        self.gradient.mul_(self._gain)
        return loss

    def _forward(self) -> Tensor:
        """What the networks compute at every pixel ``[batch, channels, pixels]``, less the offset, in a buffer."""
        torch.mul(self.weights, self._omega, out=self._scaled)
        self._first.sines(self._first_matrix, self._sines[0].mT)
        for k, z in enumerate(self._cosines, start=1):
            W, b = self._layers[k]
            torch.bmm(self._sines[k - 1], W, out=z).add_(b)
            torch.sin(z, out=self._sines[k])
            z.cos_()
        W, b = self._layers[-1]
        return torch.bmm(W.mT.contiguous(), self._sines[-1].mT, out=self._output).add_(b.mT)

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The matrix ``[batch, in, out]`` and the biases ``[batch, 1, out]`` of each layer, as views."""
        widths = [group.size for group in self.space.groups]
        parts = flat.split([(n + 1) * m for n, m in pairwise(widths)], dim=1)
        matrices = [part.unflatten(1, (-1, m)) for part, m in zip(parts, widths[1:], strict=True)]
        return [(matrix[:, :-1], matrix[:, -1:]) for matrix in matrices]


class _FirstLayer:
    """The first layer: sin(a + c) with a = omega u x of a pixel's column and c = omega (v y + b) of its row.

    ``_waves`` holds, for each unit, sin a, cos a, -sin a, x cos a, -x sin a for all columns, then cos c, sin c,
    y cos c, y sin c for all rows: sines of one matrix product with phases of 0°, 90° or 180° added, times 1, x or y.
    """

    def __init__(self, buffer: Callable[..., Tensor], units: int, height: int, width: int) -> None:
        self._waves = like = buffer(units, 5 * width + 4 * height)
        x, y = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in (width, height))
        no_x, no_y, one_x, one_y = torch.zeros_like(x), torch.zeros_like(y), torch.ones_like(x), torch.ones_like(y)
        self._inputs = torch.stack(
            [torch.cat([x] * 5 + [no_y] * 4), torch.cat([no_x] * 5 + [y] * 4), torch.cat([no_x] * 5 + [one_y] * 4)]
        )
        turns = [0.0, 0.5, 1.0, 0.5, 1.0], [0.5, 0.0, 0.5, 0.0]
        self._phases = torch.cat([one_x * (t * math.pi) for t in turns[0]] + [one_y * (t * math.pi) for t in turns[1]])
        self._factors = torch.cat([one_x, one_x, one_x, x, x, one_y, one_y, y, y])
        of_columns, of_rows = like.flatten(0, 1).split([5 * width, 4 * height], dim=1)
        self._columns = of_columns[:, : 2 * width].unflatten(1, (2, width))  # sin a, cos a
        self._slopes = of_columns[:, width:].unflatten(1, (2, 2 * width))  # their derivatives; the same times x
        self._rows = of_rows.unflatten(1, (4, height))

    def sines(self, M: Tensor, out: Tensor) -> None:
        """Sines ``[batch, units, pixels]`` of the layer with rows u, v, b, times omega, in ``M [batch, 3, units]``."""
        torch.matmul(M.mT, self._inputs, out=self._waves)
        self._waves.add_(self._phases).sin_().mul_(self._factors)
        grid = out.view(-1, self._rows.shape[-1], self._columns.shape[-1])
        torch.bmm(self._rows[:, :2].mT, self._columns, out=grid)

    def gradient(self, delta: Tensor, out: Tensor) -> None:
        """Gradients of u, v, b from those with respect to the sines: sums of delta cos(a + c), times x, y, 1."""
        grid = delta.view(-1, self._rows.shape[-1], self._columns.shape[-1])
        over_rows = torch.bmm(self._rows, grid).view(-1, 2, self._slopes.shape[-1])  # of delta, of y delta
        sums = torch.bmm(over_rows, self._slopes.mT).view(*delta.shape[:2], 2, 2)
        out[:, 0] = sums[:, :, 0, 1]
        out[:, 1] = sums[:, :, 1, 0]
        out[:, 2] = sums[:, :, 0, 0]


def _pairs(views: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [part for pair in views for part in pair]
