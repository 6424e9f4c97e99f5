"""Transformer-NFN: neural functionals that respect the general matrices of attention heads."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor, nn

from ..nn import (
    Contraction,
    Covariant,
    Dropout,
    FeatureNorm,
    InvariantPool,
    PerParameter,
    Pointwise,
    QuasiEquivariant,
    head,
    relu_,
)
from ..space import WeightFeatures, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import check_quasi, default_rank, linear_stack

__all__ = ["transformer_nfn"]


@register("transformer-nfn", standardize="scale")
def transformer_nfn(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 10,
    depth: int | None = None,
    dropout: float = 0.0,
    rank: int | None = None,
    quasi: Literal["none", "layer"] = "none",
    quasi_hidden: int | None = None,
) -> Body:
    r"""Equivariant linear layers on products that general matrices leave alone, then multiplication by what they give.

    Queries and keys of a head may be multiplied by :math:`g` and :math:`g^{-T}`, values and projections too, and the
    network computes the same. `Contraction` forms :math:`W_Q^\top W_K` and :math:`W_O W_V` of every head, with biases
    where there are some; linear layers N of the first engine take them from there, beside all other parameters. In an
    equivariant task `Covariant` multiplies queries, keys, values and projections by matrices that N makes, from the
    side where :math:`g` does not act. An invariant task takes inverse hyperbolic sines of what N takes, which has heavy
    tails, and pools what N gives; in large networks over input units, classes and positions, too, with coefficients of
    their own, which would be thousands of features otherwise.

    The group is that of the architecture: which units are permuted, along a residual stream or one layer at a time, and
    which have general matrices (linear layers, too) is read off the space. Without any it is `unf`.

    Source: Tran et al. (2024), arXiv 2410.04209. The published layer is for encoder blocks without residual connections
    and biases of queries, keys, values and projections, is linear in the products, does not permute the units that
    enter the heads, and keeps blocks apart; here all blocks meet in every layer.

    With ``quasi="layer"`` matrices that depend on statistics of the networks act on every head, as in arXiv 2604.23720:
    in front of the products in an invariant task, which do not see them, and on what comes out in an equivariant one.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers.
        depth: number of equivariant layers; by default 2 for an equivariant task, 1 for an invariant one, as published.
        dropout: probability.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
        quasi: quasi-equivariance, "none" or "layer"; it needs attention heads or linear layers.
        quasi_hidden: width of its scaling network; see `QuasiEquivariant`.
    """
    check_quasi(quasi, quasi_hidden)
    depth = depth or (2 if ports.equivariant else 1)
    contraction = Contraction(space, mixtures=4 * hidden)
    features: list[nn.Module] = [contraction]
    if ports.in_channels > 1:  # products are made channel by channel: mixtures, so that all channels meet
        features.insert(0, PerParameter(space, lambda: nn.Linear(ports.in_channels, hidden, bias=False)))
    products = contraction.products_space
    inner = ports._replace(task="equivariant", in_channels=hidden if ports.in_channels > 1 else 1, out=hidden)
    layers = linear_stack(products, inner, hidden, depth, rank=rank, dropout=dropout)
    act = functools.partial(QuasiEquivariant, group=contraction.symmetry, hidden=quasi_hidden)
    if ports.equivariant:
        outputs = Covariant(contraction, ports.in_channels, hidden, ports.out, rank=hidden)
        net: nn.Module = _Multiplied(nn.Sequential(*features, *layers), outputs)
        if quasi == "none":
            return Body(net, contraction.symmetry)
        return Body(act(net, in_channels=ports.in_channels, out_channels=ports.out), space.symmetry("trivial"))
    if quasi == "layer":
        *mixtures, _ = features
        beta = nn.Sequential(*mixtures)  # nothing for one channel, whose products are those of the networks
        features = [act(beta, in_channels=ports.in_channels, out_channels=inner.in_channels), contraction]
    few = default_rank(products, hidden) is None
    pool = InvariantPool(products, hidden, keep_dense=few)
    readout = [Pointwise(relu_), Dropout(dropout), pool, FeatureNorm(pool.out_features)]
    readout += [head(pool.out_features, hidden, ports.out, dropout)]
    return Body(nn.Sequential(*features, Pointwise(_compressed), *layers, *readout), contraction.symmetry)


def _compressed(tensor: Tensor) -> Tensor:
    """Logarithms of both signs. In units of the root mean square, which large networks rule, most entries are small."""
    wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))  # half precision ends at 65504
    return torch.asinh(30 * wide).to(tensor.dtype)


class _Multiplied(nn.Module):
    """Weight features from the networks and from features of their products."""

    def __init__(self, features: nn.Module, outputs: Covariant) -> None:
        super().__init__()
        self.features, self.outputs = features, outputs

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Weight features."""
        out: WeightFeatures = self.outputs(theta, self.features(theta))
        return out
