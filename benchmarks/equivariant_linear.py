"""The NP linear layer (all neurons permuted) against the one of the package ``nfn``, which computes the same map.

Run: ``python -m benchmarks.equivariant_linear [--threads 2]``. Forward and backward pass of one layer on 2-32-32-3
networks, on which both layers have the same number of linear coefficients (for one output unit that of nfn counts
some maps twice).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
from nfn.layers import NPLinear

import weightspace as ws
from benchmarks._measure import milliseconds, training_step
from weightspace.group import PERMUTATION
from weightspace.nn import EquivariantLinear
from weightspace.space import SymmetryGroup


def theirs(space: ws.WeightSpace, batch: int, channels: int) -> tuple[torch.nn.Module, Callable[[], object]]:
    """The layer of nfn, channels first, and its training step."""
    tensors = {p.name: torch.randn(batch, channels, *p.shape) for p in space.parameters}
    weights = [t for n, t in tensors.items() if n.endswith("weight")]
    biases = [t for n, t in tensors.items() if n.endswith("bias")]
    theta = WeightSpaceFeatures(weights, biases)
    layer = NPLinear(network_spec_from_wsfeat(theta), channels, channels)
    probes = [torch.randn_like(t) for t in (*weights, *biases)]

    def run() -> None:
        out = layer(theta)
        torch.autograd.grad((*out.weights, *out.biases), list(layer.parameters()), probes)

    return layer, run


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--batch", type=int, default=64, help="networks in a batch")
    parser.add_argument("--repeats", type=int, default=15, help="timed rounds")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    space = ws.siren([2, 32, 32, 3])
    everything = SymmetryGroup(space, (PERMUTATION,) * len(space.groups))
    print(f"{'channels':>8}{'ours ms':>10}{'nfn ms':>10}{'nfn / ours':>12}{'coefficients, ours':>20}{'nfn':>10}")
    for channels in (32, 128):
        layer = EquivariantLinear(space, channels, channels, symmetry=everything)
        theta = space.features({p.name: torch.randn(args.batch, *p.shape, channels) for p in space.parameters})
        other, run = theirs(space, args.batch, channels)
        best = milliseconds({"ours": training_step(layer, theta), "nfn": run}, args.repeats)
        counts = [sum(p.numel() for p in m.parameters() if p.dim() > 1) for m in (layer, other)]
        print(
            f"{channels:8}{best['ours']:10.1f}{best['nfn']:10.1f}{best['nfn'] / best['ours']:12.2f}"
            f"{counts[0]:20}{counts[1]:10}"
        )


if __name__ == "__main__":
    main()
