"""Changes of weights, and by how much they change what networks compute."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...group import PERMUTATION, MatrixGroup
from ...space import SymmetryGroup, WeightSpace, from_module
from .._symmetry_error import function_difference, random_networks

__all__ = ["Row", "edited", "generator", "inputs", "permuting", "replaced", "torn", "traced"]


class Row(NamedTuple):
    """A change of weights: of which network, what it is, by how much the function changes, whether it is preserved."""

    network: str
    what: str
    change: float
    preserved: bool


def generator(seed: int = 0) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


def inputs(*shape: int) -> Tensor:
    """Twenty inputs of a shape."""
    return torch.randn(20, *shape, generator=generator(), dtype=torch.float64)


def traced(*layers: nn.Module, shape: tuple[int, ...]) -> WeightSpace:
    """The weight space of a sequence of layers on inputs of a shape."""
    return from_module(nn.Sequential(*layers), torch.zeros(2, *shape))


def replaced(group: SymmetryGroup, factors: dict[str, MatrixGroup]) -> SymmetryGroup:
    """Other factors on some neuron groups, whether they preserve the function or not."""
    of = {neurons.name: group.factor(neurons.name) for neurons in group.space.groups}
    assert factors.keys() <= of.keys(), factors.keys()
    return SymmetryGroup(group.space, tuple((of | factors).values()))


def permuting(space: WeightSpace, name: str) -> SymmetryGroup:
    """Permutations of one neuron group alone, and of those tied to it."""
    return replaced(space.symmetry("trivial"), {name: PERMUTATION})


def torn(group: SymmetryGroup, names: Collection[str], x: Tensor) -> float:
    """By how much the function changes if some parameters are moved by another element than the rest."""
    theta = random_networks(group.space, 4, generator())
    rest, others = (group.act(group.sample(4, generator(seed), dtype=torch.float64), theta) for seed in (1, 2))
    both = group.space.features({name: (others if name in names else rest)[name] for name in theta})
    return function_difference(theta, both, x)


def edited(space: WeightSpace, changes: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> float:
    """By how much the function changes if tensors of the state dict are replaced."""
    theta = random_networks(space, 1, generator())
    (state,) = space.unstack(theta)
    moved = space.stack([state | {name: change(state[name]) for name, change in changes.items()}])
    return function_difference(theta, moved, x)
