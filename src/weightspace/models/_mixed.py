"""What takes networks of different architectures in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import ModelError
from ..nn import SpaceFamily
from ..space import PaddedBatch, SymmetryGroup, WeightFeatures, WeightSpace, pad
from ._metanetwork import Body, Ports, Task

__all__ = ["MixedMetanetwork"]


class MixedMetanetwork(nn.Module):
    """A network that takes networks of different architectures: the body of one architecture of its own.

    It respects the permutations of hidden neurons of each.

    Args:
        make: the architecture.
        space: the family of architectures that it takes.
        task: "equivariant" or "invariant".
        in_channels: channels of the input.
        out_channels: channels of an equivariant output.
        out_features: length of an invariant output.
        options: of the architecture.
    """

    def __init__(
        self,
        make: Callable[..., Body],
        space: SpaceFamily,
        task: Task,
        in_channels: int = 1,
        out_channels: int = 1,
        out_features: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        self.family, self.task, self.in_channels = space, task, in_channels
        ports = Ports(task, in_channels, out_channels if task == "equivariant" else out_features, in_channels)
        self.net = make(space, ports, **options).net

    @property
    def symmetries(self) -> dict[WeightSpace, SymmetryGroup]:
        """The group that it respects on each architecture that it was built for: permutations of hidden units."""
        return {space: space.symmetry("permutation") for space in self.family.spaces}

    def forward(self, theta: PaddedBatch | WeightFeatures) -> PaddedBatch | WeightFeatures | Tensor:
        """Weight features of the same networks, or a tensor ``[networks, out_features]`` in the order given to `pad`.

        Args:
            theta: networks of different architectures, from `pad`; or those of one.

        Raises:
            ModelError: for networks beyond the limits of the family, or another number of channels, dtype or device.
        """
        batch = pad([theta]) if isinstance(theta, WeightFeatures) else theta
        self._check(batch)
        found = [self.net(bucket) for bucket in batch.buckets]
        if self.task == "invariant":
            return torch.cat(found)[batch.order]
        mapped = batch.replaced(found)
        return mapped.unpad()[0] if isinstance(theta, WeightFeatures) else mapped

    def _check(self, batch: PaddedBatch) -> None:
        if not isinstance(batch, PaddedBatch):
            raise ModelError(f"expected networks that ws.pad has put together, found {type(batch).__name__}")
        like = next(self.parameters())
        found, expected = (batch.channels, batch.device), (self.in_channels, like.device)
        if found != expected or (batch.dtype != like.dtype and not torch.is_autocast_enabled(like.device.type)):
            raise ModelError(
                f"this network takes weight features with {self.in_channels} channels, {like.dtype} on {like.device}; "
                f"found {batch.channels}, {batch.dtype} on {batch.device}"
            )
        for bucket in batch.buckets:
            self.family.check(bucket.features.space)
