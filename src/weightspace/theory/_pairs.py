"""Pairs of networks in different orbits that colour refinement does not tell apart."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import WeightspaceError
from ..space import WeightFeatures, mlp

__all__ = ["SPACE", "gram_norm", "with_middle", "wl_pair"]

SPACE = mlp([1, 4, 4, 1])


def with_middle(matrices: Float[Tensor, "batch 4 4"]) -> WeightFeatures:
    """Networks 1-4-4-1 with the given middle weights and constant weights and biases elsewhere, in float64."""
    batch = len(matrices)
    constants = {"0.weight": 1.0, "0.bias": 0.5, "2.bias": -0.25, "4.weight": 1.0, "4.bias": 0.3}
    tensors = {
        name: torch.full((batch, *SPACE.parameters[SPACE.position(name)].shape, 1), value, dtype=torch.float64)
        for name, value in constants.items()
    }
    return SPACE.features({**tensors, "2.weight": matrices.double()[..., None]})


def wl_pair(kind: Literal["c8"] = "c8") -> tuple[WeightFeatures, WeightFeatures]:
    """Two networks of different orbits that all message passing on the network's graph takes for the same.

    Both are 1-4-4-1 networks whose middle weights are the biadjacency matrix of a graph on 4 + 4 neurons in which all
    neurons have two neighbours: one cycle of length 8, or two cycles of length 4. Every other parameter is constant, so
    that colour refinement (1-WL) gives each layer one colour in both networks. The networks compute the same function,
    yet their weights lie in different orbits: `gram_norm`, which is invariant and continuous, is 24 for the first and
    32 for the second (their ranks are 3 and 2).

    Source: arXiv 2602.01083, proposition 6.2.

    Args:
        kind: "c8".

    Returns:
        Two batches of one network in float64.

    Raises:
        WeightspaceError: for another kind.
    """
    if kind != "c8":
        raise WeightspaceError(f"unknown pair {kind!r}; known: 'c8'")
    cycle = torch.eye(4) + torch.eye(4).roll(1, dims=1)
    two_cycles = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
    return with_middle(cycle[None]), with_middle(two_cycles[None])


def gram_norm(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    """The separating functional of `wl_pair`: the squared Frobenius norm of W_2 W_2^T, invariant under permutations."""
    middle: Tensor = theta["2.weight"][..., 0]
    return (middle @ middle.mT).square().sum((1, 2))
