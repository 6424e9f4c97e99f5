"""Shared by the benchmarks: interleaved timing, so that a noisy machine disturbs all contestants alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

import torch

import weightspace as ws


def milliseconds(
    contestants: Mapping[str, Callable[[], object]], repeats: int = 15, warm_up: int = 3
) -> dict[str, float]:
    """The shortest of ``repeats`` runs of each contestant, taken in turns."""
    best = dict.fromkeys(contestants, float("inf"))
    for round_ in range(warm_up + repeats):
        for name, run in contestants.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_ >= warm_up:
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    gc.collect()
    return best


def matrix_products(
    shapes: list[tuple[int, int, int]], device: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Bare products [rows, c] x [c, c'] of the given (rows, c, c'): (forward and backward, forward only)."""
    cases = []
    for rows, c_in, c_out in shapes:
        x = torch.randn(rows, c_in, device=device)
        w = torch.randn(c_in, c_out, device=device)
        g = torch.randn(rows, c_out, device=device)
        cases.append((x, w, g))

    def train() -> None:
        for x, w, g in cases:
            x @ w, g @ w.mT, x.mT @ g

    def infer() -> None:
        for x, w, _ in cases:
            x @ w

    return train, infer


def training_step(net: torch.nn.Module, theta: ws.WeightFeatures) -> Callable[[], object]:
    """Forward and backward pass of a metanetwork, with the optimiser's step left out as in the matrix products."""
    probes: list[torch.Tensor] = []

    def run() -> None:
        out = net(theta)
        tensors = out.tensors if isinstance(out, ws.WeightFeatures) else (out,)
        if not probes:
            probes.extend(torch.randn_like(t) for t in tensors)
        torch.autograd.grad(tensors, [p for p in net.parameters() if p.requires_grad], probes, allow_unused=True)

    return run


def inference(net: torch.nn.Module, theta: ws.WeightFeatures) -> Callable[[], object]:
    """Forward pass without gradients."""

    def run() -> None:
        with torch.no_grad():
            net(theta)

    return run
