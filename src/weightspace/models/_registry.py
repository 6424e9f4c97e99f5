"""Published architectures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

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
            ``hidden``, ``depth``, ``dropout`` and ``standardize``, by default as in the published configuration.

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
    for option in ("in_channels", "out_channels", "out_features", "hidden", "depth"):
        if (value := options.get(option)) is not None and (not isinstance(value, int) or value < 1):
            raise ModelError(f"{option}: expected a positive integer, found {value!r}")
    return _REGISTRY[name](space, task, **options)
