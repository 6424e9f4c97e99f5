"""Weight features: a batch of points of V ⊗ R^C, where V is the weight space of one architecture."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._errors import SpaceError

if TYPE_CHECKING:
    from ._space import WeightSpace

__all__ = ["WeightFeatures", "check_features"]


@dataclass(frozen=True, eq=False)
class WeightFeatures:
    """One tensor ``[batch, *axes, channels]`` for each parameter of a weight space; raw weights have one channel.

    Made by `WeightSpace.stack`, `WeightSpace.sample` or `WeightSpace.features`, which check their input; the
    constructor does not. Immutable, read like a mapping from parameter names to tensors, except that its ``len`` is the
    batch size; a registered pytree.

    Attributes:
        space: the weight space.
        tensors: one tensor for each of ``space.parameters``, in their order.
    """

    space: WeightSpace
    tensors: tuple[Tensor, ...]

    def __getitem__(self, key: Any) -> Any:
        """A tensor by its name, or the networks that an int, slice or 1-d index tensor (or list) selects.

        A name is that of a parameter, or of a tensor of the state dict that several parameters make up.

        Raises:
            SpaceError: for an unknown name or an index that does not select networks.
            IndexError: for an int out of range.
        """
        if isinstance(key, str):
            for stored in self.space.tensors:
                if stored.name == key and [block.parameter for block in stored.blocks] != [key]:
                    return stored.assemble([self[block.parameter] for block in stored.blocks])
            return self.tensors[self.space.position(key)]
        if isinstance(key, slice):
            return self.map(lambda t: t[key])
        if isinstance(key, Tensor | list) and (rows := torch.as_tensor(key)).dim() == 1:
            return self.map(lambda t: t[rows.to(t.device)])
        try:
            index = operator.index(key)
        except TypeError:
            raise SpaceError(
                f"networks are selected by an int, a slice, or a 1-d tensor or list of indices, found {key!r}"
            ) from None
        if not -len(self) <= index < len(self):
            raise IndexError(f"network {index} of a batch of {len(self)}")
        return self.map(lambda t: t[index % len(self)][None])

    def get(self, name: str, default: Tensor | None = None) -> Tensor | None:
        """A tensor by parameter name, or the default."""
        found: Tensor | None = dict(self.items()).get(name, default)
        return found

    def __len__(self) -> int:
        """The number of networks."""
        return self.tensors[0].shape[0]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the parameter names, as a mapping does."""
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        """Whether there is a parameter of that name."""
        return name in self.keys()

    def keys(self) -> tuple[str, ...]:
        """The parameter names."""
        return tuple(p.name for p in self.space.parameters)

    def values(self) -> tuple[Tensor, ...]:
        """The tensors."""
        return self.tensors

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Pairs of parameter name and tensor."""
        return zip(self.keys(), self.tensors, strict=True)

    @property
    def channels(self) -> int:
        """The number of channels C."""
        return self.tensors[0].shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensors."""
        return self.tensors[0].dtype

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.tensors[0].device

    def map(self, fn: Callable[..., Tensor], *others: WeightFeatures) -> WeightFeatures:
        """Applies ``fn`` to each tensor, beside the tensors of ``others`` for the same parameter.

        Raises:
            SpaceError: if another one is no weight features of the same space.
        """
        for other in others:
            if not isinstance(other, WeightFeatures) or other.space != self.space:
                what = self.space.difference(other.space) if isinstance(other, WeightFeatures) else repr(type(other))
                raise SpaceError(f"expected weight features of the same space, found another one: {what}")
        columns = zip(self.tensors, *(other.tensors for other in others), strict=True)
        return WeightFeatures(self.space, tuple(fn(*column) for column in columns))

    def concatenate(self, other: WeightFeatures) -> WeightFeatures:
        """The channels of both, side by side."""
        return self.map(lambda a, b: torch.cat([a, b], dim=-1), other)

    def to(self, *args: Any, **kwargs: Any) -> WeightFeatures:
        """Moves or casts every tensor, as `torch.Tensor.to` does."""
        return self.map(lambda t: t.to(*args, **kwargs))

    def detach(self) -> WeightFeatures:
        """Detaches every tensor from the autograd graph."""
        return self.map(lambda t: t.detach())

    def flatten(self) -> Tensor:
        """All entries side by side: ``[batch, num_parameters * channels]``."""
        return torch.cat([t.flatten(1) for t in self.tensors], dim=1)

    def __add__(self, other: WeightFeatures) -> WeightFeatures:
        """Entry-wise sum, channels broadcast."""
        return self.map(torch.add, other)

    def __sub__(self, other: WeightFeatures) -> WeightFeatures:
        """Entry-wise difference, channels broadcast."""
        return self.map(torch.sub, other)

    def __mul__(self, scalar: float | Tensor) -> WeightFeatures:
        """Product with a number."""
        if isinstance(scalar, Tensor) and scalar.dim() > 0:
            raise SpaceError(f"expected a number to multiply with, found a tensor of shape {tuple(scalar.shape)}")
        return self.map(lambda t: t * scalar)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        """A line that tells the batch, the channels and the space."""
        return (
            f"WeightFeatures(batch={len(self)}, channels={self.channels}, dtype={self.dtype}, device={self.device}, "
            f"space={self.space.summary()})"
        )


def check_features(*networks: object) -> None:
    """Refuses what is no batch of networks, such as a module or a state dict.

    Raises:
        SpaceError: names the type found.
    """
    for found in networks:
        if not isinstance(found, WeightFeatures):
            raise SpaceError(
                f"expected weight features, as space.stack([...]) makes them of modules; found {type(found).__name__}"
            )


def _flatten(features: WeightFeatures) -> tuple[list[Tensor], WeightSpace]:
    return list(features.tensors), features.space


def _unflatten(tensors: Any, space: Any) -> WeightFeatures:
    return WeightFeatures(space, tuple(tensors))


def _flatten_with_keys(features: WeightFeatures) -> tuple[list[tuple[Any, Tensor]], WeightSpace]:
    return [(pytree.MappingKey(name), tensor) for name, tensor in features.items()], features.space


pytree.register_pytree_node(
    WeightFeatures,
    _flatten,
    _unflatten,
    serialized_type_name="weightspace.space.WeightFeatures",
    flatten_with_keys_fn=_flatten_with_keys,
    to_dumpable_context=lambda space: space.describe(),
    from_dumpable_context=lambda description: _space_from(description),
)


def _space_from(description: Any) -> WeightSpace:
    from ._space import from_description

    return from_description(description)
