"""Input encodings: maps of weight features that add what a body could not see by itself."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..space import PaddedFeatures, Parameter, WeightFeatures, WeightSpace, activations
from ._layout import check_space

__all__ = ["GaussianFourier", "LearnedPosition", "ProbeFeatures", "SinusoidalPosition"]

Features = TypeVar("Features", WeightFeatures, PaddedFeatures)


class GaussianFourier(nn.Module):
    r"""Random Fourier features of every entry: ``x -> [sin 2 pi x B, cos 2 pi x B]`` with ``B ~ N(0, scale^2)``, fixed.

    Sources: Tancik et al. (2020), arXiv 2006.10739; for weight features Zhou et al. (2023), arXiv 2305.13546.

    Args:
        space: weight space of the features; None to take those of any.
        in_channels: channels of the input.
        frequencies: columns m of B.
        scale: standard deviation of B.
        encoded: how many channels, the first ones, are encoded; the others are passed on. All of them if None.

    Attributes:
        out_channels: 2 m, and the channels that are passed on.
    """

    matrix: Tensor

    def __init__(
        self,
        space: WeightSpace | None,
        in_channels: int,
        frequencies: int = 128,
        scale: float = 3.0,
        encoded: int | None = None,
    ) -> None:
        super().__init__()
        encoded = in_channels if encoded is None else encoded
        self.space, self.in_channels = space, in_channels
        self.out_channels = 2 * frequencies + in_channels - encoded
        self.register_buffer("matrix", 2 * math.pi * scale * torch.randn(encoded, frequencies))

    def forward(self, theta: Features) -> Features:
        """Encodes every entry."""
        if self.space is not None and isinstance(theta, WeightFeatures):
            check_space(self.space, theta, self.in_channels)
        return theta.map(self._encode)

    def _encode(self, x: Float[Tensor, "*entries channels"]) -> Float[Tensor, "*entries features"]:
        encoded = self.matrix.shape[0]
        angles = x[..., :encoded] @ self.matrix
        return torch.cat([angles.sin(), angles.cos(), x[..., encoded:]], dim=-1)


class SinusoidalPosition(nn.Module):
    r"""Appends the positions of input and output units, by which a map that permutes them too can tell them apart.

    With z spread evenly over [-1, 1] and ``s = linspace(1, max_frequency / 2, bands)``, a unit has the code
    ``[sin(pi z s), cos(pi z s), z]``. A parameter gets the codes of the input units that it carries plus those of the
    output units that it carries, and zeros if it carries neither. (The published code also adds the code of z = 0 to
    all entries; that is a constant, which the bias of the next layer absorbs.)

    Source: Zhou et al. (2023), arXiv 2302.14040 ("IOSinusoidalEncoding" of its code).

    Args:
        space: weight space of the features.
        max_frequency: twice the largest factor s.
        bands: number of factors s.

    Attributes:
        extra_channels: number of channels appended, 2 * bands + 1.
    """

    def __init__(self, space: WeightSpace, max_frequency: float = 3.0, bands: int = 3) -> None:
        super().__init__()
        self.space, self.extra_channels = space, 2 * bands + 1
        factors = math.pi * torch.linspace(1.0, max_frequency / 2, bands)
        for i, parameter in enumerate(space.parameters):
            code = torch.zeros(1, *parameter.shape, self.extra_channels)
            for _, axis in _ends(space, parameter):
                z = torch.linspace(-1.0, 1.0, parameter.shape[axis])[:, None]
                code += _along(torch.cat([(z * factors).sin(), (z * factors).cos(), z], dim=-1), axis, parameter)
            self.register_buffer(f"code{i}", code, persistent=False)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Appends the codes."""
        check_space(self.space, theta)
        codes = tuple(
            getattr(self, f"code{i}").expand(len(theta), *t.shape[1:-1], -1) for i, t in enumerate(theta.tensors)
        )
        return theta.concatenate(WeightFeatures(self.space, codes))


