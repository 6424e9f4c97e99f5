"""What happens inside the traced modules of a batch."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..space import WeightFeatures

__all__ = ["observe"]


def observe(
    theta: WeightFeatures,
    x: Tensor | tuple[Tensor, ...],
    views: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
) -> dict[str, Tensor]:
    """What submodules see and return while all networks of a batch run.

    Args:
        theta: networks of a traced space.
        x: as for `WeightSpace.realize`.
        views: for each submodule by its path, what to keep of its input and its output. Where a submodule is called
            more than once, the results are put side by side along their last axis.

    Returns:
        For each submodule ``[batch, *shape of the view]``.
    """
    program = theta.space.program
    assert program is not None
    module = copy.deepcopy(program.module)  # it has no weights
    seen: dict[str, list[Tensor]] = {path: [] for path in views}
    shapes: dict[str, torch.Size] = {}

    def watch(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, inputs, output: seen[path].append(views[path](inputs[0], output))

    for path in views:
        module.get_submodule(path).register_forward_hook(watch(path))
    forward = module.forward

    def flat(*inputs: Any) -> Tensor:
        for found in seen.values():
            found.clear()
        forward(*inputs)
        results = {path: torch.cat(found, dim=-1) for path, found in seen.items()}
        shapes.update({path: result.shape for path, result in results.items()})
        return torch.cat([result.flatten() for result in results.values()])

    module.forward = flat
    together = dataclasses.replace(program, module=module).realize(theta, x)
    parts = together.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {path: part.unflatten(1, shapes[path]) for path, part in zip(shapes, parts, strict=True)}
