"""How far a map on weight features is from being equivariant or invariant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..space import SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["assert_equivariant", "assert_invariant", "equivariance_error"]


def equivariance_error(
    net: Callable[[WeightFeatures], WeightFeatures | Tensor],
    space: WeightSpace,
    group: SymmetryGroup | None = None,
    *,
    channels: int = 1,
    batch: int = 4,
    seed: int = 0,
) -> float:
    """The relative error ``max |F(g theta) - g F(theta)| / max |F(theta)|`` in float64, in evaluation mode.

    Where the net returns a tensor instead of weight features, g acts on it trivially: the error of invariance.

    Args:
        net: the map; a module is copied, so that its dtype and mode stay as they are.
        space: weight space of its input.
        group: group to draw from; by default the one that the net claims (``net.symmetry``), else permutations.
        channels: input channels.
        batch: number of networks, each with its own group element.
        seed: of networks and elements.
    """
    if isinstance(net, nn.Module):
        net = copy.deepcopy(net).double().eval()
    group = group or getattr(net, "symmetry", None) or space.symmetry("permutation")
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        p.name: torch.randn(batch, *p.shape, channels, generator=generator, dtype=torch.float64)
        for p in space.parameters
    }
    theta = space.features(tensors)
    element = group.sample(batch, generator, dtype=torch.float64)
    with torch.no_grad():
        expected: Any = net(theta)
        found: Any = net(group.act(element, theta))
    if isinstance(expected, WeightFeatures):
        expected = group.act(element, expected).flatten()
        found = found.flatten()
    scale = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    return float((found - expected).abs().max() / scale)


def assert_equivariant(
    net: Callable[[WeightFeatures], WeightFeatures],
    space: WeightSpace,
    group: SymmetryGroup | None = None,
    *,
    tolerance: float = 1e-9,
    **options: Any,
) -> float:
    """Asserts that a map commutes with the group; returns the error. Options as for `equivariance_error`.

    Raises:
        AssertionError: if the relative error exceeds ``tolerance``, or if the net returns no weight features.
    """
    __tracebackhide__ = True
    return _check("equivariant", WeightFeatures, net, space, group, tolerance, options)


def assert_invariant(
    net: Callable[[WeightFeatures], Tensor],
    space: WeightSpace,
    group: SymmetryGroup | None = None,
    *,
    tolerance: float = 1e-9,
    **options: Any,
) -> float:
    """Asserts that a map does not change along orbits; returns the error. Options as for `equivariance_error`.

    Raises:
        AssertionError: if the relative error exceeds ``tolerance``, or if the net returns no tensor.
    """
    __tracebackhide__ = True
    return _check("invariant", Tensor, net, space, group, tolerance, options)


def _check(
    what: str,
    kind: type,
    net: Callable[[WeightFeatures], Any],
    space: WeightSpace,
    group: SymmetryGroup | None,
    tolerance: float,
    options: dict[str, Any],
) -> float:
    __tracebackhide__ = True
    seen: list[Any] = []

    def recorded(theta: WeightFeatures) -> Any:
        seen.append(double(theta))
        return seen[-1]

    double: Any = copy.deepcopy(net).double().eval() if isinstance(net, nn.Module) else net
    group = group or getattr(net, "symmetry", None) or space.symmetry("permutation")
    error = equivariance_error(recorded, space, group, **options)
    if not isinstance(seen[0], kind):
        raise AssertionError(f"an {what} map returns {kind.__name__}, this one returns {type(seen[0]).__name__}")
    if not error <= tolerance:
        factors = "/".join(sorted({factor.name for factor in group.factors}))
        raise AssertionError(
            f"not {what} under {factors} on {space.summary()}: relative error {error:.2e} > {tolerance:.0e}"
        )
    return error