class LearnedPosition(nn.Module):
    """Adds learned vectors: one for each parameter, each input and output unit, and each place of each plain axis.

    Hidden units that no symmetry moves have vectors as inputs and outputs have.

    Source: Zhou et al. (2023), arXiv 2305.13546 ("LearnedPosEmbedding" of its code).

    Args:
        space: weight space of the features.
        channels: channels of the features.
    """

    def __init__(self, space: WeightSpace, channels: int) -> None:
        super().__init__()
        self.space, self.channels = space, channels
        self.parameter = nn.Parameter(0.1 * torch.randn(len(space.parameters), channels))
        places = _places(space)
        sizes = {key: p.shape[axis] for p, own in zip(space.parameters, places, strict=True) for axis, key in own}
        keys: list[str | tuple[int, int]] = [group.name for group in space.groups if group.name in sizes]
        keys += [key for key in sizes if key not in keys]
        self._places = [[(axis, keys.index(key)) for axis, key in own] for own in places]
        self.unit = nn.ParameterList(0.1 * torch.randn(sizes[key], channels) for key in keys)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Adds the vectors."""
        check_space(self.space, theta, self.channels)
        tensors = []
        for i, (tensor, position) in enumerate(zip(theta.tensors, self.parameter, strict=True)):
            for axis, table in self._places[i]:
                position = position + _along(self.unit[table], axis, self.space.parameters[i])
            tensors.append(tensor + position)
        return WeightFeatures(self.space, tuple(tensors))


def _places(space: WeightSpace) -> list[list[tuple[int, str | tuple[int, int]]]]:
    """For each parameter the axes that no permutation moves, with the units that they carry, or that axis itself."""
    group = space.symmetry("permutation")
    found: list[list[tuple[int, str | tuple[int, int]]]] = [[] for _ in space.parameters]
    for i, parameter in enumerate(space.parameters):
        for j, axis in enumerate(parameter.axes):
            units = None if axis.group is None else space.group(axis.group).units
            if units is None and axis.size > 1:
                found[i].append((j, (i, j)))
            elif units is not None and not group.factor(units).permutes:
                found[i].append((j, units))
    return found


def _ends(space: WeightSpace, parameter: Parameter) -> list[tuple[str, int]]:
    """The axes of a parameter that carry input or output units, or units tied to such: (neuron group, place)."""
    units = [(i, space.group(axis.group).units) for i, axis in enumerate(parameter.axes) if axis.group is not None]
    return [(name, i) for i, name in units if space.group(name).kind != "hidden"]


def _along(code: Float[Tensor, "units channels"], axis: int, parameter: Parameter) -> Tensor:
    """A vector for each unit, shaped to be broadcast over the other axes: [1, *axes, channels]."""
    shape = [1] * (len(parameter.axes) + 2)
    shape[1 + axis], shape[-1] = code.shape
    return code.view(shape)


class ProbeFeatures(nn.Module):
    """What the neurons of the input network compute at learned probe points.

    The values of a neuron over all probe points (an input's coordinates, a hidden neuron after its activation, the
    output with its offset) are mapped to a vector, one linear map and layer normalisation for each neuron group. A
    weight gets the sum of a linear map of its target's vector and of one of its source's, a bias its neuron's vector.
    Each input channel is a network of its own.

    Source: Kofinas et al. (2024), arXiv 2403.12143 (there added to the node embeddings of the graph).

    Args:
        space: weight space of the networks.
        in_channels: channels of the raw networks.
        probes: number of probe points, drawn from U[-1, 1].
        channels: length of the vectors.

    Attributes:
        out_channels: ``channels``.

    Raises:
        ModelError: for networks that are no feed-forward layers of neurons; see `check_dense`.
    """

    def __init__(self, space: WeightSpace, in_channels: int, probes: int, channels: int = 8) -> None:
        super().__init__()
        check_dense(space)
        self.space, self.in_channels, self.out_channels = space, in_channels, channels
        self.points = nn.Parameter(torch.rand(probes, space.groups[0].size) * 2 - 1)
        self.neuron = nn.ModuleList(
            nn.Sequential(nn.Linear(in_channels * probes, channels), nn.LayerNorm(channels)) for _ in space.groups
        )
        self.target = nn.Linear(channels, channels, bias=False)
        self.source = nn.Linear(channels, channels, bias=False)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Maps raw networks to weight features with ``out_channels`` channels."""
        check_space(self.space, theta, self.in_channels)
        values = activations(theta, self.points)
        neurons = {
            group.name: module(values[group.name].transpose(1, 2).flatten(2))
            for group, module in zip(self.space.groups, self.neuron, strict=True)
        }
        tensors = []
        for parameter in self.space.parameters:
            target, *source = (neurons[name] for name in parameter.groups)
            if source:
                target = self.target(target).unsqueeze(2) + self.source(source[0]).unsqueeze(1)
            tensors.append(target)
        return WeightFeatures(self.space, tuple(tensors))


def check_dense(space: WeightSpace, what: str = "features of what the networks compute") -> None:
    """Refuses spaces whose single neurons are not known.

    These are all but feed-forward layers: traced modules that are no chains of layers, and any parameter that is
    neither a weight between two neuron groups nor a vector of one.
    """
    if not space.is_chain:
        raise ModelError(
            f"{what} need networks of linear layers and activations alone; this space is of a traced module with "
            "other operations"
        )
    for parameter in space.parameters:
        carried = [list(axis.carried()) for axis in parameter.axes]
        sides = [side for axis in carried for _, side in axis]
        names = {name for axis in carried for name, _ in axis}
        whole = all(len(axis) == 1 for axis in carried) and not any(space.group(name).tied for name in names)
        if not whole or sides not in (["out"], ["out", "in"]) or len(names) < len(sides):
            raise ModelError(
                f"parameter {parameter.name!r} has shape {parameter.shape}; {what} need weights between two different "
                "neuron groups and vectors of one, in all parameters"
            )
