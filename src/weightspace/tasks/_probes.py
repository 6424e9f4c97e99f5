"""What the networks of a zoo answer to random inputs: all that a baseline needs that looks at functions alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, WeightSpace, from_module
from ..zoo import SmallCNN, SmallViT, Zoo

__all__ = ["random_probes"]

_BATCH = 64


def random_probes(
    zoo: Zoo, points: int = 32, seed: int = 0
) -> Callable[[WeightFeatures], Float[Tensor, "batch features"]]:
    """A function that gives the outputs of networks of a zoo at random inputs, uniform in [-1, 1], side by side.

    No symmetry changes these features.

    Args:
        zoo: INRs or other chains of layers, or image classifiers that `zoo.make_zoo` has trained.
        points: number of inputs.
        seed: of the inputs.

    Raises:
        ZooError: if it is not known how to run the networks.
    """
    space = zoo.space
    shape: tuple[int, ...] = (space.groups[0].size,)
    if not space.is_chain:
        space, shape = _traced(zoo)
    inputs = 2 * torch.rand(points, *shape, generator=torch.Generator().manual_seed(seed)) - 1

    def outputs(theta: WeightFeatures) -> Tensor:
        parts = [theta[start : start + _BATCH] for start in range(0, len(theta), _BATCH)]
        return torch.cat([space.realize(part, inputs.to(part.tensors[0])).flatten(1) for part in parts])

    return outputs


def _traced(zoo: Zoo) -> tuple[WeightSpace, tuple[int, ...]]:
    """The weight space of image classifiers with the module that runs them, and the shape of an image."""
    recipe: Any = zoo.manifest.get("recipe")
    made = {"cnn": _cnn, "transformer": _transformer}
    if isinstance(recipe, dict) and recipe.get("architecture") in made and "image_shape" in zoo.manifest:
        shape = (1, *zoo.manifest["image_shape"])
        space = from_module(made[recipe["architecture"]](recipe), torch.zeros(2, *shape))
        if space == zoo.space:
            return space, shape
    raise ZooError(f"{zoo.path} does not say how to run its networks: random probes need INRs, or a zoo of make-zoo")


def _cnn(recipe: Any) -> SmallCNN:
    return SmallCNN(recipe["activation"], recipe["classes"])


def _transformer(recipe: Any) -> SmallViT:
    return SmallViT(recipe["classes"])
