"""Canonical forms under scales, signs, phases and matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...group import Linear
from ...orbit import PhaseGroup, canonicalize
from ...space import WeightFeatures, from_module, mlp, siren
from .._statement import Measurement
from .._symmetry_error import function_difference, random_networks
from ._changes import generator, inputs
from ._modules import transformer

__all__ = ["other_groups"]


def other_groups() -> list[Measurement]:
    """Invariance of the forms under each group, and that the form computes the same function."""
    phases = siren([2, 5, 6, 3])
    groups: dict[str, Any] = {
        "positive scales": mlp([2, 5, 6, 3]).symmetry(),
        "signs": mlp([2, 5, 6, 3], "tanh").symmetry(),
        "phases of the sine": PhaseGroup(phases),
        "matrices, balanced decomposition": mlp([10, 4, 10], "identity").symmetry(),
        "attention, heads and matrices": from_module(transformer(norm_first=True), torch.zeros(2, 5, 3)).symmetry(),
    }
    measured = []
    for name, group in groups.items():
        theta, other = random_networks(group.space, 50, generator()), random_networks(group.space, 50, generator(1))
        moved = group.act(group.sample(50, generator(), dtype=torch.float64), theta)
        form, again = (canonicalize(networks, group).theta for networks in (theta, moved))
        x = inputs(5, 3) if "attention" in name else inputs(group.space.groups[0].size)
        apart = (canonicalize(other, group).theta - form).flatten().norm(dim=1).min()
        measured += [
            Measurement.at_most(f"{name}: form of g theta, minus form", _apart(again, form), 1e-9),
            Measurement.at_most(f"{name}: change of the function", function_difference(theta, form, x), 1e-10),
            Measurement.at_least(f"{name}: distance of forms of different orbits", float(apart), 0.1),
        ]
    return [*measured, *_frames()]


def _frames() -> list[Measurement]:
    """Two more ways to choose a basis of units between two linear maps: one is a canonical form, the other is not."""
    group = mlp([10, 4, 10], "identity").symmetry()
    theta = random_networks(group.space, 50, generator())
    moved = group.act(group.sample(50, generator(), dtype=torch.float64), theta)

    def chart(weight: Tensor) -> Tensor:
        frame: Tensor = torch.linalg.inv(weight[..., :4])
        return frame

    def triangular(weight: Tensor) -> Tensor:
        upper = torch.linalg.qr(weight.mT).R
        upper = upper * upper.diagonal(dim1=-2, dim2=-1).sign()[..., None]
        frame: Tensor = torch.linalg.inv(upper).mT
        return frame

    def form(networks: WeightFeatures, frame: Any) -> WeightFeatures:
        identity = group.identity(len(networks), dtype=torch.float64)
        return group.act(identity | {"hidden1": Linear(frame(networks["0.weight"][..., 0]))}, networks)

    def error(frame: Any) -> float:
        return _apart(form(moved, frame), form(theta, frame))

    product = [networks["2.weight"][..., 0] @ networks["0.weight"][..., 0] for networks in (theta, moved)]
    return [
        Measurement.at_most("matrices, chart: form of g theta, minus form", error(chart), 1e-9),
        Measurement.at_least("matrices, QR: form of g theta, minus form (control)", error(triangular), 0.1),
        Measurement.at_most("the product of both maps, which no matrix between changes", _size(product), 1e-12),
    ]


def _size(pair: list[Tensor]) -> float:
    return float((pair[0] - pair[1]).abs().max() / pair[1].abs().max())


def _apart(theta: WeightFeatures, phi: WeightFeatures) -> float:
    """The largest difference of an entry of a parameter, relative to the largest entry of its network."""
    pairs = zip(theta.tensors, phi.tensors, strict=True)
    return max(float(((a - b).flatten(1).abs().amax(1) / b.flatten(1).abs().amax(1)).max()) for a, b in pairs)
