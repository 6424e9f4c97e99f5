"""A batch of different architectures: padded and in buckets, against one network after the other.

Run: ``python -m benchmarks.mixed [--networks 64] [--hidden 32] [--device cpu] [--threads 1]``. Each network has an
architecture of its own: a multilayer perceptron or a CNN of 2 to 5 layers, 8 to 64 units wide, kernels of 3 to 7 taps,
ReLU or tanh. For each ``waste`` of `ws.pad`: the number of buckets, how many times more numbers there are with padding
than without, and the time of a training step and of inference of `gmn` in units of those one after the other.
"""

from __future__ import annotations

import argparse
import math
import random

import torch
from torch import nn

import weightspace as ws
from benchmarks._measure import milliseconds


def network(random: random.Random) -> tuple[nn.Module, torch.Tensor]:
    """An image classifier of random architecture, and an input."""
    widths = [random.randint(8, 64) for _ in range(random.randint(1, 4))]
    activation = random.choice((nn.ReLU, nn.Tanh))
    if random.random() < 0.5:
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for before, width in zip([3, *widths], widths, strict=False):
            layers += [nn.Linear(before, width), activation()]
    else:
        layers = []
        for before, width in zip([3, *widths], widths, strict=False):
            taps = random.choice((3, 5, 7))
            layers += [nn.Conv2d(before, width, taps, padding=taps // 2), activation()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10)), torch.randn(2, 3, 8, 8)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=64, help="in the batch")
    parser.add_argument("--hidden", type=int, default=32, help="channels of gmn")
    parser.add_argument("--depth", type=int, default=4, help="layers of gmn")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--waste", type=float, nargs="+", default=[1.25, 1.5, 2.0, 4.0, math.inf], help="of ws.pad")
    parser.add_argument("--seconds", type=float, default=120, help="for all rounds, about")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    generator = random.Random(0)
    thetas = []
    for _ in range(args.networks):
        module, x = network(generator)
        thetas.append(ws.from_module(module, x).stack([module]).to(args.device))
    spaces = [theta.space for theta in thetas]
    net = ws.build("gmn", spaces, "invariant", hidden=args.hidden, depth=args.depth).to(args.device)
    batches = {f"waste {waste:g}": ws.pad(thetas, waste=waste) for waste in args.waste}
    weights = list(net.parameters())

    def step(given: list[ws.PaddedBatch | ws.WeightFeatures]) -> None:
        for theta in given:
            torch.autograd.grad(net(theta).sum(), weights, allow_unused=True)

    def inference(given: list[ws.PaddedBatch | ws.WeightFeatures]) -> None:
        with torch.no_grad():
            for theta in given:
                net(theta)

    runs = {("alone", kind): lambda run=run: run(list(thetas)) for kind, run in (("step", step), ("infer", inference))}
    for name, batch in batches.items():
        runs |= {(name, "step"): lambda b=batch: step([b]), (name, "infer"): lambda b=batch: inference([b])}
    best = milliseconds(runs, 10, warm_up=1, seconds=args.seconds)
    padding = milliseconds({"pad": lambda: ws.pad(thetas)}, 5)["pad"]
    print(f"{args.networks} networks, {len(set(spaces))} architectures, gmn with {args.hidden} channels, {args.device}")
    print(
        f"one after the other: step {best['alone', 'step']:.0f} ms, inference {best['alone', 'infer']:.0f} ms; ", end=""
    )
    print(f"ws.pad itself {padding:.1f} ms")
    print(f"{'':12}{'buckets':>8}{'numbers':>9}{'step':>7}{'inference':>11}")
    for name, batch in batches.items():
        times = (best[name, kind] / best["alone", kind] for kind in ("step", "infer"))
        print(f"{name:12}{len(batch.buckets):8}{batch.overhead:9.2f}{next(times):7.2f}{next(times):11.2f}")


if __name__ == "__main__":
    main()
