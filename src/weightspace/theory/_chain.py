"""ReLU networks as lists of layers, for constructions that go through them one layer after the other."""

from __future__ import annotations

from torch import Tensor

from .._errors import TheoryError
from ..space import WeightFeatures, WeightSpace, mlp
from ._arguments import check_networks

__all__ = ["check_relu_chain", "layers", "widths"]


def check_relu_chain(space: WeightSpace, what: str) -> None:
    """Refuses all but multilayer perceptrons with ReLU."""
    names = [p.name.removesuffix(".weight") for p in space.parameters[::2]]
    if len(names) != len(space.groups) - 1 or space != mlp(widths(space), layer_names=names):
        activations = sorted({g.activation.name for g in space.groups if g.kind == "hidden"})
        raise TheoryError(
            f"{what}: expected networks of weightspace.mlp(dims) with activation relu, found {space.summary()} with "
            f"activation {', '.join(activations) or 'none'}"
        )


def widths(space: WeightSpace) -> list[int]:
    """The number of units of each layer, from the inputs to the outputs."""
    return [group.size for group in space.groups]


def layers(theta: WeightFeatures, what: str) -> list[tuple[Tensor, Tensor]]:
    """For each layer the weights [batch, out, in] and biases [batch, out] of ReLU networks with one channel.

    Raises:
        TheoryError: for other networks, an empty batch, and weights that are not finite.
    """
    check_relu_chain(theta.space, what)
    check_networks(what, theta)
    if theta.channels != 1:
        raise TheoryError(
            f"{what}: expected one network in each batch entry, found {theta.channels} channels; "
            "weightspace.merge_ensemble makes one network of them"
        )
    tensors = [tensor[..., 0] for tensor in theta.tensors]
    return list(zip(tensors[::2], tensors[1::2], strict=True))
