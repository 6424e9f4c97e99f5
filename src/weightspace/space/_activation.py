"""Pointwise activations and the largest linear group that commutes with each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._errors import SpaceError
from ..group import GENERAL_LINEAR, PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, MatrixGroup

__all__ = ["Activation", "Offset", "Sine"]


class Sine(nn.Module):
    """``sin(omega * x)``, the activation of a SIREN (Sitzmann et al., 2020, arXiv 2006.09661)."""

    def __init__(self, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """Applies the sine to any tensor."""
        return torch.sin(self.omega * x)

    def extra_repr(self) -> str:
        """Shows omega."""
        return f"omega={self.omega}"


class Offset(nn.Module):
    """``x + offset``, the constant that some INR definitions add to their output."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        """Adds the constant."""
        return x + self.offset

    def extra_repr(self) -> str:
        """Shows the constant."""
        return f"offset={self.offset}"


class _Known(NamedTuple):
    module: Callable[[float], nn.Module]
    derivative: Callable[[Tensor], Tensor]  # of the function without its frequency
    symmetry: MatrixGroup  # the largest linear group
    refusal: str  # why no other group preserves the function


def _gelu_derivative(x: Tensor) -> Tensor:
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * density


def _silu_derivative(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))


_KNOWN = {
    "relu": _Known(lambda _: nn.ReLU(), lambda x: (x > 0).to(x.dtype), POSITIVE_MONOMIAL, "relu(-z) is not -relu(z)"),
    "tanh": _Known(
        lambda _: nn.Tanh(),
        lambda x: 1 - torch.tanh(x).square(),
        SIGNED_PERMUTATION,
        "tanh(c z) is not c tanh(z) for a scale c > 0",
    ),
    "sine": _Known(
        lambda omega: Sine(omega), torch.cos, SIGNED_PERMUTATION, "sin(c z) is not c sin(z) for a scale c > 0"
    ),
    "gelu": _Known(
        lambda _: nn.GELU(), _gelu_derivative, PERMUTATION, "gelu(c z) is not c gelu(z) for any c other than 1"
    ),
    "silu": _Known(
        lambda _: nn.SiLU(), _silu_derivative, PERMUTATION, "silu(c z) is not c silu(z) for any c other than 1"
    ),
    "identity": _Known(lambda _: nn.Identity(), torch.ones_like, GENERAL_LINEAR, ""),
}


@dataclass(frozen=True)
class Activation:
    """A pointwise activation by name.

    Attributes:
        name: "relu", "tanh", "sine", "gelu", "silu" or "identity".
        omega: the frequency of "sine"; unused by the others.

    Raises:
        SpaceError: for an unknown name.
    """

    name: str = "identity"
    omega: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in _KNOWN:
            raise SpaceError(f"unknown activation {self.name!r}; known: {', '.join(_KNOWN)}")

    def module(self) -> nn.Module:
        """The activation as a module without parameters."""
        return _KNOWN[self.name].module(self.omega)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the activation to any tensor."""
        return self.base(x if self.frequency == 1.0 else x * self.frequency)

    @property
    def frequency(self) -> float:
        """The factor on the argument: omega for "sine", 1 for the others. ``self(x) = base(frequency * x)``."""
        return self.omega if self.name == "sine" else 1.0

    def base(self, x: Tensor) -> Tensor:
        """The activation without its frequency."""
        if self.name == "sine":
            return torch.sin(x)
        applied: Tensor = self.module()(x)
        return applied

    def derivative(self, x: Tensor) -> Tensor:
        """The derivative of the activation; of "relu" at 0 it is 0, as in `torch.autograd`."""
        return self.frequency * self.base_derivative(x if self.frequency == 1.0 else x * self.frequency)

    def base_derivative(self, x: Tensor) -> Tensor:
        """The derivative of `base`."""
        return _KNOWN[self.name].derivative(x)

    @property
    def symmetry(self) -> MatrixGroup:
        """The largest linear group that commutes with the activation (sine: the linear part of its group)."""
        return _KNOWN[self.name].symmetry

    def refusal(self, group: MatrixGroup) -> str:
        """Why ``group`` does not preserve a network with this activation; empty if it does."""
        return "" if self.symmetry.contains(group) else _KNOWN[self.name].refusal
