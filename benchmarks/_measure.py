"""Shared by the benchmarks: interleaved timing, so that a noisy machine disturbs all contestants alike; peak memory."""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

import weightspace as ws


def milliseconds(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int = 15,
    warm_up: int = 3,
    seconds: float = float("inf"),
) -> dict[str, float]:
    """The shortest of ``repeats`` runs of each contestant, taken in turns; of two at least, when time is up."""
    best = dict.fromkeys(contestants, float("inf"))
    begin = time.perf_counter()
    for round_ in range(warm_up + repeats):
        if round_ >= warm_up + 2 and time.perf_counter() - begin > seconds:
            break
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


def peak_memory(run: Callable[[], object], device: str) -> int:
    """The most bytes that torch has allocated at once during a run, beyond what was there before it."""
    run()  # whatever stays
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler tells about itself on the terminal
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["name"] == "[memory]"]
    used, peak = 0, 0
    for event in sorted(events, key=lambda e: e["ts"]):
        used += event["args"]["Bytes"]
        peak = max(peak, used)
    return peak


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
