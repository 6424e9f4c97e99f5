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
    fourier: int = 128,
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
        fourier: random frequencies of the input features.
        dropout: probability.
    """
    waves = GaussianFourier(space, ports.in_channels, fourier, encoded=ports.raw_channels)
    layers: list[nn.Module] = [
        waves,
        Pointwise(nn.Linear(waves.out_channels, hidden)),
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
