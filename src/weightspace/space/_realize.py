"""What the networks of a batch compute, all at once, with batched matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._errors import SpaceError
from ._features import WeightFeatures

if TYPE_CHECKING:
    from ._space import NeuronGroup, WeightSpace

__all__ = ["activations", "realize"]


def realize(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> Tensor:
    """See `WeightSpace.realize`."""
    output = _run(space, theta, x)[space.groups[-1].name]
    output = output.view(len(theta), theta.channels, *output.shape[1:]).movedim(1, -1).transpose(1, 2)
    return output.squeeze(-1) if theta.channels == 1 else output


def activations(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> dict[str, Tensor]:
    """See `WeightSpace.activations`."""
    return {name: _by_channel(value, theta) for name, value in _run(space, theta, x).items()}


def _by_channel(value: Tensor, theta: WeightFeatures) -> Tensor:
    """[networks, units, points], or [units, points] of all networks -> [batch, channels, units, points]."""
    if value.dim() == 2:
        return value.expand(len(theta), theta.channels, -1, -1)
    return value.view(len(theta), theta.channels, *value.shape[1:])


def _run(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> dict[str, Tensor]:
    """What every neuron group computes, as [networks, units, points], so that biases broadcast for free.

    Each channel of each batch member is a network. Inputs that all networks share stay [units, points].
    """
    _check_input(space, theta, x)
    start = x.mT if x.dim() == 2 else x.mT[:, None].expand(-1, theta.channels, -1, -1).flatten(0, 1)
    values = {space.groups[0].name: start}
    for group in space.groups[1:]:
        values[group.name] = group.activation.base(_entering(space, theta, group, values))
    if space.output_offset:
        values[space.groups[-1].name] = values[space.groups[-1].name] + space.output_offset
    return values


def _entering(space: WeightSpace, theta: WeightFeatures, group: NeuronGroup, values: dict[str, Tensor]) -> Tensor:
    """The sum that enters a neuron group, times the frequency of its activation (cheapest on the weights)."""
    weights, vectors = [], []
    for parameter, tensor in zip(space.parameters, theta.tensors, strict=True):
        if parameter.axes[0].group == group.name:
            networks = tensor.movedim(-1, 1).flatten(0, 1)
            if group.activation.frequency != 1.0:
                networks = networks * group.activation.frequency
            if len(parameter.axes) == 1:
                vectors.append(networks[..., None])
            else:
                weights.append((networks, values[str(parameter.axes[1].group)]))
    if not weights:
        raise SpaceError(f"no weight enters neuron group {group.name!r}")
    (first, source), *rest = weights
    if vectors and source.dim() == 3:
        total = torch.baddbmm(sum(vectors[1:], vectors[0]), first, source)
    else:
        total = sum(vectors, first @ source)
    for networks, source in rest:
        total = total + networks @ source
    return total


def _check_input(space: WeightSpace, theta: WeightFeatures, x: Tensor) -> None:
    if theta.space != space:
        raise SpaceError(f"the features are of another weight space: {space.difference(theta.space)}")
    width = space.groups[0].size
    if x.dim() not in (2, 3) or x.shape[-1] != width or (x.dim() == 3 and x.shape[0] != len(theta)):
        raise SpaceError(f"x: expected shape (N, {width}) or ({len(theta)}, N, {width}), found {tuple(x.shape)}")
    if x.dtype != theta.dtype or x.device != theta.device:
        raise SpaceError(
            f"x is {x.dtype} on {x.device}, the networks are {theta.dtype} on {theta.device}; use x.to(...)"
        )
