"""Aligning many pairs of wide perceptrons at once, against the published loop over single pairs.

Run: ``python -m benchmarks.align``. "plain" is weight matching as published (arXiv 2209.04836), pair by pair: from the
identity, a linear assignment by scipy for every layer until nothing changes. "one by one" is `weightspace.align` called
for each pair. All find permutations of 784-512-512-10 networks. Time of one pair.
"""

from __future__ import annotations

import argparse
import time

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import weightspace as ws


def plain(theta: ws.WeightFeatures, phi: ws.WeightFeatures) -> list[Tensor]:
    """The permutations of hidden layers that match phi to theta."""
    ours, theirs = ([t[0, ..., 0] for t in networks.tensors] for networks in (theta, phi))
    weights, biases, other, shifts = ours[::2], ours[1::2], theirs[::2], theirs[1::2]
    found = [torch.arange(len(w)) for w in weights[:-1]]
    changed = True
    while changed:
        changed = False
        for i in range(len(found)):
            source = other[i] if i == 0 else other[i][:, found[i - 1]]
            target = other[i + 1] if i + 2 == len(weights) else other[i + 1][found[i + 1]]
            scores = weights[i] @ source.mT + biases[i][:, None] * shifts[i] + weights[i + 1].mT @ target
            best = torch.as_tensor(linear_sum_assignment(scores.numpy(), maximize=True)[1])
            changed |= not torch.equal(best, found[i])
            found[i] = best
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100, help="networks aligned at once")
    parser.add_argument("--single", type=int, default=5, help="of them, how many the loops are timed on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    space = ws.mlp([784, 512, 512, 10])
    group = space.symmetry("permutation")
    generator = torch.Generator().manual_seed(0)
    theta = space.sample(args.pairs, generator)
    moved = group.act(group.sample(args.pairs, generator), theta)

    def noisy(sigma: float) -> ws.WeightFeatures:
        return moved.map(lambda t: t + sigma * t.std() * torch.randn(t.shape, generator=generator))

    cases = {f"noise {s:g} std": noisy(s) for s in (0.0, 0.01, 0.1, 0.5)}
    print(f"{'pairs':16}{'at once, ms':>13}{'one by one':>13}{'plain':>11}{'ratio':>8}{'plain':>8}{'cosine':>11}")
    for name, phi in (cases | {"independent": space.sample(args.pairs, generator)}).items():
        start = time.perf_counter()
        cosine = ws.align(theta, phi, group).cosine
        together = (time.perf_counter() - start) / args.pairs
        seconds = []
        for align in (lambda a, b: ws.align(a, b, group), plain):
            start = time.perf_counter()
            for i in range(args.single):
                align(theta[i], phi[i])
            seconds.append((time.perf_counter() - start) / args.single)
        alone, loop = seconds
        print(
            f"{name:16}{1e3 * together:13.1f}{1e3 * alone:13.1f}{1e3 * loop:11.1f}{alone / together:8.1f}"
            f"{loop / together:8.1f}{cosine.mean():11.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
