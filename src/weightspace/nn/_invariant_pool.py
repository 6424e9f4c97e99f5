"""Invariant features of a network: pools over all permuted axes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._layout import check_space, layouts
from ._pool import Reduction, reduce

__all__ = ["InvariantPool"]


class InvariantPool(nn.Module):
    """Every parameter pooled over all its permuted axes, and dense axes kept or not: invariant features of a network.

    Args:
        space: weight space of the networks.
        channels: channels of the input.
        symmetry: the group of permutations; those of hidden neurons if None.
        reduction: "mean", "sum" or "max".
        keep_dense: whether each entry of the dense axes has features of its own; otherwise they are pooled, too.

    Attributes:
        out_features: length of the vector, ``channels`` for each parameter, and for each of its dense entries if kept.
    """

    def __init__(
        self,
        space: WeightSpace,
        channels: int,
        *,
        symmetry: SymmetryGroup | None = None,
        reduction: Reduction = "mean",
        keep_dense: bool = True,
    ) -> None:
        super().__init__()
        self.space, self.channels, self.reduction, self.keep_dense = space, channels, reduction, keep_dense
        self._layouts = layouts(space, (symmetry or space.symmetry("permutation")).restricted(scales=False))
        self.out_features = channels * sum(layout.multiplicity if keep_dense else 1 for layout in self._layouts)

    def forward(self, theta: WeightFeatures) -> Tensor:
        """Maps weight features to ``[batch, out_features]``."""
        check_space(self.space, theta, self.channels)
        parts = []
        for layout, tensor in zip(self._layouts, theta.tensors, strict=True):
            x = layout.fold(tensor)
            for _ in layout.units:
                x = reduce(x, 1, self.reduction)
            if layout.dense and not self.keep_dense:
                x = reduce(x.unflatten(-1, (-1, self.channels)), 1, self.reduction)
            parts.append(x)
        return torch.cat(parts, dim=-1)
