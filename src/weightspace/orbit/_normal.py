"""Networks whose scales, signs and general matrices are normalised, so that permutations alone are left."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import SymmetryError
from ..group import GeneralLinearGroup, Linear, MatrixGroup, Monomial
from ..space import SymmetryGroup, WeightFeatures
from ._linear import linear_gauge
from ._structure import Carrier, carriers, columns, largest, midrange, moved

__all__ = ["Normal", "normalized"]


_NOISE = {"none": 0, "signs": 0, "positive": 8, "nonzero": 8, "linear": 1024}


class Normal(NamedTuple):
    """A batch of networks after the part of a group that does not permute.

    Attributes:
        theta: the networks.
        element: what led there; it permutes nothing.
        margin: [batch], by how much an entry must move before a sign changes.
        certainty: for each neuron group that is normalised [2, batch], from 0 to 1: how well its matrices are
            determined, as the relative gap of singular values (1 for scales, 0 if one is left open), and how far from
            0 what decides its signs is. Both are no larger than those of the groups that were needed. Exact zeros,
            which no sign or scale changes, do not count: what comes next decides.
        noise: relative error by which keys of equal neurons may differ; 0 if the group only copies and flips.
    """

    theta: WeightFeatures
    element: dict[str, Any]
    margin: Float[Tensor, "batch"]
    certainty: dict[str, Float[Tensor, "2 batch"]]
    noise: float


class _Step(NamedTuple):
    """The neuron group to normalise next, and what is normalised by then."""

    name: str
    out: list[Carrier]
    into: list[Carrier]


def normalized(theta: WeightFeatures, group: SymmetryGroup) -> Normal:
    """Scales, flips and transforms every neuron group in turn; differentiable in the weights.

    Raises:
        SymmetryError: if no order exists.
    """
    element: dict[str, Any] = {neurons.name: Monomial() for neurons in theta.space.groups}
    margin = theta.tensors[0].new_full((len(theta),), math.inf)
    certainty: dict[str, Tensor] = {}
    found = carriers(theta.space)
    pending = [g.name for g, f in zip(group.space.groups, group.factors, strict=True) if f.scales != "none"]
    while pending:
        step = _next(group, pending, found)
        pending.remove(step.name)
        factor = group.factor(step.name)
        matrix: Monomial | Linear
        if isinstance(factor, GeneralLinearGroup):
            matrix, sure = linear_gauge(theta, step.name, step.out, step.into, group)
            near = sure.amin(0)
        else:
            matrix, near, sure = _scale(theta, step, factor)
        for other in {name for carrier in step.out + step.into for name in carrier.others} & certainty.keys():
            sure = torch.minimum(sure, certainty[other])
        element[step.name], certainty[step.name] = matrix, sure
        margin = torch.minimum(margin, near)
        theta = moved(theta, step.name, matrix)
    noise = max(_NOISE[factor.scales] for factor in group.factors) * torch.finfo(theta.dtype).eps
    return Normal(theta, element, margin, certainty, noise)


def _next(group: SymmetryGroup, pending: list[str], found: dict[str, list[Carrier]]) -> _Step:
    """The first group all of whose parameters are normalised elsewhere, or else the one of which most entries are."""
    best: tuple[int, _Step] | None = None
    for name in pending:
        usable = [c for c in found[name] if c.others.isdisjoint(pending)]
        step = _Step(name, [c for c in usable if c.side == "out"], [c for c in usable if c.side == "in"])
        size = group.space.group(name).size
        linear = group.factor(name).scales == "linear"
        widths = [sum(c.width for c in side) for side in (step.out, step.into)]
        if max(widths) < (size if linear else 1):
            continue
        needed = [c for c in found[name] if linear or c.side == "out"]
        if needed and all(c in usable for c in needed):
            return step
        if best is None or sum(widths) > best[0]:
            best = sum(widths), step
    if best is not None:
        return best[1]
    raise SymmetryError(_refusal(group, pending[0], found))


def _refusal(group: SymmetryGroup, name: str, found: dict[str, list[Carrier]]) -> str:
    names = ", ".join(repr(group.space.parameters[c.place[0]].name) for c in found[name]) or "none"
    size = group.space.group(name).size
    if group.factor(name).scales == "linear":
        return (
            f"neuron group {name!r}: to normalise general matrices on {size} units takes {size} entries a unit on one "
            f"side, of parameters whose other axes are normalised before; its parameters are {names}. Take "
            'permutations in their place: group="permutation", or restricted(linear=False)'
        )
    return (
        f"neuron group {name!r}: no parameter determines its scales; it needs one that carries it once, and whose "
        f"other axes are normalised before. Its parameters are {names}. Leave the scales out: "
        'group="permutation", or restricted(scales=False)'
    )


def _scale(theta: WeightFeatures, step: _Step, factor: MatrixGroup) -> tuple[Monomial, Tensor, Tensor]:
    """Scales and signs of one neuron group, with their margin and certainty.

    Incoming entries get Euclidean norm 1 for each unit; the first vector, or else the midrange, becomes non-negative.
    """
    chosen = step.out or step.into
    entries = columns(theta, [c.place for c in chosen])
    scale, sure = torch.ones_like(entries[..., 0]), entries.detach().new_ones(2, len(theta))
    margin = sure[0] * math.inf
    if factor.scales in ("positive", "nonzero"):
        scale, entered = _inverse_norm(entries)
        entries = entries * scale[..., None]
        margin, sure = torch.where(entered, margin, 0.0), sure * entered
        scale = scale if step.out else 1 / scale
    if factor.scales in ("signs", "nonzero"):
        keys = _sign_keys(entries.detach(), chosen)
        key, size = keys[0]
        for other, its_size in keys[1:]:
            size = torch.where(key == 0, its_size, size)
            key = torch.where(key == 0, other, key)
        scale = scale * torch.where(key >= 0, 1.0, -1.0).to(scale)
        margin = torch.minimum(margin, keys[0][0].abs().amin(1))
        sure = torch.minimum(sure, torch.stack([sure[0], (key.abs() / size).amin(1)]))
    return Monomial(None, scale), margin, sure


def _inverse_norm(entries: Tensor) -> tuple[Tensor, Tensor]:
    """One over the norm of the entries of each unit, or 1 where they are zero, and [batch] whether none are."""
    size = entries.detach().abs().amax(-1)  # taken out first: squares leave the range of floats long before norms
    usable = (size > 0) & (1 / size).isfinite()
    size = torch.where(usable, size, 1.0)
    squares = (entries / size[..., None]).square().sum(-1)
    return torch.where(usable, squares, 1.0).rsqrt() / size, usable.all(1)


def _sign_keys(entries: Tensor, chosen: list[Carrier]) -> list[tuple[Tensor, Tensor]]:
    """What decides the sign of each unit: its vectors, biases first; where they are 0 the midrange of all entries.

    Returns:
        Pairs of [batch, n] keys and [batch, 1] the largest entry of what they are made from.
    """
    starts = [sum(c.width for c in chosen[:i]) for i in range(len(chosen))]
    vectors = sorted((len(c.others), start) for c, start in zip(chosen, starts, strict=True) if c.width == 1)
    parts = [entries[..., start : start + 1] for _, start in vectors]
    tiny = torch.finfo(entries.dtype).tiny
    return [(midrange(part), largest(part).clamp_min(tiny)[:, None]) for part in (*parts, entries)]
