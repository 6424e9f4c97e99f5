"""What conversions between architectures have in common: the module that they return, and layers written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import TheoryError
from ..nn import EquivariantLinear, check_space
from ..space import SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["Simulation", "check_neurons", "empty_layer", "eye", "moved", "shift", "write"]


class Simulation(nn.Module):
    """Layers of one architecture that compute what a network of another computes, on a ball of weights.

    Args:
        space: weight space of the networks.
        layers: they map weight features to weight features together.
        radius: the largest absolute value of an entry of the input for which the output is the same; `math.inf` where
            it always is.
        bound: what no entry of the output exceeds on that ball.

    Attributes:
        layers: the layers.
        radius: as above.
        bound: as above.
    """

    def __init__(
        self, space: WeightSpace, layers: Iterable[nn.Module], *, radius: float = math.inf, bound: float = math.inf
    ) -> None:
        super().__init__()
        self.space, self.radius, self.bound = space, radius, bound
        self.layers = nn.Sequential(*layers)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the layers.

        Raises:
            ModelError: for weights of another space or precision than the network, which conversions make in float64.
        """
        check_space(self.space, theta, like=next(self.parameters()))
        out: WeightFeatures = self.layers(theta)
        return out

    def extra_repr(self) -> str:
        """Shows the radius."""
        return f"radius={self.radius:g}"


def check_neurons(space: WeightSpace, what: str) -> None:
    """Refuses networks that are no feed-forward layers of neurons, whose parameters are matrices and biases.

    Raises:
        TheoryError: names the parameter.
    """
    for parameter in space.parameters:
        groups = parameter.groups
        plain = len(groups) < len(parameter.axes) or any(axis.diagonal for axis in parameter.axes)
        if plain or len(set(groups)) < len(groups) or len(groups) > 2 or any(space.group(g).tied for g in groups):
            raise TheoryError(
                f"{what} takes weight spaces of matrices between two neuron groups and vectors of one; parameter "
                f"{parameter.name!r} has axes of {[axis.group for axis in parameter.axes]}"
            )


def moved(layer: EquivariantLinear) -> frozenset[str]:
    """The neuron groups that a layer ties or pools; it holds the others dense."""
    groups, symmetry = layer.space.groups, layer.symmetry
    return frozenset(g.name for g in groups if g.size > 1 and symmetry.factor(g.name).permutes)


def empty_layer(
    space: WeightSpace, in_channels: int, out_channels: int, symmetry: SymmetryGroup | None = None
) -> EquivariantLinear:
    """An equivariant linear layer in float64 that sums where it pools, with all coefficients and biases zero."""
    layer = EquivariantLinear(space, in_channels, out_channels, symmetry=symmetry, reduction="sum").double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer


@torch.no_grad()
def write(
    layer: EquivariantLinear,
    output: str,
    input: str,
    along: Iterable[str],
    matrix: Float[Tensor, "rows columns"],
    *,
    rows: int = 0,
    columns: int = 0,
) -> None:
    """Adds a linear map of channels from one parameter to another: the same index along some neuron groups, else sums.

    Whether the layer ties these groups or holds them dense makes no difference: of dense ones the diagonal is written.

    Args:
        layer: an equivariant linear layer without rank or attention.
        output: name of the parameter that is written; the map is the same at all its other indices.
        input: name of the parameter that is read, pooled over all its other indices.
        along: the neuron groups that the two have in common and whose index is the same.
        matrix: the map.
        rows: the first channel that is written.
        columns: the first channel that is read.
    """
    shared = set(along)
    tied = shared & moved(layer)
    groups = {parameter.name: parameter.groups for parameter in layer.space.parameters}
    dense = [[g for g in groups[name] if g not in moved(layer)] for name in (output, input)]
    view = layer.coefficients(output, input, tied)
    axes = ["rows", *(f"out:{g}" for g in dense[0]), "columns", *(f"in:{g}" for g in dense[1])]
    view = view.narrow(0, rows, len(matrix)).narrow(axes.index("columns"), columns, matrix.shape[1])
    for name in shared - tied:
        view = view.diagonal(dim1=axes.index(f"out:{name}"), dim2=axes.index(f"in:{name}"))
        axes = [axis for axis in axes if not axis.endswith(f":{name}")] + [name]
    view += matrix.reshape([len(matrix) if a == "rows" else matrix.shape[1] if a == "columns" else 1 for a in axes])


@torch.no_grad()
def shift(layer: EquivariantLinear, output: str, values: Float[Tensor, "*axes channels"], *, rows: int = 0) -> None:
    """Adds constants to the entries of a parameter; along axes that the layer permutes the first ones count.

    Args:
        layer: an equivariant linear layer without rank or attention.
        output: name of the parameter.
        values: the constants, one vector for all entries or one for each; axes of size 1 are broadcast over.
        rows: the first channel that is written.
    """
    groups = layer.space.parameters[layer.space.position(output)].groups
    values = values if values.dim() > 1 else values.view(*[1] * len(groups), -1)
    kept = [0 if group in moved(layer) else slice(None) for group in groups]
    bias = layer.biases(output)[rows : rows + values.shape[-1]]
    bias += values[tuple(kept)].movedim(-1, 0)


def eye(n: int) -> Tensor:
    """The identity matrix in float64."""
    return torch.eye(n, dtype=torch.float64)
