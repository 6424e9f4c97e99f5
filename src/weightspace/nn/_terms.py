"""The terms of an equivariant linear map, and the parameters read in all the ways that they need."""

from __future__ import annotations

import itertools

from torch import Tensor

from ..space import WeightFeatures
from ._layout import Label, Layout, Way, ways
from ._pool import Reduction, reduce

__all__ = ["Kind", "Reader", "diagonal", "kinds"]


class Kind:
    """All parameters read, and written, with the same indices: the terms that are one matrix product.

    A parameter that carries a neuron group twice is read in every order of the indices and written in one.
    """

    def __init__(self, labels: tuple[Label, ...]) -> None:
        self.labels = labels
        self.reads: list[Way] = []
        self.writes: list[Way] = []

    def add(self, way: Way, layout: Layout) -> None:
        orders = [
            order
            for order in itertools.permutations(way.kept)
            if tuple(layout.label(way.blocks[b]) for b in order) == self.labels
        ]
        self.reads += [Way(way.parameter, way.blocks, order) for order in orders]
        self.writes.append(Way(way.parameter, way.blocks, orders[0]))


def kinds(all_layouts: tuple[Layout, ...]) -> list[Kind]:
    """The kinds of terms, those with more indices first."""
    found: dict[tuple[Label, ...], Kind] = {}
    for i, layout in enumerate(all_layouts):
        for way in ways(i, layout):
            labels = tuple(layout.label(way.blocks[b]) for b in way.kept)
            found.setdefault(tuple(sorted(labels)), Kind(labels)).add(way, layout)
    return sorted(found.values(), key=lambda kind: -len(kind.labels))


class Reader:
    """The parameters pooled, and read along diagonals, in every way that is asked for; each of them once."""

    def __init__(self, all_layouts: tuple[Layout, ...], theta: WeightFeatures, reduction: Reduction) -> None:
        self.folded = [layout.fold(t) for layout, t in zip(all_layouts, theta.tensors, strict=True)]
        self.reduction = reduction
        self.seen: dict[tuple[int, tuple[tuple[int, ...], ...], frozenset[int]], Tensor] = {}

    def read(self, way: Way) -> Tensor:
        """[batch, *kept indices, channels]."""
        x = self._pooled(way, frozenset(way.kept))
        order = sorted(way.kept)
        places = [1 + order.index(b) for b in way.kept]
        return x if places == sorted(places) else x.permute(0, *places, -1)

    def keep(self, way: Way, index: int, tensor: Tensor) -> None:
        """Remembers what is left of a way with two indices when the other index is pooled."""
        self.seen.setdefault((way.parameter, way.blocks, frozenset({way.kept[index]})), tensor)

    def _pooled(self, way: Way, kept: frozenset[int]) -> Tensor:
        key = (way.parameter, way.blocks, kept)
        if key not in self.seen:
            missing = [b for b in range(len(way.blocks)) if b not in kept]
            if missing:
                more = [kept | {b} for b in missing]
                larger = next((m for m in more if (way.parameter, way.blocks, m) in self.seen), more[-1])
                (pooled,) = larger - kept
                x = self._pooled(way, larger)
                self.seen[key] = reduce(x, 1 + sorted(larger).index(pooled), self.reduction)
            else:
                self.seen[key] = diagonal(self.folded[way.parameter], way.blocks)
        return self.seen[key]


def diagonal(x: Tensor, blocks: tuple[tuple[int, ...], ...]) -> Tensor:
    """[batch, *axes, channels] -> [batch, *blocks, channels]: the axes of a block run together. A view."""
    axes = [b for axis in range(x.dim() - 2) for b, block in enumerate(blocks) if axis in block]
    for b, block in enumerate(blocks):
        for _ in block[1:]:
            first, second = [i for i, owner in enumerate(axes) if owner == b][:2]
            x = x.diagonal(dim1=1 + first, dim2=1 + second).movedim(-1, 1 + first)
            del axes[second]
    return x
