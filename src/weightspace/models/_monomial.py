"""Monomial-NFN: neural functionals that respect signs and positive scales of neurons too."""

from __future__ import annotations

import functools
from itertools import pairwise

from torch import nn

from ..nn import (
    EquivariantLinear,
    GaussianFourier,
    InvariantEntries,
    Modulated,
    MonomialActivation,
    SinusoidalPosition,
)
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import all_permutations, default_rank, linear_stack, scaled_symmetry

__all__ = ["monomial_nfn"]


@register("monomial-nfn")
def monomial_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 64,
    depth: int = 3,
    readout_hidden: int | None = None,
    readout_depth: int = 3,
    fourier: int | None = 128,
    dropout: float = 0.1,
    rank: int | None = None,
    published: bool = False,
) -> Body:
    r"""Linear layers under the whole group of the architecture, then a read-out of invariant features.

    The group leaves few linear maps (19 on 2-3-3-2 networks with ReLU, where permutations alone leave 114): a hidden
    weight only mixes its own channels. What sees the network as a whole is a stack N of permutation-equivariant layers
    on invariant features of every entry: absolute values where the group has signs, directions over the channels where
    it has positive scales. An invariant task pools N; in an equivariant one it modulates, which keeps equivariance:

    .. math:: F(\theta) = A \theta + B h \odot N(\operatorname{inv}(h)), \qquad h = E(\theta),

    with A, B and E equivariant.

    Source: Tran et al. (2024), arXiv 2409.11697, sections 4 and 5. The published editing network feeds two linear
    layers to a plain NP-NFN and is not equivariant under signs (nor scales): that is ``published=True``.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers of the first part.
        depth: number of its layers.
        readout_hidden: channels between the layers of the read-out N; four times ``hidden`` if None.
        readout_depth: number of its layers.
        fourier: random frequencies on the invariant features, for which the first part ends in one channel for each
            input network; None for none, as always with probes or gradients, and where the group has positive scales,
            whose directions over one channel are signs. Meant for raw weights: ``standardize="scale"`` goes with None.
        dropout: probability, in the read-out.
        rank: of large matrices of coefficients, see `EquivariantLinear`; by default 8 times the channels for large
            networks.
        published: the published editing network; the same as the default for an invariant task.
    """
    symmetry = scaled_symmetry(space)
    readout_hidden = readout_hidden or 4 * hidden
    if published and ports.equivariant:
        return _published_editor(space, ports, readout_hidden, readout_depth, dropout, rank)
    positive = any(factor.scales in ("positive", "nonzero") for factor in symmetry.factors)
    if positive or ports.in_channels != ports.raw_channels:
        fourier = None
    # random frequencies of many channels at once would be noise
    narrow = hidden if fourier is None else ports.raw_channels
    linear = functools.partial(EquivariantLinear, space, symmetry=symmetry, rank=rank or default_rank(space, hidden))
    layers: list[nn.Module] = []
    for i, (wide_in, wide_out) in enumerate(pairwise([ports.in_channels, *[hidden] * (depth - 1), narrow])):
        layers += [MonomialActivation(space, symmetry)] if i > 0 else []
        layers.append(linear(wide_in, wide_out, gain=2.0))
    invariant: list[nn.Module] = [InvariantEntries(space, symmetry, narrow)]
    width = narrow
    if fourier is not None:
        invariant.append(GaussianFourier(space, narrow, fourier))
        width = 2 * fourier
    readout = linear_stack(
        space, ports._replace(in_channels=width), readout_hidden, readout_depth, rank=rank, dropout=dropout
    )
    if not ports.equivariant:
        return Body(nn.Sequential(*layers, *invariant, *readout), symmetry)
    direct = linear(ports.in_channels, ports.out)
    last = linear(narrow, ports.out, gain=1e-2)  # products are unstable at first
    return Body(Modulated(direct, nn.Sequential(*layers), last, nn.Sequential(*invariant, *readout)), symmetry)


def _published_editor(
    space: WeightSpace, ports: Ports, hidden: int, depth: int, dropout: float, rank: int | None
) -> Body:
    """Two linear layers under the group, then Fourier features, positions and an NP-NFN, which break it."""
    symmetry = scaled_symmetry(space)
    position = SinusoidalPosition(space)
    wide = ports._replace(in_channels=256 + position.extra_channels)
    layers = [
        EquivariantLinear(space, ports.in_channels, 16, symmetry=symmetry, rank=rank or default_rank(space, hidden)),
        EquivariantLinear(space, 16, 1, symmetry=symmetry, rank=rank or default_rank(space, hidden)),
        GaussianFourier(space, 1, 128),
        position,
        *linear_stack(space, wide, hidden, depth, symmetry=all_permutations(space), rank=rank, dropout=dropout),
    ]
    return Body(nn.Sequential(*layers), space.symmetry("permutation"))
