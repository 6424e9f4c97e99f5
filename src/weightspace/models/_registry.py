"""Published architectures by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints, overload

from .._errors import ModelError
from ..nn import SpaceFamily, Standardization
from ..space import WeightSpace
from ._metanetwork import Body, Metanetwork, Task
from ._mixed import MixedMetanetwork

__all__ = ["architectures", "build", "register"]


@dataclass(frozen=True)
class _Architecture:
    make: Callable[..., Body]
    tasks: tuple[Task, ...]
    standardize: Standardization
    families: bool


_REGISTRY: dict[str, _Architecture] = {}
_COMMON, _COMMON_OF_FAMILIES = (
    {name: hint for name, hint in get_type_hints(kind.__init__).items() if name not in ("make", "return")}
    for kind in (Metanetwork, MixedMetanetwork)
)


def register(
    name: str,
    *,
    standardize: Standardization = "none",
    tasks: tuple[Task, ...] = ("equivariant", "invariant"),
    families: bool = False,
) -> Callable[[Callable[..., Body]], Callable[..., Body]]:
    """Makes an architecture known to `build` under a name.

    The registered function takes the space, the `Ports` and the options of the architecture as annotated keywords,
    and returns the `Body` of the network.

    Args:
        name: the name.
        standardize: how the input is standardised by default.
        tasks: the tasks that the architecture serves.
        families: whether it takes a `SpaceFamily` in the place of the space.
    """

    def add(make: Callable[..., Body]) -> Callable[..., Body]:
        _REGISTRY[name] = _Architecture(make, tasks, standardize, families)
        return make

    return add


def architectures(task: Task | None = None) -> tuple[str, ...]:
    """The names that `build` knows, of those that serve a task if one is named."""
    return tuple(name for name, known in _REGISTRY.items() if task is None or task in known.tasks)


@overload
def build(name: str, space: WeightSpace, task: Task = "equivariant", **options: Any) -> Metanetwork: ...


@overload
def build(
    name: str, space: SpaceFamily | Sequence[WeightSpace], task: Task = "equivariant", **options: Any
) -> MixedMetanetwork: ...


def build(
    name: str,
    space: WeightSpace | SpaceFamily | Sequence[WeightSpace],
    task: Task = "equivariant",
    **options: Any,
) -> Metanetwork | MixedMetanetwork:
    """Builds a metanetwork.

    Args:
        name: one of `architectures`.
        space: weight space of the networks that it takes; or several, or a `SpaceFamily`, for a `MixedMetanetwork` that
            takes networks of these and other architectures, as `pad` puts them together.
        task: "equivariant": weight features to weight features with ``out_channels`` channels; "invariant": weight
            features to a tensor ``[batch, out_features]``.
        options: those of `Metanetwork`, which all architectures have (``in_channels``, ``out_channels`` |
            ``out_features``, ``standardize``, ``probes``, ``gradients``), and those of the architecture (``hidden``,
            ``depth``, ``dropout``, ...), by default as in the published configuration where there is one. False
            stands for None, which TOML does not have.

    Raises:
        ModelError: for an unknown name, task or option.

    Example:
        >>> import weightspace as ws
        >>> space = ws.siren([2, 32, 32, 1])
        >>> ws.build("dws", space, task="invariant", out_features=10)(space.sample(5)).shape
        torch.Size([5, 10])
    """
    if isinstance(space, list | tuple):
        space = SpaceFamily(space)
    if not isinstance(space, WeightSpace | SpaceFamily):
        raise ModelError(f"space: expected a weight space, found {type(space).__name__}")
    if not isinstance(name, str) or name not in _REGISTRY:
        raise ModelError(f"unknown architecture {name!r}; known: {', '.join(_REGISTRY)}")
    known = _REGISTRY[name]
    if task not in get_args(Task):
        raise ModelError(f"task: expected 'equivariant' or 'invariant', found {task!r}")
    if task not in known.tasks:
        others = ", ".join(architectures(task))
        raise ModelError(f"{name} serves {' and '.join(known.tasks)} tasks only; for an {task} one: {others}")
    if isinstance(space, SpaceFamily) and not known.families:
        others = ", ".join(other for other, able in _REGISTRY.items() if able.families)
        raise ModelError(f"{name} takes networks of one architecture; those of several: {others}")
    own = {o: h for o, h in get_type_hints(known.make).items() if o not in ("space", "ports", "return")}
    shared = _COMMON_OF_FAMILIES if isinstance(space, SpaceFamily) else _COMMON
    common = {o: h for o, h in shared.items() if o not in ("space", "task", "options")}
    if unknown := [option for option in options if option not in common | own]:
        raise ModelError(f"{name} has no option {', '.join(unknown)}; it has {', '.join([*common, *own])}")
    if (wrong := "out_features" if task == "equivariant" else "out_channels") in options:
        raise ModelError(f"{wrong} does not go with task={task!r}: its outputs are counted by the other one")
    for option, value in options.items():
        if value is False and type(None) in get_args((common | own)[option]):
            options[option] = None  # TOML has no None
        _check(option, (common | own)[option], options[option])
    if isinstance(space, SpaceFamily):
        return MixedMetanetwork(known.make, space, task, **options)
    return Metanetwork(known.make, space, task, **{"standardize": known.standardize} | options)


def _check(option: str, hint: Any, value: Any) -> None:
    """Refuses a value that is not of the annotated kind: one of a choice, a flag, a count, or a finite number."""
    choices = get_args(hint)
    if get_origin(hint) is not None and all(isinstance(choice, str) for choice in choices):
        good, expected = value in choices, "one of " + ", ".join(map(repr, choices))
    elif hint is bool:
        good, expected = isinstance(value, bool), "True or False"
    elif hint is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        good = good and (option != "dropout" or 0 <= value < 1)
        expected = "a number from 0 up to, not including, 1" if option == "dropout" else "a finite number"
    else:
        good = (value is None and type(None) in choices) or (type(value) is int and value >= 1)
        expected = "a positive integer"
    if not good:
        raise ModelError(f"{option}: expected {expected}, found {value!r}")
