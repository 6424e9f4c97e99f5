"""Weight spaces of multilayer perceptrons and of sinusoidal networks."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from .._errors import SpaceError
from ._activation import Activation
from ._labels import Axis, NeuronGroup, Parameter
from ._space import WeightSpace

__all__ = ["mlp", "siren"]


def mlp(dims: Sequence[int], activation: str = "relu", *, layer_names: Sequence[str] | None = None) -> WeightSpace:
    """The weight space of a multilayer perceptron, initialised as `torch.nn.Linear` is.

    Args:
        dims: widths from input to output, e.g. ``[2, 32, 32, 1]``.
        activation: of the hidden units: "relu", "tanh", "sine", "gelu", "silu" or "identity".
        layer_names: prefixes of the layers in the state dict; those of
            ``nn.Sequential(Linear, activation, Linear, ...)`` by default: "0", "2", "4", ...

    Raises:
        SpaceError: for fewer than two widths, a width below 1, or an unknown activation.

    Example:
        >>> mlp([2, 32, 32, 1], activation="tanh").parameters[0].shape
        (32, 2)
    """
    dims = _checked(dims)
    bounds = [(1 / math.sqrt(fan_in),) * 2 for fan_in in dims[:-1]]
    return _chain(dims, Activation(activation), bounds, 0.0, layer_names)


def siren(
    dims: Sequence[int],
    omega: float = 30.0,
    output_offset: float = 0.5,
    *,
    layer_names: Sequence[str] | None = None,
) -> WeightSpace:
    """The weight space of a sinusoidal network ``sin(omega (W x + b))``, as the published MNIST INRs have it.

    Its default initialisation is theirs: every layer but the last uniform in ±sqrt(6 / fan_in) / omega with zero
    bias, the last one as `torch.nn.Linear` initialises (Navon et al., 2023, arXiv 2301.12780).

    Args:
        dims: widths from coordinates to output channels, e.g. ``[2, 32, 32, 1]``.
        omega: frequency of the sine.
        output_offset: constant added to the output; 0.5 for images in [0, 1].
        layer_names: as for `mlp`.

    Raises:
        SpaceError: for fewer than two widths or a width below 1.

    Example:
        >>> siren([2, 32, 32, 1]).num_parameters
        1185
    """
    dims = _checked(dims)
    if not isinstance(omega, int | float) or not 0 < omega < math.inf:
        raise SpaceError(f"omega: expected a positive number, found {omega!r}")
    last = 1 / math.sqrt(dims[-2])
    bounds = [(math.sqrt(6 / fan_in) / omega, 0.0) for fan_in in dims[:-2]] + [(last, last)]
    return _chain(dims, Activation("sine", omega), bounds, output_offset, layer_names)


def _checked(dims: Sequence[int]) -> list[int]:
    """The widths as plain integers."""
    try:
        widths = [operator.index(width) for width in dims]
    except TypeError:
        widths = []
    if len(widths) < 2 or min(widths) < 1:
        raise SpaceError(f"dims: expected at least two positive integers, found {dims!r}")
    return widths


def _chain(
    dims: Sequence[int],
    activation: Activation,
    bounds: Sequence[tuple[float, float]],
    output_offset: float,
    layer_names: Sequence[str] | None,
) -> WeightSpace:
    depth = len(dims) - 1
    prefixes = [str(2 * i) for i in range(depth)] if layer_names is None else list(layer_names)
    if len(prefixes) != depth:
        raise SpaceError(f"layer_names: expected {depth} names for dims {list(dims)}, found {len(prefixes)}")
    groups = [NeuronGroup("input", dims[0], "input")]
    groups += [NeuronGroup(f"hidden{i}", d, "hidden", activation) for i, d in enumerate(dims[1:-1], start=1)]
    groups += [NeuronGroup("output", dims[-1], "output")]
    parameters = []
    for prefix, source, target, (weight, bias) in zip(prefixes, groups[:-1], groups[1:], bounds, strict=True):
        out = Axis(target.size, target.name, "out")
        parameters.append(Parameter(f"{prefix}.weight", (out, Axis(source.size, source.name, "in")), weight))
        parameters.append(Parameter(f"{prefix}.bias", (out,), bias))
    return WeightSpace(tuple(groups), tuple(parameters), output_offset)
