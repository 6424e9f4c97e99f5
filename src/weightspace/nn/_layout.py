"""How the axes of each parameter enter a permutation-equivariant map: permuted axes first, the others as channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .._errors import ModelError
from ..space import Parameter, WeightFeatures, WeightSpace

__all__ = ["Layout", "Permuted", "layouts", "permuted_groups"]

Permuted = Literal["hidden", "all"]


@dataclass(frozen=True)
class Layout:
    """The axes of one parameter, split into permuted ones and dense ones.

    Attributes:
        groups: the permuted neuron groups that the parameter carries, in the order of its axes.
        order: axes of a tensor [batch, *axes, channels] with the permuted axes moved to the front.
        dense: sizes of the dense axes; they are folded into the channels.
    """

    groups: tuple[str, ...]
    order: tuple[int, ...]
    dense: tuple[int, ...]

    @property
    def multiplicity(self) -> int:
        """How many folded channels stand for one channel."""
        count = 1
        for size in self.dense:
            count *= size
        return count

    def fold(self, tensor: Tensor) -> Tensor:
        """[batch, *axes, channels] -> [batch, *permuted, dense * channels]; a view where no dense axis comes first."""
        return tensor.permute(self.order).flatten(1 + len(self.groups)) if self.dense else tensor

    def unfold(self, tensor: Tensor) -> Tensor:
        """The inverse of `fold`."""
        if not self.dense:
            return tensor
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        unfolded: Tensor = tensor.unflatten(-1, (*self.dense, -1))
        return unfolded.permute(inverse)


def permuted_groups(space: WeightSpace, permuted: Permuted) -> tuple[str, ...]:
    """Neuron groups that a map treats as permuted: the hidden ones, or all of them.

    A group of one unit has nothing to permute and counts as dense: tying and pooling coincide on it, and the basis
    of equivariant maps would hold every such term twice.
    """
    if permuted not in get_args(Permuted):
        raise ModelError(f"permuted: expected 'hidden' or 'all', found {permuted!r}")
    return tuple(g.name for g in space.groups if g.size > 1 and (permuted == "all" or g.kind == "hidden"))


def layouts(space: WeightSpace, permuted: Permuted) -> tuple[Layout, ...]:
    """The layout of each parameter of a space."""
    names = set(permuted_groups(space, permuted))
    return tuple(_layout(parameter, names) for parameter in space.parameters)


def _layout(parameter: Parameter, names: set[str]) -> Layout:
    moving = [i for i, axis in enumerate(parameter.axes) if axis.group in names]
    dense = [i for i in range(len(parameter.axes)) if i not in moving]
    groups = tuple(str(parameter.axes[i].group) for i in moving)
    if len(groups) > 2 or len(set(groups)) != len(groups):
        raise ModelError(
            f"parameter {parameter.name!r} carries the permuted neuron groups {groups}; this map takes parameters "
            "that carry at most two, each once"
        )
    order = (0, *(1 + i for i in moving), *(1 + i for i in dense), 1 + len(parameter.axes))
    return Layout(groups, order, tuple(parameter.axes[i].size for i in dense))


def check_space(
    expected: WeightSpace, theta: WeightFeatures, channels: int | None = None, like: Tensor | None = None
) -> None:
    """Refuses weight features of another space, number of channels, dtype or device with a `ModelError`."""
    if theta.space != expected:
        raise ModelError(f"this network is for another weight space: {expected.difference(theta.space)}")
    if channels is not None and theta.channels != channels:
        raise ModelError(f"this network takes weight features with {channels} channels, found {theta.channels}")
    if like is None or torch.is_autocast_enabled(like.device.type):
        return
    if theta.dtype != like.dtype or theta.device != like.device:
        raise ModelError(
            f"this network is {like.dtype} on {like.device}, the weight features are {theta.dtype} on {theta.device}; "
            "use theta.to(...)"
        )
