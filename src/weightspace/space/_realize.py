"""What the networks of a batch compute, all at once, with batched matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .._errors import SpaceError
from ._features import WeightFeatures

if TYPE_CHECKING:
    from ._space import WeightSpace

__all__ = ["realize"]


def realize(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> Tensor:
    """See `WeightSpace.realize`. Values are kept as [networks, units, points], so that biases broadcast for free."""
    _check_input(space, theta, x)
    batch, channels = len(theta), theta.channels
    if x.dim() == 2:
        start = x.mT
    else:
        start = x.mT[:, None].expand(-1, channels, -1, -1).flatten(0, 1)
    values = {space.groups[0].name: start}
    for group in space.groups[1:]:
        total: Tensor | None = None
        for parameter, tensor in zip(space.parameters, theta.tensors, strict=True):
            if parameter.axes[0].group != group.name:
                continue
            weights = tensor.movedim(-1, 1).flatten(0, 1)
            if len(parameter.axes) == 1:
                term = weights[..., None]
            else:
                term = weights @ values[str(parameter.axes[1].group)]
            total = term if total is None else total + term
        if total is None:
            raise SpaceError(f"nothing enters neuron group {group.name!r}")
        values[group.name] = group.activation(total)
    output = values[space.groups[-1].name]
    if space.output_offset:
        output = output + space.output_offset
    output = output.unflatten(0, (batch, channels)).movedim(1, -1).transpose(1, 2)
    return output[..., 0] if channels == 1 else output


def _check_input(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> None:
    if theta.space != space:
        raise SpaceError(f"the features are of networks {theta.space.summary()}, not of {space.summary()}")
    width = space.groups[0].size
    if x.dim() not in (2, 3) or x.shape[-1] != width or (x.dim() == 3 and x.shape[0] != len(theta)):
        raise SpaceError(f"x: expected shape (N, {width}) or ({len(theta)}, N, {width}), found {tuple(x.shape)}")
    if x.dtype != theta.dtype or x.device != theta.device:
        raise SpaceError(
            f"x is {x.dtype} on {x.device}, the networks are {theta.dtype} on {theta.device}; use x.to(...)"
        )
