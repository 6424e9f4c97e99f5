"""Weight spaces: neuron groups and the parameters whose axes carry them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .._errors import SpaceError
from ..group import TRIVIAL, MonomialGroup
from . import _io, _realize
from ._activation import Activation
from ._features import WeightFeatures

if TYPE_CHECKING:
    from ._symmetry import SymmetryGroup

__all__ = ["Axis", "NeuronGroup", "Parameter", "WeightSpace", "from_description"]

_IDENTITY = Activation("identity")


@dataclass(frozen=True)
class NeuronGroup:
    """A set of interchangeable units; input and output units have the trivial symmetry.

    Attributes:
        name: unique in its weight space.
        size: number of units.
        kind: "input", "hidden" or "output".
        activation: applied to the sum that enters the units.
    """

    name: str
    size: int
    kind: Literal["input", "hidden", "output"] = "hidden"
    activation: Activation = _IDENTITY

    @property
    def symmetry(self) -> MonomialGroup:
        """The largest known linear group that may act on the units."""
        return self.activation.symmetry if self.kind == "hidden" else TRIVIAL


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter: it carries a neuron group on its *out* or *in* side, or is plain.

    Attributes:
        size: length of the axis.
        group: name of the neuron group; None for a plain axis (kernel taps, ...).
        side: which side of the parameter the group is on; None for a plain axis.
    """

    size: int
    group: str | None = None
    side: Literal["out", "in"] | None = None


