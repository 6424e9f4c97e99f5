"""Equivariant linear layers with ReLU between: the trunk of DWS and of the neural functional networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

from .._errors import ModelError
from ..group import PERMUTATION, TRIVIAL
from ..nn import BatchNorm, Dropout, EquivariantLinear, InvariantPool, Pointwise, Reduction, head, relu_
from ..space import SymmetryGroup, WeightSpace
from ._metanetwork import Ports

__all__ = ["all_permutations", "check_quasi", "default_rank", "linear_stack", "scaled_symmetry"]


def all_permutations(space: WeightSpace) -> SymmetryGroup:
    """Permutations of input and output neurons beside those of hidden ones."""
    hidden = space.symmetry("permutation")
    factors = zip(space.groups, hidden.factors, strict=True)
    return SymmetryGroup(space, tuple(PERMUTATION if g.kind != "hidden" else factor for g, factor in factors))


def check_quasi(quasi: str, quasi_hidden: int | None) -> None:
    """ModelError for the width of scaling networks that are not there."""
    if quasi == "none" and quasi_hidden is not None:
        raise ModelError(f"quasi_hidden: expected none without quasi-equivariance (quasi='none'), found {quasi_hidden}")


def default_rank(space: WeightSpace, hidden: int) -> int | None:
    """The rank for `EquivariantLinear` with ``hidden`` channels: none for small networks, 8 times that for large ones.

    Small are networks of at most 64 parameters, in which taps, positions, and input and output neurons count singly:
    all of the published experiments on INRs and small convolutional networks.
    """
    return None if InvariantPool(space, 1).out_features <= 64 else 8 * hidden


def scaled_symmetry(space: WeightSpace) -> SymmetryGroup:
    """The largest group of permutations and scales that entry-wise maps can respect.

    Permutations stand in for general matrices, and units that are not permuted are not scaled.
    """
    group = space.symmetry().restricted(linear=False)
    moved = [group.factor(neurons.units).permutes for neurons in space.groups]
    return SymmetryGroup(space, tuple(f if moves else TRIVIAL for f, moves in zip(group.factors, moved, strict=True)))


def linear_stack(
    space: WeightSpace,
    ports: Ports,
    hidden: int,
    depth: int,
    *,
    symmetry: SymmetryGroup | None = None,
    reduction: Reduction = "mean",
    neuron_map: Literal["linear", "attention"] = "linear",
    heads: int = 8,
    rank: int | None = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
    head_width: int | None = None,
) -> list[nn.Module]:
    """``depth`` equivariant linear layers, then, for an invariant task, a pool and a head.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers.
        depth: number of layers.
        symmetry: the group; permutations of hidden neurons if None.
        reduction: see `EquivariantLinear`, as for the next two.
        neuron_map: per-neuron maps.
        heads: attention heads.
        rank: of large matrices of coefficients; that of `default_rank` if None.
        batch_norm: normalise each parameter over batch and positions after each layer but the last.
        dropout: probability.
        head_width: of the head; four times ``hidden`` if None.
    """
    widths = [ports.in_channels, *[hidden] * (depth - 1), ports.out if ports.equivariant else hidden]
    layers: list[nn.Module] = []
    for i, (wide_in, wide_out) in enumerate(pairwise(widths)):
        if i > 0:
            layers += [BatchNorm(space, wide_in)] if batch_norm else []
            layers += [Pointwise(relu_), Dropout(dropout)]
        layers.append(
            EquivariantLinear(
                space,
                wide_in,
                wide_out,
                symmetry=symmetry,
                reduction=reduction,
                neuron_map=neuron_map,
                heads=heads,
                rank=rank or default_rank(space, hidden),
                gain=2.0,
            )
        )
    if not ports.equivariant:
        pool = InvariantPool(space, hidden, symmetry=symmetry, reduction=reduction)
        layers += [Pointwise(relu_), Dropout(dropout), pool]
        layers += [head(pool.out_features, head_width or 4 * hidden, ports.out, dropout)]
    return layers
