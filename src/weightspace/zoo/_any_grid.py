"""The pixel grid that many networks are fitted to at once: by hand for SIRENs, by autograd for all others."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, WeightSpace
from ._grid import SirenGrid

__all__ = ["AnyGrid", "check_chain", "coordinates", "pixel_grid"]


def coordinates(height: int, width: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "pixels 2"]:
    """Coordinates (x, y) of the pixels of an image, each from -1 to 1; x, the column, runs fastest.

    Example:
        >>> coordinates(2, 3).tolist()
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    x, y = (torch.linspace(-1, 1, n, dtype=dtype) for n in (width, height))
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=-1)


def check_chain(space: WeightSpace) -> None:
    """ZooError for anything but a chain of layers on the plane with something hidden."""
    hidden = space.groups[1:-1]
    chain = [groups for below, above in pairwise(g.name for g in space.groups) for groups in ((above, below), (above,))]
    if space.groups[0].size != 2 or not hidden or [p.groups for p in space.parameters] != chain:
        raise ZooError(
            f"only chains of layers with 2 inputs and at least one hidden layer can be fitted to images, found "
            f"{space.summary()}; make the space with weightspace.siren or weightspace.mlp([2, ..., channels])"
        )


class AnyGrid:
    """What `SirenGrid` is, for chains of layers with any activation.

    Attributes:
        weights: ``[batch, num_parameters]``, each parameter flattened.
        gradient: of each network's loss, laid out as ``weights``; filled by `loss_and_gradient`.
    """

    def __init__(
        self, space: WeightSpace, height: int, width: int, batch: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.space = space
        self.weights, self.gradient = (
            torch.empty(batch, space.num_parameters, dtype=dtype, device=device) for _ in range(2)
        )
        self._points = coordinates(height, width, dtype).to(device)

    def load(self, theta: WeightFeatures) -> None:
        """Takes the weights of ``batch`` networks."""
        self.weights.copy_(theta.flatten())

    def features(self, flat: Tensor) -> WeightFeatures:
        """``weights`` or ``gradient`` as weight features."""
        parts = flat.split([math.prod(p.shape) for p in self.space.parameters], dim=1)
        pairs = zip(parts, self.space.parameters, strict=True)
        return WeightFeatures(self.space, tuple(part.unflatten(1, (*p.shape, 1)) for part, p in pairs))

    def loss(self, targets: Float[Tensor, "batch channels pixels"]) -> Float[Tensor, " batch"]:
        """Mean squared error of each network over channels and pixels; ``targets`` are those less the offset."""
        outputs = self.space.realize(self.features(self.weights), self._points) - self.space.output_offset
        errors: Tensor = (outputs.mT - targets).square().mean((1, 2))
        return errors

    def loss_and_gradient(self, targets: Float[Tensor, "batch channels pixels"]) -> Float[Tensor, " batch"]:
        """The same, and ``gradient`` is filled."""
        with torch.enable_grad():
            self.weights.requires_grad_()
            loss = self.loss(targets)
            (gradient,) = torch.autograd.grad(loss.sum(), self.weights)
        self.weights.requires_grad_(False)
        self.gradient.copy_(gradient)
        return loss.detach()


def pixel_grid(space: WeightSpace) -> type[SirenGrid | AnyGrid]:
    """The faster of the two that can take these networks."""
    sines = all(group.activation.name == "sine" for group in space.groups[1:-1])
    return SirenGrid if sines else AnyGrid
