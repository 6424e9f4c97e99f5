"""What it takes to run the networks of a zoo on the disk, whose weight space is only described there."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .._errors import SpaceError, ZooError
from ..space import WeightSpace, from_module
from ._zoo import Zoo
from .networks import network
from .published import ParkCNN

__all__ = ["traced"]


def traced(zoo: Zoo) -> tuple[WeightSpace, tuple[int, ...]]:
    """The weight space of a zoo with the module that runs its networks, and the shape of one input.

    Chains of layers, such as INRs, run by themselves. For classifiers the manifest names the architecture: it does in
    zoos of `make_zoo`, in those of `read_published` and in what ``weightspace import-zoo`` makes of them.

    Args:
        zoo: the networks.

    Returns:
        A weight space that equals ``zoo.space`` and can `realize` its networks, and the shape of an input without the
        batch axis. Texts come as vectors, ``(words, 32)``; pixels are those of the data set, and other sizes run too.

    Raises:
        ZooError: if it is not known how to run the networks.

    Example:
        >>> import tempfile, torch, weightspace as ws
        >>> theta = ws.from_module(ws.zoo.SmallCNN("tanh"), torch.zeros(2, 1, 28, 28)).sample(3)
        >>> about = {"recipe": {"architecture": "cnn", "activation": "tanh", "classes": 10}, "input_shape": [1, 28, 28]}
        >>> zoo = ws.zoo.write_zoo(tempfile.mkdtemp(), theta, about=about)
        >>> space, shape = ws.zoo.traced(zoo)
        >>> space.realize(zoo.weights, torch.rand(5, *shape)).shape
        torch.Size([3, 5, 10])
    """
    if zoo.space.is_chain:
        return zoo.space, (zoo.space.groups[0].size,)
    recipe, given = zoo.manifest.get("recipe"), zoo.manifest.get("input_shape")
    try:
        module, shape = _module(recipe), tuple(int(size) for size in given)  # type: ignore[union-attr]
        space = from_module(module, torch.zeros(2, *shape))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SpaceError, ZooError) as error:
        raise ZooError(
            f"{zoo.path} does not say how to run its networks, as the manifests of make-zoo and import-zoo do "
            "('recipe' and 'input_shape')"
        ) from error
    if space != zoo.space:
        raise ZooError(
            f"{zoo.path}: its networks are not those of its recipe {recipe!r}: {zoo.space.difference(space)}"
        )
    return space, shape


def _module(recipe: Any) -> nn.Module:
    """One network of the architecture that a manifest names."""
    if not isinstance(recipe, Mapping):
        raise TypeError(f"expected a mapping, found {recipe!r}")
    if recipe["architecture"] == "park-cnn":
        return ParkCNN(recipe)
    return network(recipe["architecture"], recipe.get("activation", "relu"), recipe["classes"])
