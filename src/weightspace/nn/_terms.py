"""The terms of an equivariant linear map: the parameters read in all the ways that they need, and written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor

from ..space import WeightFeatures
from ._layout import Label, Layout, Way, ways
from ._pool import Reduction, add_rows_and_columns, reduce

__all__ = ["Kind", "Reader", "Terms", "assemble", "kinds"]

Terms = dict[tuple[tuple[int, ...], ...], dict[tuple[int, ...], Tensor]]
"""What is to be summed into one parameter: by partition of its axes, and by the indices that a term has."""


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
                self.seen[key] = _diagonal(self.folded[way.parameter], way.blocks)
        return self.seen[key]


def _diagonal(x: Tensor, blocks: tuple[tuple[int, ...], ...]) -> Tensor:
    """[batch, *axes, channels] -> [batch, *blocks, channels]: the axes of a block run together. A view."""
    axes = [b for axis in range(x.dim() - 2) for b, block in enumerate(blocks) if axis in block]
    for b, block in enumerate(blocks):
        for _ in block[1:]:
            first, second = [i for i, owner in enumerate(axes) if owner == b][:2]
            x = x.diagonal(dim1=1 + first, dim2=1 + second).movedim(-1, 1 + first)
            del axes[second]
    return x


def assemble(by_blocks: Terms, sizes: Sequence[int]) -> Tensor:
    """The sum of all terms of one parameter: [batch, *sizes, channels]."""
    whole: Tensor | None = None
    for blocks, terms in sorted(by_blocks.items(), key=lambda item: -len(item[0])):
        total = _broadcast_sum(terms, [sizes[block[0]] for block in blocks])
        if whole is None:
            whole = total if len(blocks) == len(sizes) else _on_diagonal(total, blocks, sizes)
        else:
            whole = whole + _on_diagonal(total, blocks, sizes)
    assert whole is not None
    return whole


def _broadcast_sum(terms: dict[tuple[int, ...], Tensor], sizes: Sequence[int]) -> Tensor:
    """The sum of terms that each have some of the indices, in any order."""
    natural = {}
    for kept, term in terms.items():
        order = sorted(kept)
        places = [1 + kept.index(b) for b in order]
        natural[tuple(order)] = term if places == sorted(places) else term.permute(0, *places, -1)
    alone = natural.pop((), None)
    if alone is not None and sizes:
        key = (0,) if len(sizes) > 1 or not natural else next(iter(natural))
        alone = alone.unsqueeze(1)
        natural[key] = natural[key] + alone if key in natural else alone.expand(-1, sizes[0], -1)
    elif alone is not None:
        return alone
    if len(sizes) == 2 and (0, 1) in natural:
        return add_rows_and_columns(natural[0, 1].contiguous(), natural.get((0,)), natural.get((1,)))
    total: Tensor | None = None
    for kept, term in natural.items():
        for b in range(len(sizes)):
            if b not in kept:
                term = term.unsqueeze(1 + b)
        total = term if total is None else total + term
    assert total is not None
    return total.expand(-1, *sizes, -1)


def _on_diagonal(x: Tensor, blocks: tuple[tuple[int, ...], ...], sizes: Sequence[int]) -> Tensor:
    """[batch, *blocks, channels] -> [batch, *axes, channels]: zero but where the axes of each block agree."""
    full = x.new_zeros(x.shape[0], *sizes, x.shape[-1])
    _diagonal(full, blocks).copy_(x)
    return full
