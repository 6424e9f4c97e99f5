"""Aligning many pairs of networks at once, against loops over single pairs: time of a pair, and quality of the match.

Run: ``python -m benchmarks.align [--threads 1]``. "plain" is weight matching as published (arXiv 2209.04836), one pair
after the other: from the identity, the similarities and a linear assignment by scipy for one layer after the other,
until nothing changes. "one by one" is `weightspace.align` called for each pair. "rebasin" is the package of that name,
if it is installed. All find permutations. The loops are timed on the first pairs alone. The cosines are of the angle
between the two networks after alignment.

"related" pairs are in one orbit up to noise of 1 % of the standard deviation of the weights; "independent" ones are
drawn independently.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment

import weightspace as ws
from benchmarks._measure import milliseconds

SIZES = [([2, 32, 32, 1], 1000), ([784, 128, 128, 10], 100), ([784, 512, 512, 10], 100)]
Aligner = Callable[[ws.WeightFeatures, ws.WeightFeatures], ws.WeightFeatures]


def plain(theta: ws.WeightFeatures, phi: ws.WeightFeatures) -> ws.WeightFeatures:
    """The published loop for one pair."""
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
    orders = [*found, torch.arange(len(weights[-1]))]
    moved = []
    for i, order in enumerate(orders):
        rows = other[i][order]
        moved += [rows if i == 0 else rows[:, orders[i - 1]], shifts[i][order]]
    return ws.WeightFeatures(theta.space, tuple(t[None, ..., None] for t in moved))


def rebasin(theta: ws.WeightFeatures, phi: ws.WeightFeatures) -> ws.WeightFeatures:
    """The package of that name."""
    from rebasin import PermutationCoordinateDescent

    space = theta.space
    module = space.to_module(phi)
    PermutationCoordinateDescent(space.to_module(theta), module, torch.ones(2, space.groups[0].size)).rebasin()
    return space.stack([module])


def at_once(theta: ws.WeightFeatures, phi: ws.WeightFeatures) -> ws.WeightFeatures:
    """All pairs."""
    return ws.align(theta, phi, "permutation").theta


def compare(theta: ws.WeightFeatures, phi: ws.WeightFeatures, loops: dict[str, Aligner], single: int) -> str:
    """Milliseconds of a pair by each way, with the mean cosine that it reaches."""
    first: dict[str, ws.WeightFeatures] = {}

    def one_by_one(name: str) -> None:
        found = [loops[name](theta[i], phi[i]) for i in range(single)]
        first[name] = found[0].map(lambda *ts: torch.cat(ts), *found[1:])

    def together() -> None:
        first["at once"] = at_once(theta, phi)

    runs = {"at once": together, **{name: lambda name=name: one_by_one(name) for name in loops}}
    times = milliseconds(runs, repeats=3, warm_up=0)
    each = {name: time / (len(theta) if name == "at once" else single) for name, time in times.items()}
    cells = []
    for name, found in first.items():
        pairs = (x.flatten()[:single] for x in (theta, found))
        cosine = torch.nn.functional.cosine_similarity(*pairs).mean()
        cells.append(f"{each[name]:10.2f} ({each[name] / each['at once']:4.1f}) {cosine:.3f}")
    return "".join(cells)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=5, help="pairs that the loops are timed on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    loops: dict[str, Aligner] = {"one by one": at_once, "plain": plain}
    if importlib.util.find_spec("rebasin"):
        loops["rebasin"] = rebasin
    else:
        print("without the package rebasin, which is not installed: pip install rebasin")
    print("milliseconds a pair (times as long as at once) and cosine of the match")
    print(f"{'network':20}{'pairs':18}" + "".join(f"{name:>23}" for name in ("at once", *loops)))
    generator = torch.Generator().manual_seed(0)
    for (dims, count), related in itertools.product(SIZES, (True, False)):
        space = ws.mlp(dims)
        theta, phi = space.sample(count, generator), space.sample(count, generator)
        if related:
            group = space.symmetry("permutation")
            moved = group.act(group.sample(count, generator), theta)
            phi = moved.map(lambda t: t + 0.01 * t.std(correction=0) * torch.randn(t.shape, generator=generator))
        kind = f"{count} {'related' if related else 'independent'}"
        print(f"{'-'.join(map(str, dims)):20}{kind:18}{compare(theta, phi, loops, args.single)}", flush=True)


if __name__ == "__main__":
    main()
