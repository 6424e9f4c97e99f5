r"""Affine maps of the inputs of a network, exactly: :math:`W (A x + t) + b = (W A) x + (W t + b)`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import SpaceError
from ..space import WeightFeatures, WeightSpace, check_features
from ._chain import check

__all__ = ["RotateInputs", "ScaleInputs", "TranslateInputs", "transform_inputs"]


def transform_inputs(
    theta: WeightFeatures,
    matrix: Float[Tensor, "batch inputs inputs"] | None = None,
    shift: Float[Tensor, "batch inputs"] | None = None,
) -> WeightFeatures:
    """The networks x ↦ f(A x + t), for any activations: only the first weights and biases change.

    Published code also pushes t through later layers as if they were linear, which is no translation of what a network
    shows; nor does it leave its input as it was (Navon et al., 2023, arXiv 2301.12780).

    Args:
        theta: B networks that are chains of layers, such as INRs. Channels are networks of their own.
        matrix: A for each network, or one for all; the identity if None.
        shift: t for each network, or one for all; zero if None.

    Raises:
        SpaceError: for networks whose inputs go through anything but matrices, or units without a bias to shift.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.siren([2, 16, 1])
        >>> theta, x = space.sample(3).to(torch.float64), torch.rand(50, 2, dtype=torch.float64)
        >>> moved = transform_inputs(theta, shift=torch.tensor([[0.25, 0.0]]))
        >>> torch.allclose(space.realize(moved, x), space.realize(theta, x + torch.tensor([0.25, 0.0])))
        True
    """
    check_features(theta)
    tensors = list(theta.tensors)
    for weight, axis, bias in _first_layer(theta.space, biases=shift is not None):
        entering = theta.tensors[weight]
        if shift is not None:
            moved = torch.einsum("boic,bi->boc", entering.movedim(axis, 2), shift.to(entering).expand(len(theta), -1))
            tensors[bias] = tensors[bias] + moved
        if matrix is not None:
            product = torch.einsum(
                "boic,bij->bojc", entering.movedim(axis, 2), matrix.to(entering).expand(len(theta), -1, -1)
            )
            tensors[weight] = product.movedim(2, axis)
    return WeightFeatures(theta.space, tuple(tensors))


def _first_layer(space: WeightSpace, *, biases: bool) -> list[tuple[int, int, int]]:
    """The weights that read the inputs: place, axis of the inputs, and place of the bias beside them."""
    names = {group.name for group in space.groups if group.kind == "input"}
    found = []
    for place, parameter in enumerate(space.parameters):
        axes = [i for i, axis in enumerate(parameter.axes, start=1) if axis.group in names]
        if not axes:
            continue
        if not space.is_chain or len(names) != 1 or len(parameter.axes) != 2:
            raise SpaceError(
                f"inputs can be transformed in chains of linear layers, as mlp and siren make them; found {space!r}"
            )
        units = parameter.axes[2 - axes[0]].group
        beside = [i for i, p in enumerate(space.parameters) if [axis.group for axis in p.axes] == [units]]
        if biases and not beside:
            raise SpaceError(f"inputs cannot be shifted: the units {units!r} have no bias that could take it up")
        found.append((place, axes[0], beside[0] if beside else -1))
    return found


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound


def _inputs(theta: WeightFeatures) -> int:
    check_features(theta)
    return sum(group.size for group in theta.space.groups if group.kind == "input")


@dataclass(frozen=True)
class RotateInputs:
    """x ↦ f(R x) with a rotation of the plane by an angle uniform in ±degrees, of networks with two inputs.

    Attributes:
        degrees: the largest angle; 45 in Navon et al. (2023), 30 in Shamsian et al. (2024, arXiv 2402.04081).
    """

    degrees: float = 45.0

    def __post_init__(self) -> None:
        check(self, "degrees", self.degrees, 0, 180)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`; SpaceError for networks with another number of inputs."""
        if (inputs := _inputs(theta)) != 2:
            raise SpaceError(f"RotateInputs turns the plane: expected networks with 2 inputs, found {inputs}")
        angle = _uniform((len(theta),), math.radians(self.degrees), generator)
        cos, sin = angle.cos(), angle.sin()
        return transform_inputs(theta, torch.stack([cos, -sin, sin, cos], dim=1).unflatten(1, (2, 2)))


@dataclass(frozen=True)
class TranslateInputs:
    """x ↦ f(x + t), each coordinate of t uniform in ±distance.

    Attributes:
        distance: the largest shift, in the unit of the inputs; an image goes from -1 to 1. 0.25 in both papers.
    """

    distance: float = 0.25

    def __post_init__(self) -> None:
        check(self, "distance", self.distance, 0, math.inf)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        inputs = _inputs(theta)
        return transform_inputs(theta, shift=_uniform((len(theta), inputs), self.distance, generator))


@dataclass(frozen=True)
class ScaleInputs:
    """x ↦ f(s x), s uniform in 1 ± amount.

    Attributes:
        amount: the largest change of the scale, below 1; 0.2 in both papers.
    """

    amount: float = 0.2

    def __post_init__(self) -> None:
        check(self, "amount", self.amount, 0, 1)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        identity = torch.eye(_inputs(theta), dtype=torch.float64)
        scale = 1 + _uniform((len(theta), 1, 1), self.amount, generator)
        return transform_inputs(theta, scale * identity)
