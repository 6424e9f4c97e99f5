"""Transformer-NFN: neural functionals that respect the general matrices of attention heads."""

from __future__ import annotations

from typing import cast

from torch import nn

from ..nn import Contraction, Covariant, InvariantPool, PerParameter
from ..space import WeightFeatures, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import linear_stack

__all__ = ["transformer_nfn"]


@register("transformer-nfn", standardize="scale")
def transformer_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 10,
    depth: int | None = None,
    dropout: float = 0.0,
    rank: int | None = None,
) -> Body:
    r"""Equivariant linear layers on products that general matrices leave alone, then multiplication by what they give.

    Queries and keys of a head may be multiplied by :math:`g` and :math:`g^{-T}`, values and projections too, and the
    network computes the same. `Contraction` forms :math:`W_Q^\top W_K` and :math:`W_O W_V` of every head, with biases
    where there are some; linear layers N of the first engine take them from there, beside all other parameters. An
    invariant task pools N. In an equivariant one `Covariant` multiplies queries, keys, values and projections by
    matrices that N makes, from the side where :math:`g` does not act.

    The group is that of the architecture: which units are permuted, along a residual stream or one layer at a time, and
    which have general matrices (linear layers, too) is read off the space. Without any it is `unf`.

    Source: Tran et al. (2024), arXiv 2410.04209. The published layer is for encoder blocks without residual connections
    and biases of queries, keys, values and projections, is linear in the products, does not permute the units that
    enter the heads, and keeps blocks apart; here all blocks meet in every layer.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers.
        depth: number of equivariant layers; by default 2 for an equivariant task, 1 for an invariant one, as published.
        dropout: probability.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
    """
    depth = depth or (2 if ports.equivariant else 1)
    contraction = Contraction(space, mixtures=4 * hidden)
    features: list[nn.Module] = [contraction]
    if ports.in_channels > 1:  # products are made channel by channel: mixtures, so that all channels meet
        features.insert(0, PerParameter(space, lambda: nn.Linear(ports.in_channels, hidden, bias=False)))
    inner = ports._replace(
        in_channels=hidden if ports.in_channels > 1 else 1, out=hidden if ports.equivariant else ports.out
    )
    layers = linear_stack(
        contraction.products_space, inner, hidden, depth, rank=rank, dropout=dropout, head_width=hidden
    )
    if ports.equivariant:
        outputs = Covariant(contraction, ports.in_channels, hidden, ports.out, rank=hidden)
        return Body(_Multiplied(nn.Sequential(*features, *layers), outputs), contraction.symmetry)
    *layers, pool, head = layers
    norm = nn.LayerNorm(cast(InvariantPool, pool).out_features)
    return Body(nn.Sequential(*features, *layers, pool, norm, head), contraction.symmetry)


class _Multiplied(nn.Module):
    """Weight features from the networks and from features of their products."""

    def __init__(self, features: nn.Module, outputs: Covariant) -> None:
        super().__init__()
        self.features, self.outputs = features, outputs

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Weight features."""
        out: WeightFeatures = self.outputs(theta, self.features(theta))
        return out
