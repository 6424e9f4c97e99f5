"""Peak memory of a training step of DWS and GMN, and how it grows with the depth of the input network.

Run: ``python -m benchmarks.memory``. Each measurement is a process of its own: the peak resident memory after one
training step, less that before it. The unit beside the megabytes is one entry-wise activation of one layer,
batch x weights x channels x 4 bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import torch

import weightspace as ws
from benchmarks._measure import training_step
from benchmarks.training_step import DEPTHS, contest

WIDTHS = {"DWS mean, 64 x 5": 64, "DWS max, 64 x 5": 64, "DWS published, 32 x 5": 32, "GMN both ways, 64 x 4": 64}


def one(name: str, layers: int, batch: int) -> float:
    """Bytes that one training step adds to the peak."""
    torch.set_num_threads(1)
    space = ws.siren(DEPTHS[layers])
    net = contest(space, batch, "cpu")[name][0]
    theta = space.sample(batch)
    training_step(net, theta[:2])()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    training_step(net, theta)()
    return 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> None:
    """Prints the table, or one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="networks in a batch")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(one(*json.loads(args.one), args.batch))
        return
    print(f"{'network':24}{'input':>10}{'MB':>8}{'activations':>13}")
    for name, width in WIDTHS.items():
        found = {}
        for layers, dims in DEPTHS.items():
            command = [sys.executable, "-m", "benchmarks.memory", "--batch", str(args.batch)]
            done = subprocess.run([*command, "--one", json.dumps([name, layers])], check=True, capture_output=True)
            found[layers] = float(done.stdout)
            unit = args.batch * ws.siren(dims).num_parameters * width * 4
            print(f"{name:24}{layers:>3} layers{found[layers] / 1e6:8.0f}{found[layers] / unit:13.1f}", flush=True)
        weights = [ws.siren(dims).num_parameters for dims in DEPTHS.values()]
        print(f"{'':24}9 / 3 layers: {found[9] / found[3]:.2f} (weights {weights[1] / weights[0]:.2f})")


if __name__ == "__main__":
    main()
