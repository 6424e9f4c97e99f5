"""Coordinate ascent on the inner products of pairs of networks, of which the second one is moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..group import GENERAL_LINEAR, MONOMIAL, Linear, Matrix
from ..space import GroupElement, WeightFeatures
from ._families import Family, Scores
from ._match import match
from ._settled import settled

__all__ = ["Ascent"]

_CLOSE = 0.75  # cosine of two networks from which on it is worth asking whether their units are settled


class Ascent:
    """A batch of pairs, with the element that has moved the second networks so far.

    Args:
        families: what is matched together.
        fixed: the first networks.
        moved: the second ones.

    Attributes:
        families: what is matched together.
        element: the matrices for each neuron group of the families.
    """

    def __init__(self, families: Sequence[Family], fixed: WeightFeatures, moved: WeightFeatures) -> None:
        self.families = families
        self.element: GroupElement = {}
        for family in families:
            units = torch.arange(family.size, device=fixed.device).repeat(len(fixed), 1)
            self.element |= family.relabelled(units if family.permutes else None, fixed.tensors[0])
        self._fixed = fixed.tensors
        self._moved = list(moved.tensors)
        self._owned: set[int] = set()  # which of these are copies
        self._norm = (_norm(fixed.tensors) * _norm(moved.tensors)).clamp_min(torch.finfo(fixed.dtype).tiny)
        self._constant: dict[str, tuple[Tensor, Scores]] = {}

    def cosine(self) -> Tensor:
        """[batch], the inner product of the two networks over their norms. No update lowers it."""
        return _inner(self._fixed, self._moved) / self._norm

    def place(self, family: Family, element: GroupElement) -> None:
        """Moves all second networks by an element of a family."""
        self._move(family, element, torch.arange(len(self._norm), device=self._norm.device))

    def tensors(self, family: Family, rows: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """The parameters of the second and of the first networks that carry a family, of some pairs or of all."""
        moved, fixed = ([of[i] for i in family.parameters] for of in (self._moved, self._fixed))
        if rows is None or len(rows) == len(self._norm):
            return moved, fixed
        return [t[rows] for t in moved], [t[rows] for t in fixed]

    def run(self, sweeps: int) -> None:
        """Updates every family in turn, up to so often, until no update raises an inner product.

        In each pair, a family is left alone while nothing that its parameters share with others has changed.
        """
        cosine = self.cosine()
        shared = [[not {*a.parameters}.isdisjoint(b.parameters) for b in self.families] for a in self.families]
        affected = torch.tensor(shared, device=cosine.device)
        for index, family in enumerate(self.families):
            affected[index, index] = family.repeated
        due = torch.ones(len(cosine), len(self.families), dtype=torch.bool, device=cosine.device)
        for _ in range(sweeps):
            if not due.any():
                break
            for index, family in enumerate(self.families):
                rows = due[:, index].nonzero().flatten()
                due[rows, index] = False
                rows = self._unsettled(family, rows, cosine)
                if len(rows):
                    changed, gain = self._update(family, rows)
                    cosine[changed] += gain / self._norm[changed]
                    due[changed] |= affected[index]

    def _unsettled(self, family: Family, rows: Tensor, cosine: Tensor) -> Tensor:
        """Those of some pairs in which there may be a better element of a family."""
        close = cosine[rows] > _CLOSE
        if not close.any():
            return rows
        done = torch.zeros_like(close)
        done[close] = settled(family, *self.tensors(family, rows[close]))
        return rows[~done]

    def _update(self, family: Family, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Moves the second networks of some pairs by the best element of a family.

        Returns:
            The pairs that are better for it, and by how much.
        """
        moved, fixed = self.tensors(family, rows)
        places = [place for place in family.places if place not in family.constant]
        element, gain = match(family, family.scores(moved, fixed, places, onto=self._kept(family, rows)))
        if family.repeated:
            gain = _inner(fixed, family.act(element, moved)) - _inner(fixed, moved)
        better = gain > 8 * torch.finfo(gain.dtype).eps * self._norm[rows]
        if better.any():
            self._move(family, {name: _rows(matrix, better) for name, matrix in element.items()}, rows[better])
        return rows[better], gain[better]

    def _kept(self, family: Family, rows: Tensor) -> Scores:
        """The part of the scores that no other family changes, computed when it is first needed."""
        if not family.constant:
            return {}
        if family.name not in self._constant:
            known = torch.zeros(len(self._norm), dtype=torch.bool, device=rows.device)
            shape = (len(known), family.size, family.size)
            kinds = {place.kind for place in family.constant}
            self._constant[family.name] = (known, {kind: self._norm.new_empty(shape) for kind in kinds})
        known, scores = self._constant[family.name]
        new = rows[~known[rows]]
        if len(new):
            for kind, values in family.scores(*self.tensors(family, new), family.constant).items():
                scores[kind][new] = values
            known[new] = True
        return {kind: values[rows] for kind, values in scores.items()}

    def _move(self, family: Family, element: GroupElement, rows: Tensor) -> None:
        for index in {*family.parameters} - self._owned:
            self._moved[index] = self._moved[index].clone()
            self._owned.add(index)
        if family.frames:
            moved, _ = self.tensors(family, rows)
            for index, tensor in zip(family.parameters, family.act(element, moved), strict=True):
                self._moved[index][rows] = tensor
        else:
            self._exchange(family, element, rows)
        for name, matrix in element.items():
            after: Any = _compose(matrix, _rows(self.element[name], rows))
            for old, new in zip(self.element[name], after, strict=True):
                if old is not None:
                    old[rows] = new

    def _exchange(self, family: Family, element: dict[str, Any], rows: Tensor) -> None:
        """The action of permutations and signs, on those units alone that they change in some of the pairs."""
        numbers = torch.arange(family.size, device=rows.device)
        order = element[family.name].permutation
        order = numbers.expand(len(rows), -1) if order is None else order
        changed = order != numbers
        for name in family.signs:
            changed = changed | (element[name].scale < 0)
        units = changed.to(torch.uint8).topk(int(changed.sum(1).max()), dim=1).indices
        sources = order.gather(1, units)
        _, scores = self._constant.get(family.name, (None, {}))
        moved = [(self._moved[family.parameters[p.parameter]].movedim(p.axes[0], 1), p.kind) for p in family.places]
        for tensor, kind in [*moved, *((values, kind) for kind, values in scores.items())]:
            taken = tensor[rows[:, None], sources]
            for name in kind.signs:
                sign = element[name].scale.gather(1, sources)
                taken *= sign.reshape(*sign.shape, *(1,) * (taken.dim() - 2))
            tensor[rows[:, None], units] = taken


def _rows(matrix: Any, rows: Tensor) -> Any:
    """The matrices of some pairs."""
    return type(matrix)(*(None if part is None else part[rows] for part in matrix))


def _compose(second: Matrix, first: Any) -> Matrix:
    return GENERAL_LINEAR.compose(second, first) if isinstance(second, Linear) else MONOMIAL.compose(second, first)


def _inner(these: Sequence[Tensor], those: Sequence[Tensor]) -> Tensor:
    """[batch], the inner products."""
    parts = [torch.linalg.vecdot(a.flatten(1), b.flatten(1)) for a, b in zip(these, those, strict=True)]
    return torch.stack(parts).sum(0)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """[batch], the norms."""
    return torch.stack([t.flatten(1).square().sum(1) for t in tensors]).sum(0).sqrt()
