"""What a graph consists of: sets of nodes, blocks of edges between them, and parameters as features of either."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..space import WeightFeatures

__all__ = ["Block", "Kind", "Member", "NodeSet"]

Kind = Literal["input", "hidden", "output", "whole"]


@dataclass(frozen=True)
class NodeSet:
    """Nodes that are permuted alike: the units of a neuron group, or of a product of several (heads x coordinates).

    Attributes:
        name: of the neuron group; names of several joined by "*"; "*" for the one node that stands for the network.
        factors: the neuron groups.
        sizes: their numbers of units.
        fixed: for each of them whether its units stay where they are, so that each may have a code of its own.
        kind: "input" and "output" sets, "hidden" ones, and the "whole" network.
        place: how many sets of its kind come before it: the depth of a hidden one.
    """

    name: str
    factors: tuple[str, ...]
    sizes: tuple[int, ...]
    fixed: tuple[bool, ...]
    kind: Kind
    place: int

    @property
    def size(self) -> int:
        """The number of nodes."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Member:
    """A parameter as features of nodes or of edges: all its plain axes, wherever they stand, become channels.

    Attributes:
        parameter: its position in the space.
        role: what it is to its nodes or edges, alike in all layers and in all architectures of a family.
        shape: of the parameter.
        order: the axes of a tensor ``[batch, *shape, channels]``: of nodes or edges in their order, then plain ones.
        plain: sizes of the plain axes.
    """

    parameter: int
    role: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    plain: tuple[int, ...]

    def fold(self, theta: WeightFeatures, *shape: int) -> Float[Tensor, "batch *nodes features"]:
        """The parameter's tensor as features of nodes or edges: ``[*shape, plain axes * channels]``."""
        ordered = theta.tensors[self.parameter].permute(self.order)
        return ordered.reshape(*shape, math.prod(self.plain) * theta.channels)

    def unfold(self, features: Tensor, batch: int, channels: int) -> Float[Tensor, "batch *shape channels"]:
        """The inverse of `fold`."""
        sizes = (batch, *self.shape, channels)
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return features.reshape([sizes[axis] for axis in self.order]).permute(inverse)


@dataclass(frozen=True)
class Block:
    """Edges from every node of one set to every node of another, with all parameters that are weights between them.

    Where the sets share a factor on which the parameters are diagonal (the groups of a grouped convolution), edges join
    nodes that agree in it alone. It is folded into the batch: the block has ``batch * shared`` entries.

    Attributes:
        source: name of the set at the beginning of the edges.
        target: name of the set at their end.
        members: the parameters; none for edges that tell which nodes belong together.
        shared: number of units of the shared factors, 1 where there are none.
        rows: number of targets of an edge's beginning.
        columns: number of sources of an edge's end.
        row_axes: sizes of the target's factors, and where the shared ones stand among them; None if none is shared.
        column_axes: the same for the source.
    """

    source: str
    target: str
    members: tuple[Member, ...]
    shared: int
    rows: int
    columns: int
    row_axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    column_axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def targets(self, x: Float[Tensor, "batch n *channels"]) -> Float[Tensor, "blocks rows *channels"]:
        """The nodes of the target set, as rows of the block."""
        return x if self.row_axes is None else _share(x, *self.row_axes)

    def sources(self, x: Float[Tensor, "batch n *channels"]) -> Float[Tensor, "blocks columns *channels"]:
        """The nodes of the source set, as columns of the block."""
        return x if self.column_axes is None else _share(x, *self.column_axes)

    def receivers(self, x: Tensor, axis: Literal[1, 2]) -> Tensor:
        """What arrives at the targets (axis 2) or sources (axis 1), as the nodes of their set.

        Args:
            x: ``[blocks, receivers, channels]``, or messages ``[blocks, rows, columns, channels]``.
            axis: of the senders in a block.
        """
        axes = self.row_axes if axis == 2 else self.column_axes
        return x if axes is None else _unshare(x, *axes, at=1 if axis == 2 or x.dim() == 3 else 2)

    def spread(self, x: Float[Tensor, "blocks rows columns channels"]) -> Float[Tensor, "batch i j channels"]:
        """Features of edges for all pairs of nodes, zeros where there is no edge."""
        if self.shared == 1:
            return x
        rows, columns = self._pairs(x.device)
        shape = self.shared * self.rows, self.shared * self.columns
        dense = x.new_zeros(len(x) // self.shared, *shape, x.shape[-1])
        dense[:, rows, columns] = x.unflatten(0, (-1, self.shared))
        return dense

    def gather(self, x: Float[Tensor, "batch i j channels"]) -> Float[Tensor, "blocks rows columns channels"]:
        """The inverse of `spread`: the features of the pairs that are edges."""
        return x if self.shared == 1 else x[(slice(None), *self._pairs(x.device))].flatten(0, 1)

    def _pairs(self, device: torch.device) -> tuple[Int[Tensor, "shared rows 1"], Int[Tensor, "shared 1 columns"]]:
        numbers = (torch.arange(self.shared * n, device=device)[None] for n in (self.rows, self.columns))
        return self.targets(next(numbers)).unsqueeze(2), self.sources(next(numbers)).unsqueeze(1)


def _order(sizes: tuple[int, ...], shared: tuple[int, ...]) -> tuple[int, ...]:
    return (*shared, *(i for i in range(len(sizes)) if i not in shared))


def _share(x: Tensor, sizes: tuple[int, ...], shared: tuple[int, ...]) -> Tensor:
    """Puts the shared factors of axis 1 into the batch."""
    apart: Tensor = x.unflatten(1, sizes)
    ordered = apart.permute(0, *(1 + i for i in _order(sizes, shared)), *range(1 + len(sizes), apart.dim()))
    count = math.prod(sizes[i] for i in shared)
    return ordered.reshape(len(x) * count, x.shape[1] // count, *x.shape[2:])


def _unshare(x: Tensor, sizes: tuple[int, ...], shared: tuple[int, ...], at: int) -> Tensor:
    """Takes the shared factors out of the batch and puts all factors in their order at one axis."""
    parts: Tensor = x.unflatten(0, (-1, math.prod(sizes[i] for i in shared)))
    order, whole = _order(sizes, shared), parts.movedim(1, at).flatten(at, at + 1)
    apart: Tensor = whole.unflatten(at, [sizes[i] for i in order])
    back = (at + order.index(i) for i in range(len(sizes)))
    return apart.permute(*range(at), *back, *range(at + len(sizes), apart.dim())).flatten(at, at + len(sizes) - 1)
