"""Functions with teeth on [0, 1], the networks 1-3-1 that compute or approximate them, and their errors."""

from __future__ import annotations

import torch
from torch import Tensor

from ...nn import merge_ensemble
from ...space import WeightFeatures
from .._explicit import interpolant, sawtooth
from .._pieces import linear_pieces
from .._regions import max_pieces
from .._statement import Measurement
from .._zoom import TiledZoom, capacity_lower_bound

__all__ = ["FOLDS", "PREDICTED", "WIDTH", "X", "descent", "equal_teeth", "error", "shrinking", "teeth"]

WIDTH, FOLDS = 3, 6
X = torch.linspace(0, 1, 2401, dtype=torch.float64)[:, None]
"""Where errors are measured: at every knot of the functions below, but for those where they meet their target."""

_TEETH = 12

PREDICTED = [(0.5 / (q // 2 + 1), 0.5 / ((q - 1) // 2 + 1)) for q in (3 * k + 1 for k in range(1, 9))]
"""Lower bound and explicit error for k = 1, ..., 8 networks 1-3-1, from the heights 1, 1/2, ..., 1/12 of the teeth.

With q = 3k + 1 pieces the bound is half the height of tooth q // 2 + 1, and the first (q - 1) // 2 teeth can be kept.
"""


def equal_teeth() -> list[Measurement]:
    """The tiled zoom of a tent: a constant is best until all pieces fit."""
    zoom = TiledZoom(FOLDS)
    tent = sawtooth(1)
    exact = zoom.network(tent)
    target = zoom(lambda x: tent.space.realize(tent, x))(X)
    pieces = int(linear_pieces(exact).pieces)
    knots = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)[None]
    values = tent.space.realize(tent, zoom.fold(knots[0])[:, None])[..., 0]
    measured = [Measurement.equal("pieces of the tiled zoom by 6 of a tent", pieces, 2 * FOLDS)]
    for k in range(1, 7):
        allowed = max_pieces([1, WIDTH, 1], k)
        bound = capacity_lower_bound(values[0], allowed)
        fits = allowed >= pieces
        points = (knots, values) if fits else (knots[:, [0, -1]], torch.full((1, 2), 0.5))
        theta = interpolant(*points, width=WIDTH, networks=k)
        reached = float((_mean(theta) - target[0, :, 0]).abs().max())
        measured.append(Measurement.equal(f"equal teeth, k = {k}: lower bound", bound, 0.0 if fits else 0.5))
        if fits:
            measured.append(Measurement.at_most(f"equal teeth, k = {k}: explicit error", reached, 1e-12))
        else:
            measured.append(Measurement.about(f"equal teeth, k = {k}: explicit error", reached, 0.5, 1.001))
    return measured


def teeth() -> tuple[Tensor, Tensor]:
    """Knots and values of 12 teeth of the heights 1, 1/2, ..., 1/12."""
    values = torch.zeros(1, 2 * _TEETH + 1, dtype=torch.float64)
    values[0, 1::2] = 1 / torch.arange(1, _TEETH + 1, dtype=torch.float64)
    return torch.linspace(0, 1, 2 * _TEETH + 1, dtype=torch.float64)[None], values


def shrinking(k: int) -> WeightFeatures:
    """As many of the first teeth as k networks can have, then a constant at half the height of the next one."""
    knots, values = teeth()
    kept = (max_pieces([1, WIDTH, 1], k) - 1) // 2
    if kept < _TEETH:
        peak, rest = values[0, 2 * kept - 1], values[0, 2 * kept + 1] / 2
        down = knots[0, 2 * kept - 1] + (1 - rest / peak) / (2 * _TEETH)
        knots = torch.cat([knots[0, : 2 * kept], down[None], knots[0, -1:]])[None]
        values = torch.cat([values[0, : 2 * kept], rest[None], rest[None]])[None]
    return interpolant(knots, values, width=WIDTH, networks=k)


def _mean(theta: WeightFeatures) -> Tensor:
    """[2401] what an ensemble computes on [0, 1]."""
    wide_space, wide = merge_ensemble(theta.space, theta)
    return wide_space.realize(wide, X)[0, :, 0]


def error(theta: WeightFeatures) -> float:
    return float((_mean(theta) - _target(X)[:, 0]).abs().max())


def _target(x: Tensor) -> Tensor:
    """The shrinking teeth at any points: a triangle wave, and on each tooth its height."""
    heights = teeth()[1][0, 1::2]
    return TiledZoom(2 * _TEETH).fold(x) * heights[(_TEETH * x).long().clamp(max=_TEETH - 1)]


def descent(networks: tuple[int, ...], restarts: int = 8, steps: int = 400) -> list[float]:
    """For each k the best error of gradient descent on k networks 1-3-1, merged into one.

    It starts at interpolants of the teeth, the first one with even knots, the others with random ones, more of them
    where the teeth are tall. The loss is the mean of the 16th power of the error.
    """
    k = torch.tensor(networks).repeat_interleave(restarts)[:, None]
    even = torch.arange(WIDTH * max(networks) + 1, dtype=torch.float64) / (WIDTH * k)
    drawn = torch.rand(even.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).square()
    first = torch.arange(len(k))[:, None] % restarts == 0
    knots = torch.where(first | (even == 0), even, drawn)
    knots = torch.where(even < 1, knots, 1.0).sort(1).values  # what is spare lies at the end, where it does nothing
    start = interpolant(knots, _target(knots))
    used = torch.arange(start.space.groups[1].size) < WIDTH * k
    x = X[::10]
    target = _target(x)[:, 0]
    tensors = [t.clone().requires_grad_() for t in start.tensors]
    optimizer = torch.optim.Adam(tensors, lr=1e-2)
    best = torch.full((len(k),), torch.inf, dtype=torch.float64)
    for _ in range(steps):
        masked = (*tensors[:2], tensors[2] * used[:, None, :, None], tensors[3])
        apart = (start.space.realize(WeightFeatures(start.space, masked), x)[..., 0] - target).abs()
        best = torch.minimum(best, apart.detach().amax(1))
        optimizer.zero_grad()
        apart.pow(16).mean(1).pow(1 / 16).sum().backward()
        optimizer.step()
    return best.view(-1, restarts).amin(1).tolist()
