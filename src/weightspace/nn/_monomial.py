"""Entry-wise maps that commute with signs and positive scales of neurons, or take them away."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._norm import relu_

__all__ = ["InvariantEntries", "Modulated", "MonomialActivation", "invariant_entries", "scales_of", "unit"]


def unit(x: Float[Tensor, "*entries channels"]) -> Float[Tensor, "*entries channels"]:
    """``x / |x|`` over the channels, and zero, with zero gradient, at zero: exactly invariant under positive scales."""
    out: Tensor = _Unit.apply(x)  # type: ignore[no-untyped-call]
    return out


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """The unit vectors, and one over the norms; 0 where these are so small that it would not be finite."""
    largest = x.detach().abs().amax(-1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    y = x / scale  # of order one, so that no square under- or overflows
    inverse = torch.where(largest > 0, y.square().sum(-1, keepdim=True), 1).rsqrt() * (largest > 0)
    return y * inverse, torch.where(largest >= torch.finfo(x.dtype).tiny, inverse / scale, 0)


class _Unit(torch.autograd.Function):
    """Half the passes over memory of what autograd makes of `_unit`; second derivatives go through that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        u, inverse = _unit(x)
        ctx.save_for_backward(x, u, inverse)
        return u

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, u, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            u, inverse = _unit(x)
        along = (gradient * u).sum(-1, keepdim=True)
        out: Tensor = torch.addcmul(gradient, u, along, value=-1) * inverse
        return out


def scales_of(space: WeightSpace, symmetry: SymmetryGroup) -> list[set[str]]:
    """By which kinds of factors the entries of each parameter are scaled: signs, positive numbers, both or neither."""
    kinds = {"none": set(), "nonzero": {"signs", "positive"}}
    carried = [[name for axis in p.axes for name, _ in axis.carried()] for p in space.parameters]
    factors = [[str(symmetry.factor(name).scales) for name in names] for names in carried]
    return [set().union(*(kinds.get(factor, {factor}) for factor in some)) for some in factors]


def invariant_entries(x: Float[Tensor, "*entries channels"], scales: set[str]) -> Float[Tensor, "*entries channels"]:
    """What kinds of factors leave alone: the direction over the channels for positive scales, then absolute values."""
    if "positive" in scales:
        x = unit(x)
    return x.abs() if "signs" in scales else x


class MonomialActivation(nn.Module):
    """A pointwise non-linearity that commutes with a group of permutations and scales on every parameter.

    ReLU where entries are scaled by positive numbers, or not at all; the sine where they change sign; where they do
    both, ``x``, as no other pointwise function commutes with all real factors.

    Source: Tran et al. (2024), arXiv 2409.11697, section 4.

    Args:
        space: weight space of the networks.
        symmetry: the group.
    """

    def __init__(self, space: WeightSpace, symmetry: SymmetryGroup) -> None:
        super().__init__()
        self._scales = scales_of(space, symmetry)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies it to every tensor."""
        pairs = zip(theta.tensors, self._scales, strict=True)
        return WeightFeatures(theta.space, tuple(self._apply_to(t, scales) for t, scales in pairs))

    @staticmethod
    def _apply_to(x: Tensor, scales: set[str]) -> Tensor:
        if scales <= {"positive"}:
            return relu_(x)
        return torch.sin(x) if scales == {"signs"} else x


class InvariantEntries(nn.Module):
    """Features of every entry that signs and positive scales of neurons leave alone; permutations still act.

    The absolute value where entries change sign, the direction of the vector of channels where they are scaled by
    positive numbers, then a learned factor and shift for each parameter and channel.

    Source: Tran et al. (2024), arXiv 2409.11697, section 4.

    Args:
        space: weight space of the networks.
        symmetry: the group.
        channels: channels of the features.
    """

    def __init__(self, space: WeightSpace, symmetry: SymmetryGroup, channels: int) -> None:
        super().__init__()
        self._scales = scales_of(space, symmetry)
        self.weight = nn.Parameter(torch.ones(len(space.parameters), channels))
        self.bias = nn.Parameter(torch.zeros(len(space.parameters), channels))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies it to every tensor."""
        tensors = []
        for x, scales, weight, bias in zip(theta.tensors, self._scales, self.weight, self.bias, strict=True):
            tensors.append(torch.addcmul(bias, invariant_entries(x, scales), weight))
        return WeightFeatures(theta.space, tuple(tensors))


class Modulated(nn.Module):
    r"""A linear map of the input, plus one of hidden features that is modulated by invariant features of them.

    .. math:: F(x) = A x + (B h) \odot N(h), \qquad h = E(x)

    Equivariant if A, B and E are, and N only permutes its entries with those of h.

    Args:
        direct: A, on weight features.
        trunk: E.
        last: B.
        invariant: N, with as many channels as A and B give.
    """

    def __init__(self, direct: nn.Module, trunk: nn.Module, last: nn.Module, invariant: nn.Module) -> None:
        super().__init__()
        self.direct, self.trunk, self.last, self.invariant = direct, trunk, last, invariant

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        hidden: WeightFeatures = self.trunk(theta)
        direct: WeightFeatures = self.direct(theta)
        return direct.map(torch.addcmul, self.last(hidden), self.invariant(hidden))
