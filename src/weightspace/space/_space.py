"""Weight spaces: neuron groups and the parameters whose axes carry them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Generator, Size, Tensor, nn

from .._errors import SpaceError
from ..group import GeneralLinearGroup, MatrixGroup, MonomialGroup
from . import _io, _realize
from ._activation import Activation
from ._features import WeightFeatures
from ._labels import Axis, Block, NeuronGroup, Parameter, StoredTensor

if TYPE_CHECKING:
    from ._program import Program
    from ._symmetry import SymmetryGroup

__all__ = ["WeightSpace", "from_description"]


@dataclass(frozen=True, repr=False)
class WeightSpace:
    """The product of all parameters of one architecture, and how to run the network.

    Without a program a unit's value is ``activation(sum over incoming weights W h_source + sum of its vectors)``; the
    output gets ``output_offset`` added. Weights have an *out* and an *in* axis, biases an *out* axis alone.

    Attributes:
        groups: neuron groups in an order in which they can be computed, inputs first.
        parameters: parameters in the order of the state dict.
        output_offset: constant added to the output.
        tensors: the tensors of the state dict; empty if each parameter is one of them.
        program: the module that was traced. Spaces that differ in it alone are equal; it is no part of `describe`.

    Raises:
        SpaceError: for axes that disagree with the neuron groups.
    """

    groups: tuple[NeuronGroup, ...]
    parameters: tuple[Parameter, ...]
    output_offset: float = 0.0
    tensors: tuple[StoredTensor, ...] = ()
    program: Program | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        sizes = {group.name: group.size for group in self.groups}
        if len(sizes) != len(self.groups) or len({p.name for p in self.parameters}) != len(self.parameters):
            raise SpaceError("names of neuron groups and of parameters must be unique within a weight space")
        for parameter in self.parameters:
            for axis in parameter.axes:
                for name in {axis.group, axis.diagonal[0] if axis.diagonal else None} - {None}:
                    if sizes.get(str(name)) != axis.size:
                        raise SpaceError(
                            f"parameter {parameter.name!r}: an axis of size {axis.size} carries neuron group "
                            f"{name!r}, whose size is {sizes.get(str(name), 'not known')}"
                        )

    # -------------------------------------------------------------------------------------------------- structure
    @cached_property
    def _positions(self) -> dict[str, int]:
        return {p.name: i for i, p in enumerate(self.parameters)}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, by name."""
        return {p.name: p.shape for p in self.parameters}

    def position(self, name: str) -> int:
        """The place of a parameter in ``parameters``; SpaceError lists the names if there is none such."""
        if name not in self._positions:
            raise SpaceError(f"no parameter {name!r}; this space has {', '.join(self._positions)}")
        return self._positions[name]

    @cached_property
    def _by_name(self) -> dict[str, NeuronGroup]:
        return {group.name: group for group in self.groups}

    def group(self, name: str) -> NeuronGroup:
        """The neuron group of that name."""
        if name not in self._by_name:
            raise SpaceError(f"no neuron group {name!r}; this space has {', '.join(self._by_name)}")
        return self._by_name[name]

    @cached_property
    def stored(self) -> tuple[StoredTensor, ...]:
        """The tensors of the state dict, each with the parameters that it holds."""
        return self.tensors or tuple(
            StoredTensor(p.name, p.shape, (Block(p.name, (0,) * len(p.shape), p.shape),)) for p in self.parameters
        )

    @cached_property
    def unit_activations(self) -> tuple[str, ...]:
        """For each neuron group the activation of its units, at whichever of the groups tied to it that stands."""
        named = {g.units: g.activation.name for g in self.groups if g.activation.name != "identity"}
        return tuple(named.get(group.units, "identity") for group in self.groups)

    @property
    def is_chain(self) -> bool:
        """Whether the networks are chains of layers, whose units' values are known; other ones need their program."""
        return not self.tensors

    @property
    def num_parameters(self) -> int:
        """The number of weights of one network."""
        return sum(int(Size(p.shape).numel()) for p in self.parameters)

    def summary(self) -> str:
        """The widths in one line."""
        return "-".join(str(group.size) for group in self.groups if group.tied is None)

    def __repr__(self) -> str:
        """One line: widths, weights and parameters."""
        return f"WeightSpace({self.summary()}, {self.num_parameters} weights in {len(self.parameters)} parameters)"

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
        """A description that JSON can hold; `weightspace.space.from_description` reads it back, but for the program."""
        return dataclasses.asdict(dataclasses.replace(self, program=None))

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

    def sample(self, batch: int, generator: Generator | None = None) -> WeightFeatures:
        """Draws networks from the default initialisation, in the default dtype."""
        return WeightFeatures(self, tuple(p.sample(batch, generator) for p in self.parameters))

    def to_module(self, theta: WeightFeatures) -> nn.Module:
        """One network (a batch of one) as a module: of the class that was traced, or a plain `torch.nn.Sequential`.

        Raises:
            SpaceError: if the batch is not one network, or if the architecture is not a chain of layers.
        """
        return _io.to_module(self, theta)

    def realize(self, theta: WeightFeatures, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Runs every network of the batch: f_theta(x).

        Args:
            theta: batch of B networks with C channels, each channel a network of its own.
            x: inputs ``[N, d_in]`` for all networks, or ``[B, N, d_in]``; of a traced module inputs as it takes them,
                ``[N, ...]`` or ``[B, N, ...]``, a tuple of them if it takes several.

        Returns:
            ``[B, N, d_out]`` for one channel, ``[B, N, d_out, C]`` for more; of a traced module its output with the
            same axes in front and at the end.

        Raises:
            SpaceError: for inputs of another shape or dtype.
        """
        return _realize.realize(self, theta, x)

    # --------------------------------------------------------------------------------------------------- symmetry
    def symmetry(self, name: str | None = None) -> SymmetryGroup:
        """The symmetry group by name, or the largest one known for the architecture and its activations.

        Args:
            name: None, "trivial", "permutation", "signed_permutation", "positive_monomial", "monomial" (permutations
                and any scales but 0) or "general_linear". Neuron groups that cannot have all of it have what they can
                have of it: their permutations. Where the units are the coordinates of heads, permutations are the same
                in every head.

        Raises:
            SymmetryError: if its scales or matrices would change what the networks compute on every neuron group, with
                the reason.
        """
        from ._symmetry import symmetry

        return symmetry(self, name)


def from_description(description: Mapping[str, Any]) -> WeightSpace:
    """The weight space that `WeightSpace.describe` described; a traced one comes without its program."""
    groups = tuple(
        NeuronGroup(
            **{
                **group,
                "activation": Activation(**group["activation"]),
                "largest": _matrix_group(group.get("largest")),
            }
        )
        for group in description["groups"]
    )
    parameters = tuple(
        Parameter(**{**parameter, "axes": tuple(_axis(axis) for axis in parameter["axes"])})
        for parameter in description["parameters"]
    )
    tensors = tuple(
        StoredTensor(
            tensor["name"],
            tuple(tensor["shape"]),
            tuple(Block(b["parameter"], tuple(b["start"]), tuple(b["stop"])) for b in tensor["blocks"]),
            tuple(tensor["aliases"]),
            None if tensor["view"] is None else tuple(tensor["view"]),
        )
        for tensor in description.get("tensors", ())
    )
    return WeightSpace(groups, parameters, description["output_offset"], tensors)


def _axis(axis: Mapping[str, Any]) -> Axis:
    return Axis(**{**axis, "diagonal": tuple(axis["diagonal"]) if axis.get("diagonal") else None})


def _matrix_group(group: Mapping[str, Any] | None) -> MatrixGroup | None:
    if group is None:
        return None
    return MonomialGroup(**group) if "scales" in group else GeneralLinearGroup(**group)
