"""What the networks of a batch compute, all at once, with batched matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._errors import SpaceError
from ._features import WeightFeatures, check_features

if TYPE_CHECKING:
    from ._labels import NeuronGroup
    from ._space import WeightSpace

__all__ = ["activations", "backpropagate", "realize"]


def realize(space: WeightSpace, theta: WeightFeatures, x: Tensor | tuple[Tensor, ...]) -> Tensor:
    """See `WeightSpace.realize`."""
    if not space.is_chain:
        _check_space(space, theta)
        if space.program is None:
            raise SpaceError(
                "this space was read from a description, which does not say how to run its networks; trace the module "
                "again with from_module"
            )
        return space.program.realize(theta, x)
    output = _run(space, theta, x)[space.groups[-1].name]
    output = output.view(len(theta), theta.channels, *output.shape[1:]).movedim(1, -1).transpose(1, 2)
    return output.squeeze(-1) if theta.channels == 1 else output


def activations(theta: WeightFeatures, x: Tensor) -> dict[str, Tensor]:
    """What every unit of every network of the batch computes.

    Args:
        theta: batch of B networks with C channels, each channel a network of its own.
        x: inputs ``[N, d_in]`` for all networks, or ``[B, N, d_in]``.

    Returns:
        For each neuron group ``[B, C, units, N]``: the inputs themselves, the hidden units after their activation,
        the output with its offset.

    Raises:
        SpaceError: for inputs of another shape or dtype.
    """
    space = theta.space
    return {name: _by_channel(value, theta) for name, value in _run(space, theta, x).items()}


def backpropagate(theta: WeightFeatures, x: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The activations, and the signals that the loss ``|f_theta(x_n) - t_n|^2 / 2`` sends back, at every point n.

    The signal of a unit is the derivative of the loss by the sum that enters the unit (of an input unit: by the
    input), so the gradient of a weight at one point is the signal of its target times the activation of its source,
    and that of a bias is the signal of its unit. The result can be differentiated in its turn.

    Args:
        theta: batch of B networks with C channels, each channel a network of its own.
        x: inputs ``[N, d_in]`` for all networks, or ``[B, N, d_in]``.
        targets: ``[N, d_out]`` or ``[B, N, d_out]``.

    Returns:
        Activations and signals, for each neuron group ``[B, C, units, N]``.

    Raises:
        SpaceError: for inputs or targets of another shape or dtype.
    """
    space = theta.space
    entering: dict[str, Tensor] = {}
    values = _run(space, theta, x, entering)
    output = space.groups[-1].name
    _, width, points = values[output].shape
    if targets.shape not in ((points, width), (len(theta), points, width)):
        raise SpaceError(
            f"targets: expected shape ({points}, {width}) or ({len(theta)}, {points}, {width}), "
            f"found {tuple(targets.shape)}"
        )
    wanted = targets.mT if targets.dim() == 2 else targets.mT.repeat_interleave(theta.channels, dim=0)
    signals = {output: values[output] - wanted}
    for group in reversed(space.groups):
        signal = signals[output] if group.name == output else _leaving(space, theta, group, signals)
        if group.name in entering:
            slope = group.activation.base_derivative(entering[group.name])
            signal = signal * (slope if group.activation.frequency == 1.0 else slope * group.activation.frequency)
        signals[group.name] = signal
    ordered = {group.name: _by_channel(signals[group.name], theta) for group in space.groups}
    return {name: _by_channel(value, theta) for name, value in values.items()}, ordered


def _by_channel(value: Tensor, theta: WeightFeatures) -> Tensor:
    """[networks, units, points], or [units, points] of all networks -> [batch, channels, units, points]."""
    if value.dim() == 2:
        return value.expand(len(theta), theta.channels, -1, -1)
    return value.view(len(theta), theta.channels, *value.shape[1:])


def _run(
    space: WeightSpace, theta: WeightFeatures, x: Tensor | tuple[Tensor, ...], entering: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """What every neuron group computes, as [networks, units, points], so that biases broadcast for free.

    Each channel of each batch member is a network. Inputs that all networks share stay [units, points]. What enters
    each activation, its frequency included, is left in ``entering``.
    """
    x = _checked_input(space, theta, x)
    start = x.mT if x.dim() == 2 else x.mT[:, None].expand(-1, theta.channels, -1, -1).flatten(0, 1)
    values = {space.groups[0].name: start}
    for group in space.groups[1:]:
        total = _entering(space, theta, group, values)
        if entering is not None:
            entering[group.name] = total
        values[group.name] = group.activation.base(total)
    if space.output_offset:
        values[space.groups[-1].name] = values[space.groups[-1].name] + space.output_offset
    return values


def _entering(space: WeightSpace, theta: WeightFeatures, group: NeuronGroup, values: dict[str, Tensor]) -> Tensor:
    """The sum that enters a neuron group, times the frequency of its activation (cheapest on the weights)."""
    weights, vectors = [], []
    for parameter, tensor in zip(space.parameters, theta.tensors, strict=True):
        if parameter.axes[0].group == group.name:
            networks = _networks(tensor)
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


def _leaving(space: WeightSpace, theta: WeightFeatures, group: NeuronGroup, signals: dict[str, Tensor]) -> Tensor:
    """What comes back to a neuron group from the groups that it feeds: the transposed weights times their signals."""
    parts = [
        _networks(tensor).mT @ signals[str(parameter.axes[0].group)]
        for parameter, tensor in zip(space.parameters, theta.tensors, strict=True)
        if len(parameter.axes) == 2 and parameter.axes[1].group == group.name
    ]
    if not parts:
        raise SpaceError(f"no weight leaves neuron group {group.name!r}")
    return sum(parts[1:], parts[0])


def _networks(tensor: Tensor) -> Tensor:
    """[batch, *axes, channels] -> [batch * channels, *axes]."""
    return tensor.movedim(-1, 1).flatten(0, 1)


def _checked_input(space: WeightSpace, theta: WeightFeatures, x: Tensor | tuple[Tensor, ...]) -> Tensor:
    _check_space(space, theta)
    if not space.is_chain:
        raise SpaceError("what single units compute is known of chains of layers alone, not of other traced modules")
    if not isinstance(x, Tensor):
        raise SpaceError(f"x: expected a tensor, found a {type(x).__name__}")
    width = space.groups[0].size
    if x.dim() not in (2, 3) or x.shape[-1] != width or (x.dim() == 3 and x.shape[0] != len(theta)):
        raise SpaceError(f"x: expected shape (N, {width}) or ({len(theta)}, N, {width}), found {tuple(x.shape)}")
    if x.dtype != theta.dtype or x.device != theta.device:
        raise SpaceError(
            f"x is {x.dtype} on {x.device}, the networks are {theta.dtype} on {theta.device}; use x.to(...)"
        )
    return x


def _check_space(space: WeightSpace, theta: WeightFeatures) -> None:
    check_features(theta)
    if theta.space != space:
        raise SpaceError(f"the features are of another weight space: {space.difference(theta.space)}")
