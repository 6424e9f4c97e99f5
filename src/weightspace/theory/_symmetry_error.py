"""How much a change of the weights changes what networks compute."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..orbit import PhaseGroup
from ..space import SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["function_difference", "random_networks", "symmetry_error"]


def function_difference(theta: WeightFeatures, phi: WeightFeatures, x: Tensor | tuple[Tensor, ...]) -> float:
    """The largest ``max |f_phi - f_theta| / max |f_theta|`` over the pairs of two batches, maxima over the inputs.

    Args:
        theta: raw weights of B networks.
        phi: raw weights of B networks of the same space.
        x: inputs, as `WeightSpace.realize` takes them.
    """
    with torch.no_grad():
        expected, found = (networks.space.realize(networks, x).flatten(1) for networks in (theta, phi))
    return float(((found - expected).abs().amax(1) / expected.abs().amax(1)).max())


def symmetry_error(
    group: SymmetryGroup | PhaseGroup, x: Tensor | tuple[Tensor, ...], *, batch: int = 4, seed: int = 0
) -> float:
    """The `function_difference` between random networks and the same moved by random elements of a group, in float64.

    It is rounding if the group preserves what the networks compute. A group that does not, which
    `WeightSpace.symmetry` refuses, can be built by hand.

    Args:
        group: acts on the networks.
        x: inputs in float64, as `WeightSpace.realize` takes them.
        batch: number of networks, each with an element of its own.
        seed: of networks and elements.

    Example:
        >>> import torch, weightspace as ws
        >>> from weightspace.group import SIGNED_PERMUTATION, TRIVIAL
        >>> space, x = ws.mlp([2, 8, 1], "relu"), torch.randn(50, 2, dtype=torch.float64)
        >>> signs = ws.space.SymmetryGroup(space, (TRIVIAL, SIGNED_PERMUTATION, TRIVIAL))
        >>> symmetry_error(space.symmetry(), x) < 1e-12, symmetry_error(signs, x) > 0.1
        (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    theta = random_networks(group.space, batch, generator)
    element: Any = group.sample(batch, generator, dtype=torch.float64)
    return function_difference(theta, group.act(element, theta), x)


def random_networks(space: WeightSpace, batch: int, generator: torch.Generator | None = None) -> WeightFeatures:
    """Networks in float64 whose entries are all normal, of variance 1 / fan-in; running variances are positive."""
    tensors = {}
    for p in space.parameters:
        drawn = torch.randn(batch, *p.shape, 1, generator=generator, dtype=torch.float64)
        never_scaled = p.groups and not any(tuple(axis.carried()) for axis in p.axes)
        tensors[p.name] = drawn.square() + 0.5 if never_scaled else drawn / math.sqrt(max(1, math.prod(p.shape[1:])))
    return space.features(tensors)
