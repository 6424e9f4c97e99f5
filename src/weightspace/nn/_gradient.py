"""Gradient features: what a loss at learned points does to the neurons of the input networks, and to their weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..space import WeightFeatures, WeightSpace, backpropagate
from ._dropout import dropout
from ._encoding import check_dense
from ._layout import check_space
from ._norm import relu_
from ._pool import add_rows_and_columns, map_and_pool

__all__ = ["GradientFeatures", "NeuronGradients", "PointNeuronLayer"]


class PointNeuronLayer(nn.Module):
    r"""One layer on features of every neuron at every point, equivariant to permutations of points and of neurons.

    With x_g the features [points, units, channels] of neuron group g and means over points (n), units (i), groups:

    .. math::
        y_g[n, i] = A x_g[n, i] + B \bar x_g[\cdot, i] + C [\bar x_g[n, \cdot]; \bar x[n, \cdot]]
                    + D [\bar x_g; \bar x] + e_g, \quad x_g + \mathrm{ReLU}(\mathrm{LN}(y_g))

    The vectors e_g tell the groups, and the units of the input and output groups, apart; all else is shared.

    Source: the DeepSets layers of Gelberg et al. (2025), arXiv 2507.01649.

    Args:
        space: weight space of the networks.
        channels: channels of the features.
    """

    def __init__(self, space: WeightSpace, channels: int) -> None:
        super().__init__()
        self.entry = nn.Parameter(nn.Linear(channels, channels).weight.detach().mT.contiguous())
        self.unit = nn.Linear(channels, channels, bias=False)
        self.point = nn.Linear(2 * channels, channels, bias=False)
        self.group = nn.Linear(2 * channels, channels, bias=False)
        self.code = nn.ParameterList(
            0.1 * torch.randn(1 if group.kind == "hidden" else group.size, channels) for group in space.groups
        )
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, xs: list[Float[Tensor, "batch points units channels"]]
    ) -> list[Float[Tensor, "batch points units channels"]]:
        """Maps the features of all neuron groups."""
        mapped, by_point, by_unit = zip(*(map_and_pool(x, self.entry, "mean") for x in xs), strict=True)
        everywhere = torch.stack(by_point).mean(0)
        outs = []
        for x, y, points, units, code in zip(xs, mapped, by_point, by_unit, self.code, strict=True):
            both = torch.cat([points, everywhere], dim=-1)
            row = self.point(both) + self.group(both.mean(1, keepdim=True))
            y = add_rows_and_columns(y, row, self.unit(units) + code)
            outs.append(x + relu_(self.norm(y)))
        return outs


class Gradients(NamedTuple):
    """What `NeuronGradients` gives.

    Attributes:
        neurons: for each neuron group [batch, units, hidden].
        weights: the gradient of the loss by the weights, of each input channel, in the units described there.
    """

    neurons: dict[str, Tensor]
    weights: WeightFeatures


class NeuronGradients(nn.Module):
    """Features of every neuron from the gradients of a loss at learned points, with learned target values there.

    At a point the gradient of a weight has rank one, the signal of its target times the activation of its source, so
    the pairs (activation, signal) of the neurons hold the gradients at all points. They are mixed by
    `PointNeuronLayer` and averaged over the points. Signals may be tiny or large, and differ in size from layer to
    layer: activations and signals are divided by their root mean square over the points and the units of each neuron
    group, whose logarithms enter as features of the group.

    Source: Gelberg et al. (2025), arXiv 2507.01649 (GradMetaNet).

    Args:
        space: weight space of the networks.
        in_channels: channels of the raw networks, each a network of its own.
        points: number of points, drawn from U[-1, 1], as their targets are.
        hidden: channels of the features.
        depth: number of layers.
        dropout: probability, of the features of the neurons after the average.

    Raises:
        ModelError: for networks that are no feed-forward layers of neurons; see `check_dense`.
    """

    def __init__(
        self, space: WeightSpace, in_channels: int, points: int, hidden: int, depth: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_dense(space)
        self.space, self.in_channels, self.dropout = space, in_channels, dropout
        self.points = nn.Parameter(torch.rand(points, space.groups[0].size) * 2 - 1)
        self.targets = nn.Parameter(torch.rand(points, space.groups[-1].size) * 2 - 1)
        self.pair = nn.Linear(2 * in_channels, hidden)
        self.size = nn.Linear(2 * in_channels, hidden, bias=False)
        self.layers = nn.Sequential(*(PointNeuronLayer(space, hidden) for _ in range(depth)))

    def forward(self, theta: WeightFeatures) -> Gradients:
        """Maps raw networks to features of their neurons, and to the gradients of their weights."""
        check_space(self.space, theta, self.in_channels)
        units, xs = {}, []
        for name, pair in zip(*self._pairs(theta), strict=True):
            size = _root_mean_square(pair)
            units[name] = pair / size
            x = self.pair(units[name].permute(0, 3, 2, 1))
            of_group = self.size(size.log().flatten(1))[:, None].expand(-1, x.shape[1], -1)
            xs.append(add_rows_and_columns(x, of_group, None))
        neurons = [dropout(x.mean(1), self.dropout, self.training) for x in self.layers(xs)]
        return Gradients(dict(zip(units, neurons, strict=True)), self._weights(units))

    def _pairs(self, theta: WeightFeatures) -> tuple[list[str], list[Float[Tensor, "batch pairs units points"]]]:
        """Neuron groups, and the activations of all channels beside their signals."""
        activations, signals = backpropagate(theta, self.points, self.targets)
        return list(activations), [torch.cat([activations[name], signals[name]], dim=1) for name in activations]

    def _weights(self, pairs: dict[str, Tensor]) -> WeightFeatures:
        """Signals of the targets times activations of the sources, averaged over the points."""
        c = self.in_channels
        tensors = []
        for parameter in self.space.parameters:
            target, *source = (pairs[name] for name in parameter.groups)
            signal = target[:, c:]
            gradient = signal.mean(-1) if not source else signal @ source[0][:, :c].mT / signal.shape[-1]
            tensors.append(gradient.movedim(1, -1))
        return WeightFeatures(self.space, tuple(tensors))


class GradientFeatures(nn.Module):
    """Weight-shaped features of the gradients at learned points.

    A weight gets an MLP (linear, SiLU, linear) of the features of its two end neurons and of its own gradient, a bias
    one of its neuron's features and its own gradient; see `NeuronGradients`. The gradients of its biases are added to
    the features of a neuron. The first linear map splits into a part for each end, which is computed once per neuron,
    and one for the parameter. Concatenated to the weights that an architecture takes, the result makes it "backbone +
    GradMetaNet".

    Source: Gelberg et al. (2025), arXiv 2507.01649.

    Args:
        space: weight space of the networks.
        in_channels: channels of the raw networks.
        points: number of points.
        channels: channels of the result.
        hidden: channels of the neurons and of the MLP.
        depth: number of layers on the neurons.
        dropout: probability.
        extra: channels of other weight features of the same networks, which enter wherever the gradients do.

    Attributes:
        out_channels: ``channels``.
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        points: int,
        channels: int = 8,
        hidden: int = 32,
        depth: int = 3,
        dropout: float = 0.0,
        extra: int = 0,
    ) -> None:
        super().__init__()
        self.space, self.out_channels, self.extra = space, channels, extra
        self.gradients = NeuronGradients(space, in_channels, points, hidden, depth, dropout)
        width = in_channels + extra
        self.entry = nn.ModuleList(nn.Linear(width, hidden) for _ in space.parameters)
        self.vector = nn.ModuleList(nn.Linear(width, hidden, bias=False) for p in space.parameters if len(p.axes) == 1)
        self.target = nn.Linear(hidden, hidden, bias=False)
        self.source = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, channels)

    def forward(self, theta: WeightFeatures, extra: WeightFeatures | None = None) -> WeightFeatures:
        """Maps raw networks, and ``extra`` features of them, to weight features with ``out_channels`` channels."""
        neurons, entries = self.gradients(theta)
        if extra is not None:
            check_space(self.space, extra, self.extra)
            entries = entries.concatenate(extra)
        ends = [parameter.groups for parameter in self.space.parameters]
        vectors = [(names[0], x) for names, x in zip(ends, entries.tensors, strict=True) if len(names) == 1]
        for (name, x), linear in zip(vectors, self.vector, strict=True):
            neurons[name] = neurons[name] + linear(x)
        targets = {name: self.target(u) for name, u in neurons.items()}
        sources = {name: self.source(u) for name, u in neurons.items()}
        tensors = []
        for (target, *source), x, linear in zip(ends, entries.tensors, self.entry, strict=True):
            h = linear(x)
            h = add_rows_and_columns(h, targets[target], sources[source[0]]) if source else h + targets[target]
            tensors.append(self.out(F.silu(h)))
        return WeightFeatures(self.space, tuple(tensors))


def _root_mean_square(x: Float[Tensor, "batch pairs units points"]) -> Float[Tensor, "batch pairs 1 1"]:
    """Over units and points, at least 1e-6; divided by the maximum first, as the squares of large signals overflow."""
    peak = x.detach().abs().amax((2, 3), keepdim=True).clamp_min(1e-6)
    return peak * ((x / peak).square().mean((2, 3), keepdim=True) + 1e-12).sqrt() + 1e-6
