"""Draws random networks: stem, blocks and head for one kind of input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from ._modules import Attention, Concatenate, Gate, Last, Mean, Outputs, Residual, SqueezeExcite, Twice

__all__ = ["BUILDERS", "Builder"]

Option = TypeVar("Option")

_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Identity)


class Builder(ABC):
    """Draws the parts of a network; a kind of input adds its own.

    Args:
        draw: given by hypothesis.
    """

    axis = -1
    blocks: tuple[str, ...] = ("layer", "residual", "bottleneck", "concatenated", "gated", "shared")

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def network(self, count: int) -> tuple[nn.Module, Tensor]:
        """A network with so many blocks, and an example input."""
        width, classes = self.width(), self.size(1, 4)
        x, stem = self.stem(width)
        layers = [stem]
        for _ in range(count):
            block, width = getattr(self, self.pick(*self.blocks))(width)
            layers.append(block)
        return nn.Sequential(*layers, self.head(width, classes)), x

    # ------------------------------------------------------------------------------------------------------- choices
    def pick(self, *options: Option) -> Option:
        """One of several."""
        return self.draw(st.sampled_from(options))

    def size(self, low: int, high: int) -> int:
        """A number."""
        return self.draw(st.integers(low, high))

    def width(self) -> int:
        """A number of channels, often with divisors."""
        return self.pick(4, 6, 8, 3, 12, 5, 2, 1)

    def activation(self, *, in_place: bool = True) -> nn.Module:
        """An activation, some in place, some with weights."""
        kind: type[nn.Module] = self.pick(*_ACTIVATIONS, nn.PReLU)
        return nn.ReLU(inplace=True) if in_place and kind is nn.ReLU and self.pick(True, False) else kind()

    # -------------------------------------------------------------------------------------------------------- blocks
    @abstractmethod
    def stem(self, width: int) -> tuple[Tensor, nn.Module]:
        """An example input, and what brings it to a width."""

    @abstractmethod
    def head(self, width: int, classes: int) -> nn.Module:
        """What makes the outputs."""

    def linear(self, width: int, out: int) -> nn.Module:
        """A layer with weights."""
        return nn.Linear(width, out, bias=self.pick(True, False))

    def norm(self, width: int) -> nn.Module:
        """A norm, or none."""
        return nn.Identity()

    def layer(self, width: int) -> tuple[nn.Module, int]:
        """Weights, norm, activation and dropout, in the usual order or the norm in front."""
        out = self.width()
        parts = [self.linear(width, out), self.norm(out), self.activation(), nn.Dropout(0.1)]
        if self.pick(True, False):
            parts = [self.norm(width), self.activation(), self.linear(width, out)]
        return nn.Sequential(*parts), out

    def same(self, width: int) -> nn.Module:
        """A layer that keeps the width."""
        return nn.Sequential(self.linear(width, width), self.norm(width), self.activation())

    def residual(self, width: int) -> tuple[nn.Module, int]:
        """A layer beside a shortcut, with an activation behind or none."""
        body, out = self.layer(width)
        shortcut = nn.Identity() if out == width else self.linear(width, out)
        return nn.Sequential(Residual(body, shortcut), self.pick(nn.Identity(), nn.ReLU())), out

    def bottleneck(self, width: int) -> tuple[nn.Module, int]:
        """A residual block of two layers."""
        inner = self.width()
        body = nn.Sequential(
            self.norm(width), self.linear(width, inner), self.activation(), self.linear(inner, width), self.norm(width)
        )
        return Residual(body, nn.Identity()), width

    def concatenated(self, width: int) -> tuple[nn.Module, int]:
        """Two layers, and perhaps the input itself, side by side."""
        (a, left), (b, right) = self.layer(width), self.layer(width)
        if self.pick(True, False):
            return Concatenate([a, b], self.axis), left + right
        return Concatenate([nn.Identity(), a], self.axis), width + left

    def gated(self, width: int) -> tuple[nn.Module, int]:
        """A gate, as in gated linear units."""
        out = self.width()
        return Gate(self.linear(width, 2 * out), self.activation(in_place=False), self.axis), out

    def shared(self, width: int) -> tuple[nn.Module, int]:
        """One layer that is used twice."""
        return Twice(self.same(width)), width


class Vectors(Builder):
    """Networks on [N, d]."""

    def stem(self, width: int) -> tuple[Tensor, nn.Module]:
        """A linear layer."""
        features = self.size(1, 5)
        return torch.randn(3, features), nn.Linear(features, width)

    def norm(self, width: int) -> nn.Module:
        """Batch, layer or root mean square norm, or none."""
        kind: type[nn.Module] = self.pick(nn.Identity, nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm)
        return kind(width)

    def head(self, width: int, classes: int) -> nn.Module:
        """A linear layer."""
        return nn.Sequential(self.activation(), nn.Linear(width, classes))


class Images(Builder):
    """Networks on [N, channels, 6, 6]."""

    axis = 1
    blocks = (*Builder.blocks, "layer", "separable", "grouped", "pooled", "squeezed")

    def stem(self, width: int) -> tuple[Tensor, nn.Module]:
        """A convolution."""
        channels = self.size(1, 3)
        return torch.randn(2, channels, 6, 6), nn.Conv2d(channels, width, 3, padding=1)

    def linear(self, width: int, out: int) -> nn.Module:
        """A convolution that keeps the size of the image."""
        return nn.Conv2d(width, out, (kernel := self.pick(1, 3)), padding=kernel // 2, bias=self.pick(True, False))

    def norm(self, width: int) -> nn.Module:
        """Batch, group or instance norm, or none."""
        kind = self.pick("", "", "batch", "batch", "group", "instance")
        if kind == "group":
            return nn.GroupNorm(self.pick(*(n for n in range(1, width + 1) if width % n == 0)), width)
        kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
        return kinds[kind](width, affine=self.pick(True, False)) if kind else nn.Identity()

    def separable(self, width: int) -> tuple[nn.Module, int]:
        """A depthwise convolution, then one without taps."""
        out = self.width()
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=self.pick(True, False))
        parts = [depthwise, self.norm(width), self.activation(), nn.Conv2d(width, out, 1), self.norm(out)]
        return nn.Sequential(*parts), out

    def grouped(self, width: int) -> tuple[nn.Module, int]:
        """A convolution in groups."""
        groups = self.pick(*(n for n in range(1, width + 1) if width % n == 0))
        out = groups * self.size(1, 3)
        return nn.Sequential(nn.Conv2d(width, out, 3, padding=1, groups=groups), self.activation()), out

    def pooled(self, width: int) -> tuple[nn.Module, int]:
        """Pooling and upsampling."""
        pool = self.pick(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))
        return nn.Sequential(pool, self.pick(nn.Identity(), nn.Upsample(scale_factor=2), nn.Dropout2d(0.2))), width

    def squeezed(self, width: int) -> tuple[nn.Module, int]:
        """Squeeze and excite."""
        return SqueezeExcite(width, self.size(1, 4)), width

    def head(self, width: int, classes: int) -> nn.Module:
        """A linear layer behind global pooling, or behind a flattened map."""
        size = self.pick(1, 2)
        pool = self.pick(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)(size)
        return nn.Sequential(
            self.norm(width), self.activation(), pool, nn.Flatten(), nn.Linear(width * size**2, classes)
        )


class Sequences(Builder):
    """Networks on [N, t, d]."""

    blocks = (*Builder.blocks, "attention", "attention", "attention", "encoder", "recurrent")

    def width(self) -> int:
        """A number of channels with divisors."""
        return self.pick(4, 6, 8, 12, 2)

    def stem(self, width: int) -> tuple[Tensor, nn.Module]:
        """A linear layer, or a table of embeddings."""
        if self.pick(True, False):
            return torch.randn(2, 4, 3), nn.Linear(3, width)
        return torch.randint(0, 5, (2, 4)), nn.Embedding(5, width)

    def norm(self, width: int) -> nn.Module:
        """Layer or root mean square norm, or none."""
        kind: type[nn.Module] = self.pick(nn.Identity, nn.LayerNorm, nn.RMSNorm)
        return kind(width)

    def attention(self, width: int) -> tuple[nn.Module, int]:
        """Attention beside a shortcut, a norm in front or behind."""
        heads = self.pick(*(n for n in (1, 2, 3, 4) if width % n == 0))
        packing = self.pick("separate", "thirds", "heads", "stacked")
        mix = Attention(width, heads, packing=packing, fused=self.pick(True, False), causal=self.pick(True, False))
        before, after = self.pick((self.norm(width), nn.Identity()), (nn.Identity(), self.norm(width)))
        return nn.Sequential(Residual(nn.Sequential(before, mix), nn.Identity()), after), width

    def encoder(self, width: int) -> tuple[nn.Module, int]:
        """The layer of torch."""
        activation = self.pick("relu", "gelu")
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, activation=activation, batch_first=True, norm_first=self.pick(True, False)
        )
        return layer, width

    def recurrent(self, width: int) -> tuple[nn.Module, int]:
        """A recurrent layer of torch."""
        out = self.width()
        kind = self.pick(nn.RNN, nn.GRU, nn.LSTM)
        both = self.pick(True, False)
        return Outputs(kind(width, out, batch_first=True, bidirectional=both)), out * (1 + both)

    def head(self, width: int, classes: int) -> nn.Module:
        """A linear layer behind a norm, for all positions or one vector."""
        return nn.Sequential(self.norm(width), self.pick(nn.Identity(), Last(), Mean(1)), nn.Linear(width, classes))


BUILDERS: dict[str, type[Builder]] = {"vectors": Vectors, "images": Images, "sequences": Sequences}
