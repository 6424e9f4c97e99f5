"""Networks of smallest norm in their orbit: what is left of scales and general matrices there are signs and rotations.

Two networks of smallest norm are in one orbit of a group if and only if an isometry of the group leads from one to the
other (Kempf and Ness, 1979). In such a network each scaled unit has as much norm on its *out* as on its *in* side.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..group import GENERAL_LINEAR, MONOMIAL, Linear, Monomial
from ..space import GroupElement, Parameter, SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["balance"]

_SWEEPS = 200
_RELAXATION = 1.3  # of a step; longer steps converge sooner where many layers follow each other
_SINGULAR = 1e-12  # the least condition of Gram matrices that are inverted
_FLOOR = 1e-3  # relative; keeps units away from zero


class _Carrier(NamedTuple):
    """An axis, from 1, of a parameter that carries a neuron group, with its side and the axis of the heads."""

    parameter: int
    axis: int
    side: str
    heads: int | None


class _Entries(NamedTuple):
    """The entries of a parameter, or their squares, summed over axes that nothing scales."""

    tensor: Tensor
    squared: bool


def balance(theta: WeightFeatures, group: SymmetryGroup) -> GroupElement:
    """The element of scales and general matrices that makes the norm of each network smallest.

    One neuron group is balanced after the other, until nothing changes. A unit with norm on one side alone, which has
    no smallest norm, gets a small one.
    """
    space = theta.space
    element: GroupElement = {g.name: Monomial() for g in space.groups}
    scaled = [g.name for g, f in zip(space.groups, group.factors, strict=True) if f.scales not in ("none", "signs")]
    carriers = {name: _carriers(space, name) for name in scaled}
    linear = {name for name in scaled if group.factor(name).scales == "linear"}
    entries = [_entries(t, p, set(scaled), linear) for t, p in zip(theta.tensors, space.parameters, strict=True)]
    previous = math.inf
    for _ in range(_SWEEPS if scaled else 0):
        change = 0.0
        for name in scaled:
            found = carriers[name]
            if not found:
                continue
            step, size = (_matrix if name in linear else _scale)(entries, found)
            for carrier in found:
                old = entries[carrier.parameter]
                entries[carrier.parameter] = old._replace(tensor=_apply(step, old, carrier))
            before = element[name]
            element[name] = step if before == Monomial() else _after(step, before)
            change = max(change, size)
        if change < 1e-4 and change >= previous:  # rounding is all that is left
            break
        previous = change
    return element


def _carriers(space: WeightSpace, name: str) -> list[_Carrier]:
    over = space.group(name).over
    return [
        _Carrier(index, axis, side, None if over is None else [a.group for a in parameter.axes].index(over) + 1)
        for index, parameter in enumerate(space.parameters)
        for axis, labels in enumerate(parameter.axes, start=1)
        for carried, side in labels.carried()
        if carried == name
    ]


def _entries(tensor: Tensor, parameter: Parameter, scaled: set[str], linear: set[str]) -> _Entries:
    carried = [{name for name, _ in axis.carried()} for axis in parameter.axes]
    if any(names & linear for names in carried):
        return _Entries(tensor, False)
    rest = [axis for axis, names in enumerate(carried, start=1) if not names & scaled]
    squares = tensor.square()
    return _Entries(squares.sum(rest, keepdim=True) if rest else squares, True)


def _scale(entries: list[_Entries], found: list[_Carrier]) -> tuple[Monomial, float]:
    """Scales that make the norms of both sides equal, and how far from 1 they are."""
    sides = {"out": torch.zeros(()), "in": torch.zeros(())}
    for parameter, axis, side, _ in found:
        tensor, squared = entries[parameter]
        rows = tensor.movedim(axis, 1).flatten(2)
        sides[side] = sides[side].to(rows) + (rows if squared else rows.square()).sum(2)
    out, into = torch.broadcast_tensors(sides["out"].to(tensor), sides["in"].to(tensor))
    product = out * into
    product = product + _FLOOR * product.mean(1, keepdim=True)
    scale = torch.where(out > 0, product.sqrt() / out, into / product.sqrt()).pow(_power(found))
    scale = torch.where(scale.isfinite() & (scale > 0), scale, 1.0)
    return Monomial(None, scale), float(scale.log().abs().max())


def _matrix(entries: list[_Entries], found: list[_Carrier]) -> tuple[Linear, float]:
    """Positive definite matrices that make the Gram matrices of both sides equal, and how far from 1 they are."""
    sides = {"out": torch.zeros(()), "in": torch.zeros(())}
    for parameter, axis, side, heads in found:
        axes = (axis,) if heads is None else (heads, axis)
        rows = entries[parameter].tensor.movedim(axes, tuple(range(1, 1 + len(axes)))).flatten(1 + len(axes))
        rows = rows.double()
        sides[side] = sides[side] + rows @ rows.mT
    out, into = torch.broadcast_tensors(sides["out"], sides["in"])
    conditions = [_condition(gram) for gram in (out, into)]
    swap = ((conditions[0] < _SINGULAR) & (conditions[1] > conditions[0]))[..., None, None]
    first, second = torch.where(swap, into, out), torch.where(swap, out, into)
    root, inverse = _root(first, 0.5), _root(first, -0.5)
    product = root @ second @ root
    size = product.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    middle = _root(product + _FLOOR * size * torch.eye(product.shape[-1]).to(product), 0.5)
    power = torch.where(swap[..., 0], -_power(found), _power(found))
    step = _root(inverse @ middle @ inverse, power)
    usable = (torch.maximum(*conditions) >= _SINGULAR)[..., None, None]
    step = torch.where(usable, step, torch.eye(step.shape[-1]).to(step))
    return Linear(step.to(entries[0].tensor.dtype)), float(torch.linalg.eigvalsh(step).log().abs().max())


def _condition(gram: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(gram)
    condition: Tensor = values[..., 0] / values[..., -1].clamp_min(torch.finfo(gram.dtype).tiny)
    return condition


def _root(gram: Tensor, power: Tensor | float) -> Tensor:
    """A power of positive definite matrices."""
    values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
    floor = torch.finfo(gram.dtype).eps * values[..., -1:]
    powers = torch.maximum(values, floor).clamp_min(torch.finfo(gram.dtype).tiny) ** power
    root: Tensor = vectors * powers.unsqueeze(-2) @ vectors.mT
    return root


def _power(found: list[_Carrier]) -> float:
    """Smaller where a parameter carries the group twice: whole steps would swap its rows and columns for ever."""
    return _RELAXATION * (0.5 if len({carrier.parameter for carrier in found}) == len(found) else 0.35)


def _apply(step: Monomial | Linear, entries: _Entries, carrier: _Carrier) -> Tensor:
    if isinstance(step, Linear):
        matrix = step if carrier.side == "out" else GENERAL_LINEAR.contragredient(step)
        return GENERAL_LINEAR.apply(matrix, entries.tensor, carrier.axis, carrier.heads)
    scale = step if carrier.side == "out" else MONOMIAL.contragredient(step)
    once = MONOMIAL.apply(scale, entries.tensor, carrier.axis)
    return MONOMIAL.apply(scale, once, carrier.axis) if entries.squared else once


def _after(step: Monomial | Linear, before: Any) -> Monomial | Linear:
    """The product of two steps on a neuron group."""
    if isinstance(step, Linear):
        return GENERAL_LINEAR.compose(step, before)
    return MONOMIAL.compose(step, before)
