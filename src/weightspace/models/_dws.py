"""DWS: deep weight-space networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ..nn import (
    BatchNorm,
    Dropout,
    EquivariantLinear,
    InvariantPool,
    Pointwise,
    Reduction,
    Standardization,
    Standardize,
    check_space,
    head,
    relu_,
)
from ..space import WeightFeatures, WeightSpace
from ._registry import Task, register

__all__ = ["DWS"]


@register("dws")
class DWS(nn.Module):
    """Equivariant linear layers with ReLU between: the deep weight-space network.

    Source: Navon et al. (2023), arXiv 2301.12780. The published layer is a sum of (2 L)^2 blocks, each with its own
    pools and set layers; here every parameter is pooled once and each neuron group has one set layer. The span of
    the linear layer is the whole commutant, of which the published code lacks some terms for several outputs.

    Args:
        space: weight space of the networks.
        task: "equivariant" or "invariant".
        in_channels: channels of the input.
        out_channels: channels of an equivariant output.
        out_features: length of an invariant output.
        hidden: channels between the layers.
        depth: number of equivariant layers.
        reduction: "max", "mean" or "sum" pooling.
        neuron_map: "attention" set layers, or "linear" ones.
        heads: attention heads.
        batch_norm: normalise each parameter over batch and positions after each layer but the last.
        dropout: probability.
        standardize: of the input; see `Standardize`. Call ``net.standardize.fit`` with the training networks.
        init_scale: factor on the initial coefficients of the last layer (published for editing: 1e-4 on all
            layers, which drives activations into denormal numbers).

    Attributes:
        symmetry: the group that the network respects: permutations of hidden neurons, or nothing where the input is
            standardised per entry.
    """

    def __init__(
        self,
        space: WeightSpace,
        task: Task = "equivariant",
        in_channels: int = 1,
        out_channels: int = 1,
        out_features: int = 1,
        hidden: int = 32,
        depth: int = 5,
        reduction: Reduction = "max",
        neuron_map: Literal["linear", "attention"] = "attention",
        heads: int = 8,
        batch_norm: bool = True,
        dropout: float = 0.1,
        standardize: Standardization = "orbit",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.space, self.in_channels = space, in_channels
        self.symmetry = space.symmetry("trivial" if standardize == "entry" else "permutation")
        self.standardize = Standardize(space, standardize, in_channels)
        last = out_channels if task == "equivariant" else hidden
        widths = [in_channels, *[hidden] * (depth - 1), last]
        layers: list[nn.Module] = []
        for i, (wide_in, wide_out) in enumerate(pairwise(widths)):
            if i > 0:
                layers += [BatchNorm(space, wide_in)] if batch_norm else []
                layers += [Pointwise(relu_), Dropout(dropout)]
            layers.append(
                EquivariantLinear(
                    space, wide_in, wide_out, reduction=reduction, neuron_map=neuron_map, heads=heads, gain=2.0
                )
            )
        for parameter in layers[-1].parameters():
            parameter.data.mul_(init_scale)
        self.layers = nn.Sequential(*layers)
        self.head: nn.Module | None = None
        if task == "invariant":
            pool = InvariantPool(space, hidden, reduction=reduction)
            self.head = nn.Sequential(
                Pointwise(relu_), Dropout(dropout), pool, head(pool.out_features, 4 * hidden, out_features, dropout)
            )

    def forward(self, theta: WeightFeatures) -> WeightFeatures | Tensor:
        """Weight features for an equivariant task, ``[batch, out_features]`` for an invariant one."""
        check_space(self.space, theta, self.in_channels, like=next(self.parameters()))
        features: WeightFeatures = self.layers(self.standardize(theta))
        return features if self.head is None else self.head(features)
