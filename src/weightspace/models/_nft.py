"""NFT: neural functional transformers."""

from __future__ import annotations

from torch import nn

from ..nn import GaussianFourier, InvariantPool, LearnedPosition, PerParameter, Pointwise, WeightTransformerBlock, head
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["nft"]


@register("nft")
def nft(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 256,
    depth: int = 6,
    heads: int = 4,
    expansion: int = 4,
    frequencies: int = 128,
    fourier_scale: float = 3.0,
    dropout: float = 0.0,
) -> Body:
    """Attention between rows and columns of the weights: the neural functional transformer.

    Random Fourier features of the weights, learned positions of parameters and of input and output neurons, then
    pre-norm transformer blocks. The published classifier reads the features out through a second transformer; here
    they are pooled over the hidden neurons.

    Source: Zhou et al. (2023), arXiv 2305.13546.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels of the blocks.
        depth: number of blocks.
        heads: attention heads.
        expansion: width of the MLP in a block over ``hidden``.
        frequencies: number of random frequencies for each entry.
        fourier_scale: their standard deviation.
        dropout: probability.
    """
    fourier = GaussianFourier(space, ports.in_channels, frequencies, fourier_scale, ports.raw_channels)
    layers: list[nn.Module] = [
        fourier,
        Pointwise(nn.Linear(fourier.out_channels, hidden)),
        LearnedPosition(space, hidden),
        *(WeightTransformerBlock(space, hidden, heads, expansion, dropout) for _ in range(depth)),
        PerParameter(space, lambda: nn.LayerNorm(hidden)),
    ]
    if ports.equivariant:
        layers.append(PerParameter(space, lambda: nn.Linear(hidden, ports.out)))
    else:
        pool = InvariantPool(space, hidden)
        layers += [pool, head(pool.out_features, 4 * hidden, ports.out, dropout)]
    return Body(nn.Sequential(*layers), space.symmetry("permutation"))
