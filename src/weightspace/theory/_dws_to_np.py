"""DWS networks as NP-NFN networks that know the positions of inputs and outputs."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..models import all_permutations
from ..nn import EquivariantLinear, Pointwise
from ..space import Parameter, WeightFeatures, WeightSpace
from ._arguments import check_positive
from ._fold import affine_layers, pooled_entries
from ._simulation import Simulation, check_neurons, empty_layer, eye, moved, write

__all__ = ["OneHotPosition", "dws_to_np"]

_SIGNS = torch.tensor([1.0, -1.0], dtype=torch.float64)


class OneHotPosition(nn.Module):
    """Appends a one-hot code of the place of each entry along the axes that no permutation of hidden neurons moves.

    These are input and output units. A parameter that carries none of them has the code of place 0 everywhere.

    Args:
        space: weight space of the features.

    Attributes:
        places: number of channels appended, the largest number of places that a parameter has.

    Raises:
        TheoryError: for parameters that are neither matrices nor biases.
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        check_neurons(space, "OneHotPosition")
        permuted = {g.name for g in space.groups if space.symmetry("permutation").factor(g.name).permutes}
        places = [_places(parameter, permuted) for parameter in space.parameters]
        self.places = 1 + max(int(place.max()) for place in places)
        for i, place in enumerate(places):
            self.register_buffer(f"code{i}", F.one_hot(place, self.places)[None].double(), persistent=False)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Appends the codes."""
        codes = (getattr(self, f"code{i}").expand(len(theta), *t.shape[1:-1], -1) for i, t in enumerate(theta.tensors))
        return theta.concatenate(WeightFeatures(theta.space, tuple(codes)))


def _places(parameter: Parameter, permuted: set[str]) -> Tensor:
    """For each entry of a parameter its number among the places of the axes that are not permuted."""
    fixed = [1 if group in permuted else size for group, size in zip(parameter.groups, parameter.shape, strict=True)]
    return torch.arange(math.prod(fixed)).view(fixed).expand(parameter.shape)


def dws_to_np(network: nn.Module, radius: float) -> Simulation:
    """A DWS network as an NP-NFN network: positional encoding, then equivariant layers with ReLU between.

    The layers of NP commute with the permutations of inputs and outputs too, and have fewer coefficients. Each DWS
    layer becomes three of them. With a one-hot code of the place k of an entry, the first puts its features into the
    k-th of as many slots as there are places, the others of which are zero: slot m is ``relu(x - r q) - relu(-x -
    r q)``, where q, the sum of the other channels of the code, is 0 if m = k and else 1. The second one sums over all
    places, after which every entry knows what is at each place, applies the coefficients of the DWS layer for all
    places that the result could be at, and keeps in the same way that of its own place. The third adds the slots.

    Source: arXiv 2602.01083, Theorem 5.2; the layers are ours.

    Args:
        network: a layer, an `nn.Sequential` of layers, or an equivariant "dws" network of `weightspace.build` with
            linear neuron maps and "mean" or "sum" pooling. Batch normalisation and standardisation become part of the
            layers.
        radius: the largest absolute value of an entry of the input. Beyond it the result is wrong.

    Returns:
        The network in float64: one channel in, ``2 D C + D`` and ``2 D C' + D`` channels inside, where D is the number
        of places. Its ``radius`` is the argument, its ``bound`` that of the output.

    Raises:
        TheoryError: for another network or weight space, and a radius that is not positive.
        ModelError: for layers with attention or a rank.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 3, 2])
        >>> layer = ws.nn.EquivariantLinear(space, 1, 1).double()
        >>> simulation = ws.theory.dws_to_np(layer, radius=2.0)
        >>> theta = space.sample(4).map(lambda t: t.double().clamp(-2, 2))
        >>> both = simulation(theta).map(torch.sub, layer(theta))
        >>> max(float(t.detach().abs().max()) for t in both.tensors) < 1e-12
        True
    """
    check_positive("radius", radius)
    layers = affine_layers(network)
    linear = [layer for layer in layers if isinstance(layer, EquivariantLinear)]
    space = linear[0].space
    if any(layer.symmetry != space.symmetry("permutation") for layer in linear):
        raise TheoryError("dws_to_np takes layers that commute with the permutations of hidden neurons, found others")
    position = OneHotPosition(space)
    converted: list[nn.Module] = [position]
    bound = radius
    for layer in layers:
        if isinstance(layer, EquivariantLinear):
            three, bound = _convert(layer, position.places, bound, last=layer is linear[-1])
            converted += three
        else:
            converted.append(layer)
    return Simulation(space, converted, radius=radius, bound=bound)


def _convert(layer: EquivariantLinear, places: int, radius: float, *, last: bool) -> tuple[list[nn.Module], float]:
    """Three layers of NP for one of DWS, and a bound on its output. The last channels are the code of the place."""
    space, c, out = layer.space, layer.in_channels, layer.out_channels
    widths = [c + places, (2 * c + 1) * places, (2 * out + 1) * places, out + (0 if last else places)]
    slots, mixed, added = (empty_layer(space, *pair, all_permutations(space)) for pair in pairwise(widths))
    bound = _mix(layer, mixed, places, radius)
    for parameter in space.parameters:
        name, along = parameter.name, parameter.groups
        write(slots, name, name, along, torch.kron(_SIGNS[:, None], eye(c).repeat(places, 1)))
        write(added, name, name, along, torch.kron(_SIGNS[None], eye(out).repeat(1, places)))
        for gated, width, limit in ((slots, c, radius), (mixed, out, bound)):
            others = torch.kron(1 - eye(places), torch.ones(width, 1, dtype=torch.float64)).repeat(2, 1)
            write(gated, name, name, along, -limit * others, columns=gated.in_channels - places)
        for passing in (slots, mixed) if last else (slots, mixed, added):
            rows, columns = passing.out_channels - places, passing.in_channels - places
            write(passing, name, name, along, eye(places), rows=rows, columns=columns)
    relu = Pointwise(F.relu)
    return [slots, relu, mixed, relu, added], bound


@torch.no_grad()
def _mix(layer: EquivariantLinear, mixed: EquivariantLinear, places: int, radius: float) -> float:
    """Applies the coefficients of a DWS layer to slots, for all places of the result; what no entry of it exceeds."""
    out, into = layer.out_channels * places, layer.in_channels * places
    biases = {p.name: layer.biases(p.name).reshape(layer.out_channels, -1).mT.flatten() for p in layer.space.parameters}
    sizes = {name: bias.abs() for name, bias in biases.items()}
    for name, bias in biases.items():
        signed = torch.kron(_SIGNS, F.pad(bias, (0, out - len(bias))))
        mixed.biases(name)[: len(signed)].add_(signed.view(-1, *[1] * (mixed.biases(name).dim() - 1)))
    for term in layer.terms():
        coefficients = layer.coefficients(*term)
        matrix = _side_by_side(coefficients, 1 + _axes(layer, term.output))
        entries = pooled_entries(layer, term.input, term.tied)
        each = matrix / entries if layer.reduction == "mean" else matrix
        sizes[term.output] += each.abs().sum(1) * entries * radius
        padded = F.pad(each, (0, into - each.shape[1], 0, out - len(each)))
        write(mixed, term.output, term.input, term.tied, torch.kron(torch.outer(_SIGNS, _SIGNS), padded))
    return max(float(size.max()) for size in sizes.values())


def _axes(layer: EquivariantLinear, name: str) -> int:
    """The number of axes of a parameter that a layer holds dense."""
    (groups,) = (p.groups for p in layer.space.parameters if p.name == name)
    return sum(group not in moved(layer) for group in groups)


def _side_by_side(coefficients: Tensor, at: int) -> Float[Tensor, "places_out*out places_in*channels"]:
    """[out, *dense, channels, *dense] -> a matrix whose rows and columns go through the places, then the channels."""
    rows, columns = coefficients.shape[:at], coefficients.shape[at:]
    split = coefficients.reshape(rows[0], rows[1:].numel(), columns[0], columns[1:].numel())
    return split.permute(1, 0, 3, 2).reshape(rows.numel(), columns.numel())
