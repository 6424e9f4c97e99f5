"""How the peak memory of a training step grows with the input network: with its weights, or with neurons squared.

Run: ``python -m benchmarks.memory [--device cpu]``. First input networks of growing depth, then ones with about as many
weights, spread over more and more neurons. Memory of one network of the batch, beyond parameters and inputs: in KiB,
for each weight, and for each pair of neurons. The gradients of the parameters are in it; those of DWS grow with the
depth of the input network squared, which a larger batch hides.
"""

from __future__ import annotations

import argparse

import weightspace as ws
from benchmarks._contestants import contestants
from benchmarks._measure import peak_memory, training_step

GROWING = [[2, *[16] * depth, 1] for depth in (1, 2, 4, 8)]
SPREAD = [[2, 32, 32, 1], [2, *[16] * 5, 1], [2, *[8] * 17, 1]]
NAMES = ["dws", "gmn", "ng-gnn", "ng-t, edges", "ng-t"]


def text(dims: list[int]) -> str:
    """The widths of an input network, short."""
    first, *hidden, last = dims
    return f"{first}-{hidden[0]} x {len(hidden)}-{last}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="networks in a batch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--names", nargs="+", default=NAMES, help="architectures, or rows of the other table")
    args = parser.parse_args()
    print(f"{'network':14}{'input':>12}{'weights':>9}{'neurons':>9}{'KiB':>9}{'/weight':>9}{'/pair':>9}")
    for contestant in contestants(args.names):
        if contestant.label not in args.names:
            continue
        for dims in (*GROWING, *SPREAD):
            space = ws.siren(dims)
            net = contestant.build(space).to(args.device)
            step = training_step(net, space.sample(args.batch).to(args.device))
            kib = peak_memory(step, args.device) / args.batch / 2**10
            weights, neurons = space.num_parameters, sum(dims)
            print(
                f"{contestant.label:14}{text(dims):>12}{weights:9}{neurons:9}{kib:9.0f}{kib / weights:9.2f}"
                f"{kib / neurons**2:9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
