"""Monomial-NFN: neural functionals that respect signs and positive scales of neurons too."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Literal

from torch import nn

from .._errors import ModelError
from ..nn import (
    EquivariantLinear,
    GaussianFourier,
    InvariantEntries,
    InvariantPool,
    Modulated,
    MonomialActivation,
    QuasiEquivariant,
    SinusoidalPosition,
    head,
)
from ..space import SymmetryGroup, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import all_permutations, check_quasi, default_rank, linear_stack, scaled_symmetry

__all__ = ["monomial_nfn"]


@register("monomial-nfn")
def monomial_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 64,
    depth: int = 3,
    readout_hidden: int | None = None,
    readout_depth: int | None = 3,
    fourier: int | None = 128,
    dropout: float = 0.1,
    rank: int | None = None,
    published: bool = False,
    quasi: Literal["none", "layer", "channel"] = "none",
    quasi_hidden: int | None = None,
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

    With ``quasi="layer"`` an element of the group that depends on statistics of the networks acts on what the layers
    under the group give, as in arXiv 2604.23720: on E in front of the read-out of an invariant task, which does not see
    it, and on F in an equivariant one. One is enough, as several are one again. With ``quasi="channel"`` each of the
    layers is followed by one for each channel, see `QuasiEquivariant`.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers of the first part.
        depth: number of its layers.
        readout_hidden: channels between the layers of the read-out N; four times ``hidden`` if None.
        readout_depth: number of its layers; None for none, so that an invariant task pools the invariant features of
            every entry at once, as published for convolutional networks, with a head of width ``readout_hidden``.
        fourier: random frequencies on the invariant features, for which the first part ends in one channel for each
            input network; None for none, as always with probes or gradients, and where the group has positive scales,
            whose directions over one channel are signs. Meant for raw weights: ``standardize="scale"`` goes with None.
        dropout: probability, in the read-out.
        rank: of large matrices of coefficients, see `EquivariantLinear`; by default 8 times the channels for large
            networks.
        published: the published editing network; the same as the default for an invariant task.
        quasi: quasi-equivariance, "none", "layer" or "channel"; it needs scales (ReLU), not signs (tanh, sine).
        quasi_hidden: width of its scaling networks; see `QuasiEquivariant`.
    """
    check_quasi(quasi, quasi_hidden)
    symmetry = scaled_symmetry(space)
    readout_hidden = readout_hidden or 4 * hidden
    if ports.equivariant and readout_depth is None:
        raise ModelError("readout_depth=None leaves nothing to modulate an equivariant output: take 1 or more")
    if published and ports.equivariant:
        if quasi != "none":
            raise ModelError("published=True is not equivariant under scales, so there is no quasi-equivariance either")
        return _published_editor(space, ports, readout_hidden, readout_depth or 1, dropout, rank)
    positive = any(factor.scales in ("positive", "nonzero") for factor in symmetry.factors)
    if positive or ports.in_channels != ports.raw_channels:
        fourier = None
    # random frequencies of many channels at once would be noise
    narrow = hidden if fourier is None else ports.raw_channels
    linear = functools.partial(EquivariantLinear, space, symmetry=symmetry, rank=rank or default_rank(space, hidden))
    act = functools.partial(QuasiEquivariant, group=symmetry, hidden=quasi_hidden)
    layers: list[nn.Module] = []
    for i, (wide_in, wide_out) in enumerate(pairwise([ports.in_channels, *[hidden] * (depth - 1), narrow])):
        layers += [MonomialActivation(space, symmetry)] if i > 0 else []
        layer = linear(wide_in, wide_out, gain=2.0)
        channel = quasi == "channel"
        layers.append(act(layer, in_channels=wide_in, out_channels=wide_out, form="channel") if channel else layer)
    invariant = _invariant_part(space, ports, symmetry, narrow, fourier, readout_hidden, readout_depth, rank, dropout)
    if not ports.equivariant:
        if quasi == "layer":
            layers = [act(nn.Sequential(*layers), in_channels=ports.in_channels, out_channels=narrow)]
        return Body(nn.Sequential(*layers, *invariant), symmetry)
    direct = linear(ports.in_channels, ports.out)
    last = linear(narrow, ports.out, gain=1e-2)  # products are unstable at first
    net = Modulated(direct, nn.Sequential(*layers), last, nn.Sequential(*invariant))
    if quasi == "layer":
        return Body(act(net, in_channels=ports.in_channels, out_channels=ports.out), space.symmetry("trivial"))
    return Body(net, symmetry)


def _invariant_part(
    space: WeightSpace,
    ports: Ports,
    symmetry: SymmetryGroup,
    channels: int,
    fourier: int | None,
    hidden: int,
    depth: int | None,
    rank: int | None,
    dropout: float,
) -> list[nn.Module]:
    """Invariant features of every entry, and the layers on them, with a pool and a head for an invariant task."""
    layers: list[nn.Module] = [InvariantEntries(space, symmetry, channels)]
    if fourier is not None:
        layers.append(GaussianFourier(space, channels, fourier))
        channels = 2 * fourier
    if depth is None:
        pool = InvariantPool(space, channels)
        return [*layers, pool, head(pool.out_features, hidden, ports.out, dropout)]
    ports = ports._replace(in_channels=channels)
    return [*layers, *linear_stack(space, ports, hidden, depth, rank=rank, dropout=dropout)]


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
