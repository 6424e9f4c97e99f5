"""DWS: deep weight-space networks."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..nn import EquivariantLinear, Reduction
from ..space import WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import linear_stack

__all__ = ["dws"]


@register("dws", standardize="orbit")
def dws(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 32,
    depth: int = 5,
    reduction: Reduction = "max",
    neuron_map: Literal["linear", "attention"] = "attention",
    heads: int = 8,
    rank: int | None = None,
    batch_norm: bool = True,
    dropout: float = 0.1,
    init_scale: float = 1.0,
) -> Body:
    """Equivariant linear layers with ReLU between: the deep weight-space network.

    Source: Navon et al. (2023), arXiv 2301.12780. The published layer is a sum of (2 L)^2 blocks, each with its own
    pools and set layers; here every parameter is pooled once and each neuron group has one set layer. The span of
    the linear layer is the whole commutant, of which the published code lacks some terms for several outputs.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: channels between the layers.
        depth: number of equivariant layers.
        reduction: "max", "mean" or "sum" pooling.
        neuron_map: "attention" set layers, or "linear" ones.
        heads: attention heads.
        rank: of matrices of coefficients, see `EquivariantLinear`; by default 8 times ``hidden`` for large networks.
        batch_norm: normalise each parameter over batch and positions after each layer but the last.
        dropout: probability.
        init_scale: factor on the initial coefficients of the last layer (published for editing: 1e-4 on all
            layers, which drives activations into denormal numbers).
    """
    layers = linear_stack(
        space,
        ports,
        hidden,
        depth,
        reduction=reduction,
        neuron_map=neuron_map,
        heads=heads,
        rank=rank,
        batch_norm=batch_norm,
        dropout=dropout,
    )
    last = [layer for layer in layers if isinstance(layer, EquivariantLinear)][-1]
    for parameter in last.parameters():
        parameter.data.mul_(init_scale)
    return Body(nn.Sequential(*layers), space.symmetry("permutation"))
