"""Weight features from features of products: parameters that general matrices act on are multiplied, never replaced."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..space import Parameter, WeightFeatures
from ._contraction import Contraction

__all__ = ["Covariant"]


@dataclass(frozen=True)
class _Sides:
    """The axes of a parameter: heads, those of general matrices, and the rest.

    Attributes:
        key: what the matrices are; parameters with the same key are multiplied by the same ones, on the same side.
        heads: axes of the heads over which they are fibred.
        rest: axes that no matrix acts on, those that permutations move first.
        dense: how many of them at the end nothing moves.
        linear: axes that they act on.
        shape: of the parameter.
    """

    key: tuple[tuple[str | None, str | None], ...]
    heads: tuple[int, ...]
    rest: tuple[int, ...]
    dense: int
    linear: tuple[int, ...]
    shape: tuple[int, ...]

    def fold(self, tensor: Tensor) -> Tensor:
        """``[batch, *axes, channels]`` as ``[batch, heads, rest, linear, channels]``."""
        ordered = tensor.permute(0, *(1 + axis for axis in (*self.heads, *self.rest, *self.linear)), -1)
        return ordered.reshape(*self.folded(len(tensor)), -1, tensor.shape[-1])

    def folded(self, batch: int) -> tuple[int, int, int]:
        """Sizes of batch, heads and rest."""
        heads, rest = (math.prod(self.shape[axis] for axis in axes) for axes in (self.heads, self.rest))
        return batch, heads, rest

    @property
    def unmoved(self) -> int:
        """Entries along the dense axes."""
        return math.prod(self.shape[axis] for axis in self.rest[len(self.rest) - self.dense :])

    def unfold(self, tensor: Tensor) -> Tensor:
        """The inverse of `fold`."""
        order = (*self.heads, *self.rest, *self.linear)
        whole = tensor.reshape(len(tensor), *(self.shape[axis] for axis in order), tensor.shape[-1])
        return whole.permute(0, *(1 + order.index(axis) for axis in range(len(order))), -1)


class Covariant(nn.Module):
    r"""Maps networks and features of their products to weight features, and commutes with general matrices.

    A parameter without general matrices gets a linear map of its own features. One that is multiplied by :math:`g_s`
    for each head s, with a vector :math:`w_{sr}` for every index r of its other axes, becomes

    .. math::

        w'_{sr} = a_{sr}\, w_{sr} + \sum_k u_{srk}\, t_{sk}, \qquad
        t_{sk} = \sum_{w} \frac{1}{\sqrt{n_w}} \sum_r v^w_{srk}\, w_{sr},

    where the sum over w is over all parameters with the same matrices on the same side (weights and biases of the
    queries), and a, u and v are linear maps of the features of the products that the parameter is in, pooled over what
    moves the other factors alone. So a matrix :math:`\Phi = \operatorname{diag}(a_s) + u_s v_s^\top`, which
    depends on the network, multiplies from the side where no general matrix acts, and costs no more than its factors.

    Source: Tran et al. (2024), arXiv 2410.04209, whose matrices are the same for all networks.

    Args:
        contraction: makes the products.
        in_channels: channels of the networks.
        features: channels of the features of the products.
        out_channels: channels of the result.
        rank: number of vectors t.
    """

    def __init__(self, contraction: Contraction, in_channels: int, features: int, out_channels: int, rank: int) -> None:
        super().__init__()
        self.space, self.products = contraction.space, contraction.products
        self.in_channels, self.out_channels, self.rank = in_channels, out_channels, rank
        self._sides = [_sides(parameter, contraction) for parameter in self.space.parameters]
        self._dense = [[i for i, axis in enumerate(p.axes) if not contraction.moves(axis)] for p in self.products]
        self._products = [
            [at for at, product in enumerate(self.products) if i in product.sources]
            for i in range(len(self.space.parameters))
        ]
        multipliers = in_channels * out_channels + rank * (in_channels + out_channels)
        self.maps = nn.ModuleList()
        for sides, products in zip(self._sides, self._products, strict=True):
            if sides.linear:
                entries = sum(math.prod(self.products[at].axes[i].size for i in self._dense[at]) for at in products)
                self.maps.append(nn.Linear(entries * features, sides.unmoved * multipliers))
            else:
                self.maps.append(nn.Linear(features, out_channels))

    def forward(self, theta: WeightFeatures, features: WeightFeatures) -> WeightFeatures:
        """Weight features with ``out_channels`` channels."""
        folded: dict[int, Tensor] = {}
        multipliers: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        vectors: dict[object, Tensor] = {}
        for i in (i for i, sides in enumerate(self._sides) if sides.linear):
            w, key = self._sides[i].fold(theta.tensors[i]), self._sides[i].key
            folded[i], multipliers[i] = w, self._multipliers(i, features)
            t = torch.einsum("bsrgi,bsrik->bsgk", w, multipliers[i][2]) / math.sqrt(w.shape[2])
            vectors[key] = vectors[key] + t if key in vectors else t
        tensors = []
        for i, (sides, own) in enumerate(zip(self._sides, self.maps, strict=True)):
            if i not in folded:
                tensors.append(own(features.tensors[self._products[i][0]]))
                continue
            direct, back, _ = multipliers[i]
            out = torch.einsum("bsrgi,bsrio->bsrgo", folded[i], direct)
            tensors.append(sides.unfold(out + torch.einsum("bsgk,bsrko->bsrgo", vectors[sides.key], back)))
        return WeightFeatures(self.space, tuple(tensors))

    def _multipliers(self, i: int, features: WeightFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """a, u and v of one parameter, each [batch, heads, rest, .., ..]."""
        sides = self._sides[i]
        kept = (*sides.heads, *sides.rest[: len(sides.rest) - sides.dense])
        pooled = []
        for at in self._products[i]:
            axes = self.products[at].axes_of(i)
            order = [axes[axis] for axis in kept] + self._dense[at]
            x = features.tensors[at].movedim([1 + axis for axis in order], list(range(1, 1 + len(order))))
            others = tuple(range(1 + len(order), x.dim() - 1))
            pooled.append((x.mean(others) if others else x).flatten(1 + len(kept)))
        flat = self.maps[i](torch.cat(pooled, -1)).reshape(*sides.folded(len(pooled[0])), -1)
        ins, outs, rank = self.in_channels, self.out_channels, self.rank
        direct, back, v = flat.split([ins * outs, rank * outs, ins * rank], -1)
        return direct.unflatten(-1, (ins, outs)), back.unflatten(-1, (rank, outs)), v.unflatten(-1, (ins, rank))


def _sides(parameter: Parameter, contraction: Contraction) -> _Sides:
    """Axes of matrices and heads are in the order of their neuron groups, so that they are the same for one key."""
    order = {group.name: i for i, group in enumerate(contraction.space.groups)}

    def ordered(names: set[str | None]) -> tuple[int, ...]:
        found = [i for i, axis in enumerate(parameter.axes) if axis.group in names]
        return tuple(sorted(found, key=lambda i: order[str(parameter.axes[i].group)]))

    linear, dense = ordered(set(contraction.linear)), contraction.dense(parameter)
    heads = ordered({contraction.space.group(str(parameter.axes[i].group)).over for i in linear} - {None})
    moved = tuple(i for i in range(len(parameter.axes)) if i not in linear + heads + dense)
    key = tuple((parameter.axes[i].group, parameter.axes[i].side) for i in linear)
    dense = tuple(i for i in dense if i not in heads)
    return _Sides(key, heads, moved + dense, len(dense), linear, parameter.shape)
