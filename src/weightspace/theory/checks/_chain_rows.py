"""Symmetries of perceptrons, convolutions and residual connections, each beside a change that is none."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ...group import GENERAL_LINEAR, PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL, MatrixGroup
from ...orbit import PhaseGroup
from ...space import SymmetryGroup, WeightFeatures, mlp, siren
from .._symmetry_error import function_difference, random_networks, symmetry_error
from ._changes import Row, edited, generator, inputs, permuting, replaced, torn, traced
from ._modules import Gaussian, Residual

__all__ = ["GROUPS", "chain_rows", "pointwise_rows"]

GROUPS: dict[str, MatrixGroup] = {
    "permutations": PERMUTATION,
    "signs": SIGNED_PERMUTATION,
    "positive scales": POSITIVE_MONOMIAL,
    "all matrices": GENERAL_LINEAR,
}


def pointwise_rows() -> Iterator[Row]:
    """Every group on the hidden neurons of perceptrons with every activation."""
    spaces = {name: mlp([3, 6, 5, 2], name) for name in ("relu", "tanh", "sine", "gelu", "silu", "identity")}
    for name, act in (("leaky relu", nn.LeakyReLU(0.1)), ("sigmoid", nn.Sigmoid())):
        spaces[name] = traced(nn.Linear(3, 6), act, nn.Linear(6, 5), act, nn.Linear(5, 2), shape=(3,))
    for name, space in spaces.items():
        largest = next(group.symmetry for group in space.groups if group.kind == "hidden")
        for what, factor in GROUPS.items():
            hidden = tuple(factor if group.kind == "hidden" else TRIVIAL for group in space.groups)
            yield Row(name, what, symmetry_error(SymmetryGroup(space, hidden), inputs(3)), largest.contains(factor))


def chain_rows() -> Iterator[Row]:
    """Symmetries of neurons that no single matrix is; convolutions; residual connections."""
    yield from _sign_and_phase_rows()
    x = inputs(2, 8, 8)
    for name, pool, width in (("pooled", nn.AdaptiveAvgPool2d(1), 4), ("flattened", nn.Identity(), 16)):
        convolutions = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3, 2), nn.ReLU()
        space = traced(*convolutions, pool, nn.Flatten(), nn.Linear(width, 5), shape=(2, 8, 8))
        name = f"convolutions, {name}"
        yield Row(name, "scales and permutations of channels", symmetry_error(space.symmetry(), x), True)
        yield Row(name, "the head by another permutation", torn(permuting(space, "2"), {"6.weight"}, x), False)
    x, writer = inputs(3), {"1.down.weight", "1.down.bias"}
    for name, after in (("residual stream", nn.Identity()), ("relu after the sum", nn.ReLU())):
        space = traced(nn.Linear(3, 4), Residual(4, 6, after), nn.Linear(4, 2), shape=(3,))
        group = space.symmetry()
        matrices = replaced(group, {"0": GENERAL_LINEAR})
        yield Row(name, "all that is found", symmetry_error(group, x), True)
        yield Row(name, "all matrices on the stream", symmetry_error(matrices, x), name == "residual stream")
        yield Row(name, "a writer by another permutation", torn(permuting(space, "0"), writer, x), False)


def _sign_and_phase_rows() -> Iterator[Row]:
    space = traced(nn.Linear(3, 6), Gaussian(), nn.Linear(6, 2), shape=(3,))
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    entering = {"0.weight": lambda w: signs[:, None] * w, "0.bias": lambda b: signs * b}
    both = {**entering, "2.weight": lambda w: w * signs}
    yield Row("even activation", "signs of what enters", edited(space, entering, inputs(3)), True)
    yield Row("even activation", "all that is found", symmetry_error(space.symmetry(), inputs(3)), True)
    yield Row("even activation", "signs of what enters and leaves", edited(space, both, inputs(3)), False)
    slow, fast = siren([2, 16, 16, 1], omega=20.0), siren([2, 16, 16, 1], omega=30.0)
    yield Row("sine", "phases", symmetry_error(PhaseGroup(fast), inputs(2)), True)
    theta, group = random_networks(slow, 4, generator()), PhaseGroup(slow)
    moved = group.act(group.sample(4, generator(), dtype=torch.float64), theta)
    theta, moved = (WeightFeatures(fast, networks.tensors) for networks in (theta, moved))
    yield Row("sine", "phases of another frequency", function_difference(theta, moved, inputs(2)), False)
