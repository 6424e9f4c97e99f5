"""Networks of different architectures, padded to common shapes: what `pad` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ._features import WeightFeatures
from ._labels import Parameter
from ._space import WeightSpace

__all__ = ["PaddedBatch", "PaddedFeatures", "centred", "inside"]


def centred(size: int, limit: int) -> slice:
    """Where the taps of a shorter kernel lie in a longer one: their middles coincide."""
    start = limit // 2 - size // 2
    return slice(start, start + size)


def inside(parameter: Parameter, padded: Parameter) -> tuple[slice, ...]:
    """Where a parameter lies in the padded one: its units first, its taps in the middle."""
    return tuple(
        slice(axis.size) if axis.group is not None else centred(axis.size, longest.size)
        for axis, longest in zip(parameter.axes, padded.axes, strict=True)
    )


@dataclass(frozen=True, eq=False)
class PaddedFeatures:
    """Networks whose layers correspond, padded with zeros to one weight space: units at the end, taps on both sides.

    Attributes:
        features: the padded features.
        spaces: the weight spaces of the networks, one for each run of consecutive networks of one architecture.
        counts: how many networks each run has.
        sizes: for each network the numbers of units of the neuron groups.
        plain: for each network the sizes of all plain axes, one parameter after another.
    """

    features: WeightFeatures
    spaces: tuple[WeightSpace, ...]
    counts: tuple[int, ...]
    sizes: Int[Tensor, "batch groups"]
    plain: Int[Tensor, "batch axes"]

    def __len__(self) -> int:
        """The number of networks."""
        return len(self.features)

    @property
    def ragged(self) -> bool:
        """Whether any network is smaller than the padded ones."""
        return any(space.num_parameters < self.features.space.num_parameters for space in self.spaces)

    def mask(self, groups: Sequence[str]) -> Bool[Tensor, "batch units"]:
        """Which units of a neuron group, or of a product of several, each network has."""
        space = self.features.space
        found = torch.ones(len(self), 1, dtype=torch.bool, device=self.sizes.device)
        for name in groups:
            n, size = space.group(name).size, self.sizes[:, [g.name for g in space.groups].index(name)]
            there = torch.arange(n, device=size.device) < size.unsqueeze(1)
            found = (found.unsqueeze(2) & there.unsqueeze(1)).flatten(1)
        return found

    def map(self, fn: Callable[..., Tensor], *others: PaddedFeatures) -> PaddedFeatures:
        """Applies ``fn`` to each tensor, beside those of ``others`` for the same parameter; padding stays zero."""
        return self.replaced(self.features.map(fn, *(other.features for other in others)))

    def replaced(self, features: WeightFeatures) -> PaddedFeatures:
        """Other features of the same networks; what stands in the padding becomes zero."""
        names = {group.name: i for i, group in enumerate(self.features.space.groups)}
        seen, tensors = 0, []
        for parameter, tensor in zip(features.space.parameters, features.tensors, strict=True):
            there = torch.ones([1] * tensor.dim(), dtype=torch.bool, device=tensor.device)
            for axis, label in enumerate(parameter.axes, start=1):
                if label.group is None:
                    size, seen = self.plain[:, seen], seen + 1
                    start = label.size // 2 - size // 2
                else:
                    size = self.sizes[:, names[label.group]]
                    start = torch.zeros_like(size)
                i = torch.arange(label.size, device=size.device)
                within = (i >= start.unsqueeze(1)) & (i < (start + size).unsqueeze(1))
                there = there & within.view(-1, *[1] * (axis - 1), label.size, *[1] * (tensor.dim() - axis - 1))
            tensors.append(tensor.where(there, 0))
        return dataclasses.replace(self, features=WeightFeatures(features.space, tuple(tensors)))

    def to(self, *args: Any, **kwargs: Any) -> PaddedFeatures:
        """Moves or casts every tensor, as `torch.Tensor.to` does."""
        features = self.features.to(*args, **kwargs)
        where = features.device
        return dataclasses.replace(self, features=features, sizes=self.sizes.to(where), plain=self.plain.to(where))

    def unpad(self) -> list[WeightFeatures]:
        """The networks without padding, one `WeightFeatures` for each of ``spaces``."""
        found, row = [], 0
        for space, count in zip(self.spaces, self.counts, strict=True):
            rows = slice(row, row + count)
            pairs = zip(space.parameters, self.features.space.parameters, self.features.tensors, strict=True)
            tensors = tuple(tensor[(rows, *inside(own, padded))] for own, padded, tensor in pairs)
            found.append(WeightFeatures(space, tensors))
            row += count
        return found


@dataclass(frozen=True, eq=False)
class PaddedBatch:
    """Networks of different architectures, for one forward pass: what `pad` returns.

    Attributes:
        buckets: the networks, padded, one bucket for each sequence of layers and size.
        places: for each weight features given to `pad`, the bucket and the place in it.
        order: for each network in the order given, its place in all buckets one after another.
    """

    buckets: tuple[PaddedFeatures, ...]
    places: tuple[tuple[int, int], ...]
    order: Int[Tensor, "batch"]

    def __len__(self) -> int:
        """The number of networks."""
        return sum(map(len, self.buckets))

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.buckets[0].features.channels

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensors."""
        return self.buckets[0].features.dtype

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.buckets[0].features.device

    @property
    def overhead(self) -> float:
        """How many times more numbers there are with padding than without."""
        padded = sum(len(b) * b.features.space.num_parameters for b in self.buckets)
        pairs = [pair for b in self.buckets for pair in zip(b.spaces, b.counts, strict=True)]
        return padded / sum(space.num_parameters * count for space, count in pairs)

    def map(self, fn: Callable[..., Tensor], *others: PaddedBatch) -> PaddedBatch:
        """Applies ``fn`` to each tensor, beside those of ``others``, results of this batch; padding stays zero."""
        columns = zip(self.buckets, *(other.buckets for other in others), strict=True)
        return dataclasses.replace(self, buckets=tuple(bucket.map(fn, *rest) for bucket, *rest in columns))

    def replaced(self, features: Sequence[WeightFeatures]) -> PaddedBatch:
        """Other features of the same networks, one for each bucket; what stands in the padding becomes zero."""
        pairs = zip(self.buckets, features, strict=True)
        return dataclasses.replace(self, buckets=tuple(bucket.replaced(own) for bucket, own in pairs))

    def to(self, *args: Any, **kwargs: Any) -> PaddedBatch:
        """Moves or casts every tensor, as `torch.Tensor.to` does."""
        buckets = tuple(bucket.to(*args, **kwargs) for bucket in self.buckets)
        return dataclasses.replace(self, buckets=buckets, order=self.order.to(buckets[0].features.device))

    def unpad(self) -> list[WeightFeatures]:
        """The weight features in the order given to `pad`, without padding."""
        found = [bucket.unpad() for bucket in self.buckets]
        return [found[bucket][place] for bucket, place in self.places]