@dataclass(frozen=True)
class Parameter:
    """One tensor of a network.

    Attributes:
        name: its key in the state dict.
        axes: its axes in the order of the tensor.
        bound: default initialisation: uniform in [-bound, bound]. Spaces that differ in it alone are equal.
    """

    name: str
    axes: tuple[Axis, ...]
    bound: float = field(default=0.0, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(axis.size for axis in self.axes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The neuron groups that its axes carry, in order."""
        return tuple(axis.group for axis in self.axes if axis.group is not None)


@dataclass(frozen=True)
class WeightSpace:
    """The product of all parameters of one architecture, and how to run the network.

    A unit's value is ``activation(sum over incoming weights W h_source + sum of its vectors)``; the output gets
    ``output_offset`` added. Weights have an *out* and an *in* axis, biases an *out* axis alone.

    Attributes:
        groups: neuron groups in an order in which they can be computed, inputs first.
        parameters: parameters in the order of the state dict.
        output_offset: constant added to the output.

    Raises:
        SpaceError: for axes that disagree with the neuron groups.
    """

    groups: tuple[NeuronGroup, ...]
    parameters: tuple[Parameter, ...]
    output_offset: float = 0.0

    def __post_init__(self) -> None:
        sizes = {group.name: group.size for group in self.groups}
        if len(sizes) != len(self.groups) or len({p.name for p in self.parameters}) != len(self.parameters):
            raise SpaceError("names of neuron groups and of parameters must be unique within a weight space")
        for parameter in self.parameters:
            for axis in parameter.axes:
                if axis.group is not None and sizes.get(axis.group) != axis.size:
                    raise SpaceError(
                        f"parameter {parameter.name!r}: an axis of size {axis.size} carries neuron group "
                        f"{axis.group!r}, whose size is {sizes.get(axis.group, 'not known')}"
                    )

    # -------------------------------------------------------------------------------------------------- structure
    @cached_property
    def _positions(self) -> dict[str, int]:
        return {p.name: i for i, p in enumerate(self.parameters)}

    def position(self, name: str) -> int:
        """The place of a parameter in ``parameters``; SpaceError lists the names if there is none such."""
        if name not in self._positions:
            raise SpaceError(f"no parameter {name!r}; this space has {', '.join(self._positions)}")
        return self._positions[name]

    def group(self, name: str) -> NeuronGroup:
        """The neuron group of that name."""
        for group in self.groups:
            if group.name == name:
                return group
        raise SpaceError(f"no neuron group {name!r}; this space has {', '.join(g.name for g in self.groups)}")

    @property
    def num_parameters(self) -> int:
        """The number of weights of one network."""
        return sum(int(torch.Size(p.shape).numel()) for p in self.parameters)

    def summary(self) -> str:
        """The widths in one line."""
        return "-".join(str(group.size) for group in self.groups)

    def difference(self, other: WeightSpace) -> str:
        """In what another space differs from this one, in words; empty if it does not."""
        ours, theirs = (
            {
                "widths": space.summary(),
                "parameters": [p.name for p in space.parameters],
                "activations": [(g.activation.name, g.activation.omega) for g in space.groups],
                "output offset": space.output_offset,
                "axes": space.parameters,
                "neuron groups": space.groups,
            }
            for space in (self, other)
        )
        for what, expected in ours.items():
            if expected != theirs[what]:
                return f"{what}: expected {expected}, found {theirs[what]}"
        return ""

    def describe(self) -> dict[str, Any]:
        """A description that JSON can hold; `from_description` reads it back."""
        return dataclasses.asdict(self)

    # --------------------------------------------------------------------------------------------------- networks
    def features(self, tensors: Mapping[str, Tensor]) -> WeightFeatures:
        """Weight features from one tensor ``[batch, *shape, channels]`` for each parameter.

        Raises:
            SpaceError: names the tensor, the expected and the found shape, dtype or device, and non-finite entries.
        """
        return _io.features(self, tensors)

    def stack(self, networks: Iterable[nn.Module | Mapping[str, Tensor]]) -> WeightFeatures:
        """A batch of networks from modules or state dicts, as raw weights (one channel).

        Raises:
            SpaceError: lists missing and unexpected keys; names tensors of a wrong shape or with non-finite entries.
        """
        return _io.stack(self, networks)

    def unstack(self, theta: WeightFeatures) -> list[dict[str, Tensor]]:
        """The state dicts of a batch of networks: the exact inverse of `stack`."""
        return _io.unstack(self, theta)

    def sample(self, batch: int, generator: torch.Generator | None = None) -> WeightFeatures:
        """Draws networks from the default initialisation, in the default dtype."""
        return WeightFeatures(
            self,
            tuple((torch.rand(batch, *p.shape, 1, generator=generator) * 2 - 1) * p.bound for p in self.parameters),
        )

    def to_module(self, theta: WeightFeatures) -> nn.Sequential:
        """One network (a batch of one) as a plain `torch.nn.Sequential`.

        Raises:
            SpaceError: if the batch is not one network, or if the architecture is not a chain of layers.
        """
        return _io.to_module(self, theta)

    def realize(self, theta: WeightFeatures, x: Tensor) -> Tensor:
        """Runs every network of the batch: f_theta(x).

        Args:
            theta: batch of B networks with C channels, each channel a network of its own.
            x: inputs ``[N, d_in]`` for all networks, or ``[B, N, d_in]``.

        Returns:
            ``[B, N, d_out]`` for one channel, ``[B, N, d_out, C]`` for more.

        Raises:
            SpaceError: for inputs of another shape or dtype.
        """
        return _realize.realize(self, theta, x)

    # --------------------------------------------------------------------------------------------------- symmetry
    def symmetry(self, name: str | None = None) -> SymmetryGroup:
        """The symmetry group by name, or the largest one known for the architecture and its activations.

        Args:
            name: None, "trivial", "permutation", "signed_permutation" or "positive_monomial".

        Raises:
            SymmetryError: if the group would change what the networks compute, with the reason.
        """
        from ._symmetry import symmetry

        return symmetry(self, name)


def from_description(description: Mapping[str, Any]) -> WeightSpace:
    """The weight space that `WeightSpace.describe` described."""
    groups = tuple(
        NeuronGroup(**{**group, "activation": Activation(**group["activation"])}) for group in description["groups"]
    )
    parameters = tuple(
        Parameter(**{**parameter, "axes": tuple(Axis(**axis) for axis in parameter["axes"])})
        for parameter in description["parameters"]
    )
    return WeightSpace(groups, parameters, description["output_offset"])
