"""Published architectures by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from .._errors import ModelError
from ..space import WeightSpace

__all__ = ["Task", "architectures", "build", "register"]

Task = Literal["equivariant", "invariant"]
_REGISTRY: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Makes a metanetwork known to `build` under a name."""

    def add(cls: type[nn.Module]) -> type[nn.Module]:
        _REGISTRY[name] = cls
        return cls

    return add


def architectures() -> tuple[str, ...]:
    """The names that `build` knows."""
    return tuple(_REGISTRY)


def build(name: str, space: WeightSpace, task: Task = "equivariant", **options: Any) -> nn.Module:
    """Builds a metanetwork.

    Args:
        name: one of `architectures`.
        space: weight space of the networks that it takes.
        task: "equivariant": weight features to weight features with ``out_channels`` channels; "invariant": weight
            features to a tensor ``[batch, out_features]``.
        options: keywords of the architecture; all have ``in_channels``, ``out_channels`` | ``out_features``,
            ``hidden``, ``depth``, ``dropout`` and ``standardize``, by default as in the published configuration
            (but for the statistics that standardise the input of DWS, which are shared so that they are equivariant).

    Raises:
        ModelError: for an unknown name, task or option.

    Example:
        >>> import weightspace as ws
        >>> space = ws.siren([2, 32, 32, 1])
        >>> ws.build("dws", space, task="invariant", out_features=10)(space.sample(5)).shape
        torch.Size([5, 10])
    """
    if name not in _REGISTRY:
        raise ModelError(f"unknown architecture {name!r}; known: {', '.join(_REGISTRY)}")
    if task not in ("equivariant", "invariant"):
        raise ModelError(f"task: expected 'equivariant' or 'invariant', found {task!r}")
    accepted = [p for p in inspect.signature(_REGISTRY[name]).parameters if p not in ("space", "task")]
    if unknown := [option for option in options if option not in accepted]:
        raise ModelError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(accepted)}")
    if (wrong := "out_features" if task == "equivariant" else "out_channels") in options:
        raise ModelError(f"{wrong} does not go with task={task!r}: its outputs are counted by the other one")
    hints = get_type_hints(_REGISTRY[name].__init__)
    for option, value in options.items():
        _check(option, hints[option], value)
    return _REGISTRY[name](space, task, **options)


def _check(option: str, hint: Any, value: Any) -> None:
    """Refuses a value that is not of the annotated kind: one of a choice, a flag, a count, or a finite number."""
    choices = get_args(hint)
    if get_origin(hint) is Literal:
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
