"""Networks in and out of weight features: tensors, state dicts, modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .._errors import SpaceError
from ._activation import Offset
from ._features import WeightFeatures

if TYPE_CHECKING:
    from ._space import WeightSpace

__all__ = ["features", "stack", "to_module", "unstack"]


def features(space: WeightSpace, tensors: Mapping[str, Tensor]) -> WeightFeatures:
    """See `WeightSpace.features`."""
    _check_keys(space, tensors, "the tensors")
    first = tensors[space.parameters[0].name]
    if first.dim() != len(space.parameters[0].shape) + 2:
        _refuse_shape(space.parameters[0].name, ("batch", *space.parameters[0].shape, "channels"), first.shape)
    batch, channels = first.shape[0], first.shape[-1]
    ordered = []
    for parameter in space.parameters:
        tensor = tensors[parameter.name]
        expected = (batch, *parameter.shape, channels)
        if tuple(tensor.shape) != expected:
            _refuse_shape(parameter.name, expected, tensor.shape)
        if tensor.dtype != first.dtype or tensor.device != first.device or not tensor.is_floating_point():
            raise SpaceError(
                f"tensor {parameter.name!r} is {tensor.dtype} on {tensor.device}; all tensors must be of one "
                f"floating dtype on one device (the first is {first.dtype} on {first.device})"
            )
        _check_finite(parameter.name, tensor)
        ordered.append(tensor)
    return WeightFeatures(space, tuple(ordered))


def stack(space: WeightSpace, networks: Iterable[nn.Module | Mapping[str, Tensor]]) -> WeightFeatures:
    """See `WeightSpace.stack`."""
    if isinstance(networks, nn.Module | Mapping):
        raise SpaceError("stack takes a list of networks; for one network pass [network]")
    networks = list(networks)
    if wrong := [type(n).__name__ for n in networks if not isinstance(n, nn.Module | Mapping)]:
        raise SpaceError(f"stack takes modules and state dicts, found {wrong[0]}")
    states = [network.state_dict() if isinstance(network, nn.Module) else network for network in networks]
    if not states:
        raise SpaceError("stack needs at least one network, found none")
    for i, state in enumerate(states):
        _check_keys(space, state, f"network {i}")
        for parameter in space.parameters:
            if not isinstance(state[parameter.name], Tensor):
                raise SpaceError(
                    f"network {i}: {parameter.name!r} is a {type(state[parameter.name]).__name__}, no tensor"
                )
            if state[parameter.name].dtype != states[0][parameter.name].dtype:
                raise SpaceError(
                    f"network {i}: {parameter.name!r} is {state[parameter.name].dtype}, in network 0 it is "
                    f"{states[0][parameter.name].dtype}; networks of one batch have one dtype"
                )
            found = state[parameter.name].shape
            if tuple(found) != parameter.shape:
                _refuse_shape(parameter.name, parameter.shape, found, f" of network {i}")
    return features(
        space, {p.name: torch.stack([s[p.name].detach() for s in states])[..., None] for p in space.parameters}
    )


def unstack(space: WeightSpace, theta: WeightFeatures) -> list[dict[str, Tensor]]:
    """See `WeightSpace.unstack`."""
    if theta.space != space:
        raise SpaceError(f"the features are of another weight space: {space.difference(theta.space)}")
    if theta.channels != 1:
        raise SpaceError(f"unstack needs raw weights with 1 channel, found {theta.channels}; select one channel first")
    return [{name: tensor[i, ..., 0].detach().clone() for name, tensor in theta.items()} for i in range(len(theta))]


def to_module(space: WeightSpace, theta: WeightFeatures) -> nn.Sequential:
    """See `WeightSpace.to_module`."""
    if len(theta) != 1:
        raise SpaceError(f"to_module takes one network, found a batch of {len(theta)}; select one with theta[i]")
    (state,) = unstack(space, theta)
    layers: list[nn.Module] = []
    for source, target in zip(space.groups[:-1], space.groups[1:], strict=True):
        of_target = [p for p in space.parameters if p.axes[0].group == target.name]
        weights = [p for p in of_target if len(p.axes) == 2]
        biases = [p for p in of_target if len(p.axes) == 1]
        if len(weights) != 1 or weights[0].axes[1].group != source.name or len(biases) != 1:
            raise SpaceError(f"neuron group {target.name!r} is not the next layer of a chain; use unstack instead")
        linear = nn.Linear(source.size, target.size, dtype=theta.dtype, device=theta.device)
        linear.load_state_dict({"weight": state[weights[0].name], "bias": state[biases[0].name]})
        layers += [linear, target.activation.module()]
    layers.pop()
    if space.output_offset:
        layers.append(Offset(space.output_offset))
    return nn.Sequential(*layers)


def _check_keys(space: WeightSpace, found: Mapping[str, Tensor], what: str) -> None:
    expected = [p.name for p in space.parameters]
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in set(expected)]
    if missing or extra:
        raise SpaceError(
            f"{what}: the keys are not those of this space: missing {missing or 'none'}, unexpected {extra or 'none'}; "
            f"expected exactly {expected}"
        )


def _check_finite(name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor).all():
        bad = (~torch.isfinite(tensor)).flatten(1).any(1).nonzero().flatten().tolist()
        shown = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        raise SpaceError(f"tensor {name!r} has non-finite entries in network {shown}; drop these networks first")


def _refuse_shape(name: str, expected: tuple[int | str, ...], found: torch.Size, where: str = "") -> None:
    shape = ", ".join(map(str, expected))
    raise SpaceError(f"tensor {name!r}{where}: expected shape ({shape}), found {tuple(found)}")
