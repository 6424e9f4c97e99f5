"""What ReLU networks can only come near to: errors against the number of knots, or the width."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._explicit import interpolant
from .._statement import Measurement

__all__ = ["KNOTS", "fitted_edge_updates", "interpolations"]

KNOTS = (4, 8, 16, 32, 64, 128)

WIDTHS = {16: 0.168, 64: 0.066, 256: 0.038, 1024: 0.021}
"""Errors that fitted ReLU networks of these widths are known to have."""


def interpolations() -> dict[str, list[float]]:
    """The largest errors of products, SiLU and the square root, which deviations need, with so many knots."""
    x, y = torch.cartesian_prod(*[torch.linspace(-1, 1, 257, dtype=torch.float64)] * 2).unbind(1)
    wide, positive = (torch.linspace(low, 4, 16385, dtype=torch.float64) for low in (-4, 0))
    found: dict[str, list[float]] = {"product": [], "SiLU": [], "square root": []}
    for n in KNOTS:
        square = _interpolated(torch.square, -2, 2, n, torch.stack([x + y, x - y]))
        silu = _interpolated(nn.functional.silu, -4, 4, n, wide)
        root = _interpolated(torch.sqrt, 0, 4, n, positive)
        found["product"].append(float(((square[0] - square[1]) / 4 - x * y).abs().max()))
        found["SiLU"].append(float((silu - nn.functional.silu(wide)).abs().max()))
        found["square root"].append(float((root - positive.sqrt()).abs().max()))
    return found


def _interpolated(function: object, low: float, high: float, n: int, x: Tensor) -> Tensor:
    """A function at some points, by a ReLU network that is affine between n + 1 equidistant ones."""
    assert callable(function)
    knots = torch.linspace(low, high, n + 1, dtype=torch.float64)[None]
    network = interpolant(knots, function(knots))
    return network.space.realize(network, x.reshape(-1, 1)).view(x.shape)


def fitted_edge_updates(samples: int = 12000) -> list[Measurement]:
    """The edge update of a GMN with SiLU, fitted by random ReLU units and least squares: errors on other inputs."""
    torch.manual_seed(0)
    update = nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 2)).double()
    x = torch.randn(samples, 6, dtype=torch.float64)
    y = update(x)
    measured = []
    for width, known in WIDTHS.items():
        error = sorted(_fit(x, y, width, seed) for seed in range(3))[1]
        measured.append(Measurement.about(f"SiLU edge update by {width} ReLU units: error", error, known, 2))
    return measured


def _fit(x: Float[Tensor, "n inputs"], y: Float[Tensor, "n outputs"], width: int, seed: int) -> float:
    """The root mean square error of ridge regression on inputs not seen, relative to the standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(x.shape[1], width, generator=generator, dtype=torch.float64)
    bias = torch.randn(width, generator=generator, dtype=torch.float64)
    features = torch.cat([(x @ weight + bias).relu(), x, torch.ones_like(x[:, :1])], dim=1)
    seen = int(0.7 * len(x))
    gram = features[:seen].mT @ features[:seen] + 1e-3 * torch.eye(features.shape[1])
    solution = torch.linalg.solve(gram, features[:seen].mT @ y[:seen])
    return float((features[seen:] @ solution - y[seen:]).square().mean().sqrt() / y.std())
