"""Networks in and out of weight features: tensors, state dicts, modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .._errors import SpaceError
from ._activation import Offset
from ._features import WeightFeatures, check_features

if TYPE_CHECKING:
    from ._labels import StoredTensor
    from ._space import WeightSpace

__all__ = ["features", "stack", "to_module", "unstack", "unwrapped"]


def features(space: WeightSpace, tensors: Mapping[str, Tensor]) -> WeightFeatures:
    """See `WeightSpace.features`."""
    _check_keys(space, tensors, "the tensors", parts=True)
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
    if isinstance(networks, nn.Module | Mapping) or not isinstance(networks, Iterable):
        name = type(networks).__name__
        raise SpaceError(f"stack takes a list of networks, found {name}; for one network pass [network]")
    networks = list(networks)
    if wrong := [type(n).__name__ for n in networks if not isinstance(n, nn.Module | Mapping)]:
        raise SpaceError(f"stack takes modules and state dicts, found {wrong[0]}")
    states = [unwrapped(network).state_dict() if isinstance(network, nn.Module) else network for network in networks]
    if not states:
        raise SpaceError("stack needs at least one network, found none")
    for i, state in enumerate(states):
        _check_state(space, state, states[0], f"network {i}")
    found: dict[str, Tensor] = {}
    for stored in space.stored:
        whole = torch.stack([_one_of(stored, state).detach() for state in states])[..., None]
        parts = stored.take_apart(whole, space.shapes)
        found |= {block.parameter: part for block, part in zip(stored.blocks, parts, strict=True)}
    return features(space, found)


def _check_state(space: WeightSpace, state: Mapping[str, Tensor], first: Mapping[str, Tensor], what: str) -> None:
    """Refuses a state dict whose keys, shapes or dtypes are not those of the space and of the first network."""
    if inner := [key for key, value in state.items() if issubclass(type(value), Mapping)]:
        raise SpaceError(f"{what} holds a dictionary under {inner[0]!r}; if that is its state dict, pass it instead")
    shared = {alias for stored in space.stored for alias in (stored.name, *stored.aliases) if stored.aliases}
    constants = set(space.program.constants) if space.program is not None else set()
    constants |= {name for name, value in state.items() if _counts(value)}
    absent = [stored.name for stored in space.stored if not any(n in state for n in (stored.name, *stored.aliases))]
    _check_keys(space, [k for k in state if k not in shared | constants] + sorted(shared - set(absent)), what)
    for stored in space.stored:
        tensor = _one_of(stored, state)
        if not isinstance(tensor, Tensor):
            raise SpaceError(f"{what}: {stored.name!r} is a {type(tensor).__name__}, no tensor")
        if tuple(tensor.shape) != stored.shape:
            _refuse_shape(stored.name, stored.shape, tensor.shape, f" of {what}")
        if tensor.dtype != _one_of(stored, first).dtype:
            raise SpaceError(
                f"{what}: {stored.name!r} is {tensor.dtype}, in network 0 it is {_one_of(stored, first).dtype}; "
                "networks of one batch have one dtype"
            )
        if tensor.is_floating_point() and tensor.element_size() < 2:
            raise SpaceError(
                f"{what}: {stored.name!r} is {tensor.dtype}, a dtype to store weights that torch cannot compute with; "
                "cast it, with dtype=torch.float32 in read_checkpoints, or tensor.to(...)"
            )
        for alias in stored.aliases:
            if alias in state and not torch.equal(state[alias], tensor):
                raise SpaceError(
                    f"{what}: {stored.name!r} and {alias!r} are one tensor in this space, here they differ"
                )
    for name, expected in space.program.constants.items() if space.program is not None else ():
        if name in state and not _counts(expected) and not torch.equal(expected.to(state[name]), state[name]):
            raise SpaceError(
                f"{what}: the buffer {name!r} is no weight, and is not the one of the module that was traced"
            )


def _counts(value: object) -> bool:
    """Whether an entry of a state dict is a counter, such as the number of batches that a norm has seen."""
    return isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point()


def _one_of(stored: StoredTensor, state: Mapping[str, Tensor]) -> Tensor:
    """The tensor under the first of its names that is there."""
    return next(state[name] for name in (stored.name, *stored.aliases) if name in state)


def unstack(space: WeightSpace, theta: WeightFeatures) -> list[dict[str, Tensor]]:
    """See `WeightSpace.unstack`."""
    check_features(theta)
    if theta.space != space:
        raise SpaceError(f"the features are of another weight space: {space.difference(theta.space)}")
    if theta.channels != 1:
        raise SpaceError(f"unstack needs raw weights with 1 channel, found {theta.channels}; select one channel first")
    states: list[dict[str, Tensor]] = [{} for _ in range(len(theta))]
    for stored in space.stored:
        whole = stored.assemble([theta[block.parameter] for block in stored.blocks]).squeeze(-1).detach()
        for i, state in enumerate(states):
            state[stored.name] = whole[i].clone()
            state |= {alias: state[stored.name] for alias in stored.aliases}
    if space.program is None:
        return states
    constants, order = space.program.constants, list(space.program.module.state_dict())
    full = [state | {name: value.clone() for name, value in constants.items()} for state in states]
    return [{name: state[name] for name in order} for state in full]


def unwrapped(module: nn.Module) -> nn.Module:
    """The module without what trains it on several devices, or compiles it."""
    inner = getattr(module, "_orig_mod", None)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else module


def to_module(space: WeightSpace, theta: WeightFeatures) -> nn.Module:
    """See `WeightSpace.to_module`."""
    check_features(theta)
    if len(theta) != 1:
        raise SpaceError(f"to_module takes one network, found a batch of {len(theta)}; select one with theta[i]")
    (state,) = unstack(space, theta)
    if space.program is not None:
        return space.program.with_state(state)
    if not space.is_chain:
        raise SpaceError("this space was read from a description, which does not hold the module; use unstack instead")
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


def _check_keys(space: WeightSpace, found: Iterable[str], what: str, *, parts: bool = False) -> None:
    expected = [p.name for p in space.parameters] if parts else [n for t in space.stored for n in (t.name, *t.aliases)]
    missing = [name for name in expected if name not in set(found)]
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
