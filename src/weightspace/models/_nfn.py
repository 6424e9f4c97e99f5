"""Neural functional networks: NP-NFN, HNP-NFN and universal neural functionals."""

from __future__ import annotations

from torch import nn

from ..nn import GaussianFourier, SinusoidalPosition
from ..space import SymmetryGroup, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import all_permutations, linear_stack

__all__ = ["hnp_nfn", "np_nfn", "unf"]


@register("hnp-nfn")
def hnp_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int | None = None,
    depth: int | None = None,
    fourier: int | None = 128,
    dropout: float = 0.0,
    rank: int | None = None,
) -> Body:
    """Equivariant linear layers with mean pooling, under permutations of hidden neurons.

    Source: Zhou et al. (2023), arXiv 2302.14040, "NFN-HNP". The published layer lacks one term, from the biases of
    the last hidden group to the weights that leave it, which is there here.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers; by default 128 for an equivariant task, 512 for an invariant one.
        depth: number of equivariant layers; by default 4 for an equivariant task, 3 for an invariant one.
        fourier: random frequencies of the input features; None for the raw weights.
        dropout: probability.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
    """
    return _nfn(space, ports, hidden, depth, fourier, dropout, rank, space.symmetry("permutation"), positions=False)


@register("np-nfn")
def np_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int | None = None,
    depth: int | None = None,
    positions: bool = True,
    fourier: int | None = 128,
    dropout: float = 0.0,
    rank: int | None = None,
) -> Body:
    """Equivariant linear layers with mean pooling, under permutations of all neurons, inputs and outputs included.

    That group is too large: it changes what the networks compute. Positional encodings of inputs and outputs, on by
    default, repair it; without them the network cannot tell its inputs apart.

    Source: Zhou et al. (2023), arXiv 2302.14040, "NFN-NP".

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers; by default 128 for an equivariant task, 512 for an invariant one.
        depth: number of equivariant layers; by default 4 for an equivariant task, 3 for an invariant one.
        positions: sinusoidal encodings of input and output neurons.
        fourier: random frequencies of the input features; None for the raw weights.
        dropout: probability.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
    """
    everything = all_permutations(space)
    return _nfn(space, ports, hidden, depth, fourier, dropout, rank, everything, positions=positions)


@register("unf", standardize="orbit")
def unf(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 32,
    depth: int = 4,
    dropout: float = 0.0,
    rank: int | None = None,
) -> Body:
    """Equivariant linear layers for any axis labels: the universal neural functional.

    Parameters may carry any number of neuron groups, each any number of times: recurrent and residual weights see
    their transpose and their diagonal.

    Source: Zhou et al. (2024), arXiv 2402.05232.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers.
        depth: number of equivariant layers.
        dropout: probability.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
    """
    layers = linear_stack(space, ports, hidden, depth, rank=rank, dropout=dropout)
    return Body(nn.Sequential(*layers), space.symmetry("permutation"))


def _nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int | None,
    depth: int | None,
    fourier: int | None,
    dropout: float,
    rank: int | None,
    symmetry: SymmetryGroup,
    *,
    positions: bool,
) -> Body:
    hidden = hidden or (128 if ports.equivariant else 512)
    depth = depth or (4 if ports.equivariant else 3)
    encodings: list[nn.Module] = []
    width = ports.in_channels
    if fourier is not None:
        waves = GaussianFourier(space, width, fourier, encoded=ports.raw_channels)
        encodings.append(waves)
        width = waves.out_channels
    if positions:
        position = SinusoidalPosition(space)
        encodings.append(position)
        width += position.extra_channels
    layers = linear_stack(
        space,
        ports._replace(in_channels=width),
        hidden,
        depth,
        symmetry=symmetry,
        rank=rank,
        dropout=dropout,
        head_width=2 * hidden,
    )
    return Body(nn.Sequential(*encodings, *layers), symmetry.restricted(io=not positions))
