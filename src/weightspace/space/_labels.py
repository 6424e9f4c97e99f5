"""What a weight space is made of: neuron groups, axes that carry them, parameters, and tensors that hold parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..group import TRIVIAL, MatrixGroup
from ._activation import Activation

__all__ = ["Axis", "Block", "NeuronGroup", "Parameter", "Side", "StoredTensor"]

Side = Literal["out", "in"]

_IDENTITY = Activation("identity")


@dataclass(frozen=True)
class NeuronGroup:
    """A set of interchangeable units; input and output units have the trivial symmetry.

    Attributes:
        name: unique in its weight space.
        size: number of units.
        kind: "input", "hidden" or "output".
        activation: applied to the sum that enters the units.
        largest: the largest known linear group on hidden units; that of the activation if None.
        tied: name of the neuron group with whose units these are permuted: the same units further on, behind a norm or
            a depthwise convolution, with scales of their own.
        over: name of the neuron group over which this one is fibred: the coordinates of every head.
    """

    name: str
    size: int
    kind: Literal["input", "hidden", "output"] = "hidden"
    activation: Activation = _IDENTITY
    largest: MatrixGroup | None = None
    tied: str | None = None
    over: str | None = None

    @property
    def symmetry(self) -> MatrixGroup:
        """The largest known linear group that may act on the units."""
        if self.kind != "hidden":
            return TRIVIAL
        return self.activation.symmetry if self.largest is None else self.largest

    @property
    def units(self) -> str:
        """The name of the neuron group that says how the units are permuted: itself, or the one it is tied to."""
        return self.tied or self.name

    def refusal(self, group: MatrixGroup) -> str:
        """Why ``group`` does not preserve networks when it acts on these units; empty if it does."""
        if self.symmetry.contains(group):
            return ""
        if self.largest is None:
            return f"has activation {self.activation.name!r}, and {self.activation.refusal(group)}"
        return "is used by operations that do not commute with it"


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter: it carries a neuron group, or is plain.

    Attributes:
        size: length of the axis.
        group: name of the neuron group; None for a plain axis (kernel taps, positions, ...).
        side: the side of the parameter on which the group is: "out", where it is multiplied by g, or "in", where it is
            multiplied by g^-T; None if the axis is permuted with the units and never scaled (a running variance).
        diagonal: a second neuron group with its side: the parameter is the diagonal of a matrix between two groups of
            the same units (the gain of a norm, a depthwise convolution).
    """

    size: int
    group: str | None = None
    side: Side | None = None
    diagonal: tuple[str, Side] | None = None

    def carried(self) -> Iterator[tuple[str, Side]]:
        """The neuron groups whose scales (or matrices) multiply the axis, each with its side."""
        if self.group is not None and self.side is not None:
            yield self.group, self.side
        if self.diagonal is not None:
            yield self.diagonal


@dataclass(frozen=True)
class Parameter:
    """One tensor of a network, or the part of one that carries neuron groups of its own.

    The default initialisation is ``mean + bound * U(-1, 1) + std * N(0, 1)``. Spaces that differ in it alone are equal.

    Attributes:
        name: its key in the state dict; with a range of indices, as in ``"in_proj_weight[0:64]"``, if it is a part.
        axes: its axes in the order of the tensor; an axis of the tensor may be several here (heads and coordinates).
        bound: of the uniform part of the initialisation.
        mean: of the initialisation.
        std: of the normal part of the initialisation.
    """

    name: str
    axes: tuple[Axis, ...]
    bound: float = field(default=0.0, compare=False)
    mean: float = field(default=0.0, compare=False)
    std: float = field(default=0.0, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(axis.size for axis in self.axes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The neuron groups that its axes carry, in order."""
        return tuple(axis.group for axis in self.axes if axis.group is not None)

    def sample(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """``[batch, *shape, 1]`` from the default initialisation, in the default dtype."""
        drawn = torch.full((batch, *self.shape, 1), self.mean)
        if self.bound:
            drawn += (torch.rand(drawn.shape, generator=generator) * 2 - 1) * self.bound
        if self.std:
            drawn += torch.randn(drawn.shape, generator=generator) * self.std
        return drawn


@dataclass(frozen=True)
class Block:
    """Where a parameter lies in a tensor of the state dict.

    Attributes:
        parameter: its name.
        start: first index along each axis of the tensor's view.
        stop: one past the last index along each axis of the view.
    """

    parameter: str
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def index(self) -> tuple[slice, ...]:
        """The part of the tensor."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the part."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the state dict: which parameters it holds.

    Attributes:
        name: its key; a tensor that two modules share has several.
        shape: its shape.
        blocks: the parameters that it consists of.
        aliases: the other keys.
        view: the shape in which the blocks are blocks; that of the tensor if None.
    """

    name: str
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]
    aliases: tuple[str, ...] = ()
    view: tuple[int, ...] | None = None

    def assemble(self, parts: Sequence[Tensor]) -> Tensor:
        """The tensors ``[batch, *shape, channels]`` from those of the parameters, in the order of the blocks."""
        batch, channels = parts[0].shape[0], parts[0].shape[-1]
        if len(parts) == 1:
            return parts[0].reshape(batch, *self.shape, channels)
        whole = parts[0].new_empty(batch, *(self.view or self.shape), channels)
        for block, part in zip(self.blocks, parts, strict=True):
            whole[(slice(None), *block.index)] = part.reshape(batch, *block.shape, channels)
        return whole.reshape(batch, *self.shape, channels)

    def take_apart(self, whole: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> list[Tensor]:
        """The inverse of `assemble`, given the shapes of the parameters."""
        viewed = whole.reshape(whole.shape[0], *(self.view or self.shape), whole.shape[-1])
        return [
            viewed[(slice(None), *block.index)].reshape(whole.shape[0], *shapes[block.parameter], whole.shape[-1])
            for block in self.blocks
        ]
