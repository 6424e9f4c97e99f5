"""Normal forms under the phase group of the sine."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..space import WeightFeatures
from ._normal import Normal
from ._order import ordered
from ._phase import Phase, PhaseElement, PhaseGroup
from ._structure import check, columns, largest, midrange

__all__ = ["normal_phase", "phase_element"]


def phase_element(theta: WeightFeatures, group: PhaseGroup) -> tuple[PhaseElement, Float[Tensor, "batch"]]:
    """The element that leads to the canonical form, and its margin."""
    normal = normal_phase(theta, group)
    permutations, margin = ordered(normal, group.permutations)
    element = {name: normal.element[name]._replace(permutation=permutations[name]) for name in group.periods}
    return element, torch.minimum(margin, normal.margin)


def normal_phase(theta: WeightFeatures, group: PhaseGroup) -> Normal:
    """Brings every bias into a quarter period from 0, neuron group after neuron group.

    At either end of the quarter period a reflection leaves the bias where it is; then the midrange of the weights that
    enter the unit becomes non-negative.
    """
    check(theta, group.space)
    margin = theta.tensors[0].new_full((len(theta),), math.inf)
    certainty: dict[str, Tensor] = {}
    still = {
        name: Phase(None, *(margin.new_full((len(theta), group.space.group(name).size), v) for v in (1.0, 0.0)))
        for name in group.periods
    }
    element: PhaseElement = {}
    noise = 1024 * torch.finfo(theta.dtype).eps
    for name in group.periods:
        phase, near, sure = _reduced(theta.detach(), name, group, noise)
        for other in {n for c in group.carriers[name] if c.side == "out" for n in c.others} & certainty.keys():
            sure = torch.minimum(sure, certainty[other])
        element[name], certainty[name] = phase, sure
        margin = torch.minimum(margin, near)
        theta = group.act({**still, name: phase}, theta)
    return Normal(theta, element, margin, certainty, noise)


def _reduced(theta: WeightFeatures, name: str, group: PhaseGroup, noise: float) -> tuple[Phase, Tensor, Tensor]:
    """The signs and shifts of one neuron group, with their margin and certainty."""
    half = group.periods[name]
    turn = columns(theta, [group.biases[name]]).squeeze(2) / half  # the bias in half periods
    turns = -turn.floor()
    rest = turn + turns
    reflect = rest > 0.5
    sign = torch.where(reflect, -1.0, 1.0).to(rest)
    turns = torch.where(reflect, 1 - turns, turns)
    rest = torch.where(reflect, 1 - rest, rest)
    entering = [c.place for c in group.carriers[name] if c.side == "out" and c.place != group.biases[name]]
    reach = noise * (1 + turn.abs())
    near_zero, near_quarter = rest <= reach, rest >= 0.5 - reach
    weights = columns(theta, entering)
    middle = sign * midrange(weights)
    flip = (near_zero | near_quarter) & (middle < 0)
    turns = torch.where(flip, torch.where(near_zero, -turns, 1 - turns), turns)
    sign = torch.where(flip, -sign, sign)
    edge = torch.minimum(rest, 0.5 - rest).clamp_min(0)
    clear = middle.abs() / largest(weights).clamp_min(torch.finfo(rest.dtype).tiny)[:, None]
    sure = torch.where(near_zero | near_quarter, clear, 2 * edge).amin(1)
    return Phase(None, sign, turns), edge.amin(1) * half, torch.stack([torch.ones_like(sure), sure])
