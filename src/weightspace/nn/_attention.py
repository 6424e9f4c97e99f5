"""Engine 3: attention between the rows and columns of weight features."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..space import WeightFeatures, WeightSpace
from ._dropout import dropout
from ._layout import check_space

__all__ = ["NeuronAttention", "PerParameter", "WeightTransformerBlock"]


class PerParameter(nn.Module):
    """One module of its own on the channels of each parameter.

    Args:
        space: weight space of the features.
        make: makes the module of one parameter, a map [..., channels] to [..., out_channels].
    """

    def __init__(self, space: WeightSpace, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(make() for _ in space.parameters)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the modules."""
        tensors = [module(tensor) for module, tensor in zip(self.maps, theta.tensors, strict=True)]
        return WeightFeatures(theta.space, tuple(tensors))


class NeuronAttention(nn.Module):
    r"""Attention between all rows and columns that end at the same neurons, and between whole parameters.

    Queries, keys and values are one affine map of every entry. With c channels a head, an entry gets the sum of

    - for each neuron group with n neurons that its parameter carries: the positions of the other axes of all
      parameters that carry the group are tokens (columns of W_l, the bias b_l, rows of W_{l+1}), each the vector of
      its n neurons and c channels; :math:`softmax(Q K^T / \sqrt{c n}) V`;
    - globally: each parameter is one token, the mean of its entries; :math:`softmax(Q K^T / \sqrt c) V`, the same for
      all entries of the parameter.

    Scores contract over the neurons, so they hold products such as :math:`W_l W_l^T` and :math:`W_{l+1} W_l`, which
    no message passing forms. Commutes with permutations of every neuron group, input and output ones included. Neuron
    groups of the same units are one group here; a parameter that carries one twice has rows and columns among its
    tokens.

    Source: Zhou et al. (2023), arXiv 2305.13546.

    Args:
        space: weight space of the features.
        channels: channels of the input and of the result.
        heads: wanted number of heads; the greatest common divisor with ``channels`` is taken.
    """

    def __init__(self, space: WeightSpace, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.space, self.channels, self.heads = space, channels, math.gcd(heads, channels)
        self.project = nn.Linear(channels, 3 * channels)
        # for the units of each neuron group: (position of the parameter, axis of the tensor) wherever they are carried
        self._carriers: dict[str, list[tuple[int, int]]] = {}
        for i, parameter in enumerate(space.parameters):
            for axis, label in enumerate(parameter.axes, start=1):
                if label.group is not None:
                    self._carriers.setdefault(space.group(label.group).units, []).append((i, axis))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        check_space(self.space, theta, self.channels)
        outputs = list(self._between_parameters(theta).unbind(1))
        for i, parameter in enumerate(self.space.parameters):
            outputs[i] = outputs[i].reshape(len(theta), *[1] * len(parameter.axes), self.channels)
        projected = [self.project(tensor).unflatten(-1, (3, self.heads, -1)) for tensor in theta.tensors]
        for carriers in self._carriers.values():
            for (i, _), term in zip(carriers, self._between_rows(projected, carriers), strict=True):
                outputs[i] = outputs[i] + term
        return WeightFeatures(
            self.space, tuple(out.expand_as(t) for out, t in zip(outputs, theta.tensors, strict=True))
        )

    def _between_parameters(self, theta: WeightFeatures) -> Float[Tensor, "batch parameters channels"]:
        """The global term; the mean of the projections is the projection of the mean."""
        means = torch.stack(
            [
                tensor.mean(tuple(range(1, tensor.dim() - 1))) if tensor.dim() > 2 else tensor
                for tensor in theta.tensors
            ],
            dim=1,
        )
        q, k, v = self.project(means).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def _between_rows(self, projected: list[Tensor], carriers: list[tuple[int, int]]) -> list[Tensor]:
        """The term of one neuron group for each parameter that carries it."""
        parts, shapes = [], []
        for i, axis in carriers:
            # [batch, *axes, 3, heads, c] -> [3, batch, heads, *other axes, n, c]
            moved = projected[i].movedim((-3, 0, -2, axis), (0, 1, 2, -2))
            shapes.append(moved.shape[3:-2])
            parts.append(moved.reshape(*moved.shape[:3], -1, *moved.shape[-2:]))
        q, k, v = torch.cat(parts, dim=3).flatten(-2)
        mixed = F.scaled_dot_product_attention(q, k, v).unflatten(-1, parts[0].shape[-2:])
        terms = []
        for (_, axis), shape, out in zip(
            carriers, shapes, mixed.split([part.shape[3] for part in parts], dim=2), strict=True
        ):
            # [batch, heads, tokens, n, c] -> [batch, *axes, heads, c]
            restored = out.reshape(*out.shape[:2], *shape, *out.shape[-2:]).movedim((1, -2), (-2, axis))
            terms.append(restored.flatten(-2))
        return terms


class WeightTransformerBlock(nn.Module):
    r"""``x += drop(attention(LN x))``, then ``x += MLP(LN x)`` with its own norms and MLP for each parameter.

    Source: Zhou et al. (2023), arXiv 2305.13546.

    Args:
        space: weight space of the features.
        channels: channels of the input and of the result.
        heads: of the attention.
        expansion: width of the MLP over ``channels``.
        dropout: probability.
    """

    def __init__(
        self, space: WeightSpace, channels: int, heads: int = 4, expansion: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = PerParameter(space, lambda: nn.LayerNorm(channels))
        self.attention = NeuronAttention(space, channels, heads)
        self.mlp = PerParameter(
            space,
            lambda: nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, expansion * channels),
                nn.GELU(),
                nn.Linear(expansion * channels, channels),
            ),
        )

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the block."""
        theta = self._add(theta, self.attention(self.norm(theta)))
        return self._add(theta, self.mlp(theta))

    def _add(self, theta: WeightFeatures, new: WeightFeatures) -> WeightFeatures:
        return theta.map(lambda x, y: x + dropout(y, self.dropout, self.training), new)
