"""Time and memory of a training step of every architecture, against its own matrix products and the entry-wise ones.

Run: ``python -m benchmarks.architectures [--threads 2] [--batch 64] [--device cpu] [--names NAME ...] [--json FILE]``.

- own: all matrix products that the network itself makes in the step (or forward pass), recorded from it and run again
  alone, on factors of the same layouts, in turns with it.
- floor: one product [batch x entries, C] x [C, C] with its two gradients for each layer and parameter, C the width.
- unit: of memory, one entry-wise activation of the widest layer: batch x entries x C numbers.

Networks are in training mode, dropout included. Times are the best of several; memory is the most that torch has
allocated at once beyond parameters and inputs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import weightspace as ws
from benchmarks._contestants import Contestant, contestants
from benchmarks._measure import inference, milliseconds, peak_memory, training_step
from benchmarks._products import check_recorder, entrywise, flops, record, replay
from weightspace.engine import keep_freed_memory


def measure(
    contestant: Contestant, theta: ws.WeightFeatures, device: str, repeats: int, seconds: float
) -> dict[str, Any]:
    """One row of the table."""
    net = contestant.build(theta.space).to(device)
    entries = [torch.Size(p.shape).numel() for p in theta.space.parameters]
    rows = [len(theta) * n for n in entries]
    step, forward = training_step(net, theta), inference(net, theta)
    own, own_forward = record(step), record(forward)
    floor = [p for width, layers in contestant.stacks for p in entrywise(rows, width) * layers]
    best = milliseconds(
        {
            "step": step,
            "own": replay(own, device),
            "floor": replay(floor, device),
            "inference": forward,
            "own forward": replay(own_forward, device),
        },
        repeats,
        warm_up=1,
        seconds=seconds,
    )
    memory = peak_memory(step, device)
    unit = 4 * sum(rows) * contestant.width if contestant.width else None
    return {
        "name": contestant.label,
        "parameters": sum(p.numel() for p in net.parameters()),
        "step ms": best["step"],
        "step / own": best["step"] / best["own"],
        "step / floor": best["step"] / best["floor"] if floor else None,
        "inference ms": best["inference"],
        "inference / own": best["inference"] / best["own forward"],
        "memory MiB": memory / 2**20,
        "memory / unit": memory / unit if unit else None,
        "own Gflop": flops(own) / 1e9,
    }


COLUMNS = {
    "parameters": 11,
    "step ms": 9,
    "step / own": 6,
    "step / floor": 8,
    "inference ms": 9,
    "inference / own": 6,
    "memory MiB": 9,
    "memory / unit": 8,
}


def line(row: dict[str, Any]) -> str:
    """A row of the table as text."""
    cells = []
    for column, width in COLUMNS.items():
        value = row[column]
        digits = {int: "d", float: ".2f" if "/" in column else ".1f"}.get(type(value))
        cells.append(f"{value:{width}{digits}}" if digits else f"{'-':>{width}}")
    return f"{row['name']:24}" + "".join(cells)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--batch", type=int, default=64, help="networks in a batch")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 32, 32, 1], help="widths of the input networks")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--names", nargs="+", help="architectures, or single rows of the table")
    parser.add_argument("--repeats", type=int, default=10, help="timed rounds, at most")
    parser.add_argument("--seconds", type=float, default=60, help="for the rounds of one architecture, about")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    check_recorder()
    kept = keep_freed_memory()  # as the command line trains
    space = ws.siren(args.dims)
    theta = space.sample(args.batch).to(args.device)
    device = torch.cuda.get_device_name() if torch.device(args.device).type == "cuda" else f"{args.threads} threads"
    print(f"{'-'.join(map(str, args.dims))}, batch {args.batch}, {device}, freed memory kept: {kept}")
    print(f"{'':24}{'parameters':>11}{'step ms':>9}{'/own':>6}{'/floor':>8}", end="")
    print(f"{'infer ms':>9}{'/own':>6}{'MiB':>9}{'/unit':>8}")
    rows = []
    for contestant in contestants(args.names):
        rows.append(measure(contestant, theta, args.device, args.repeats, args.seconds))
        print(line(rows[-1]), flush=True)
        if args.json:
            args.json.write_text(
                json.dumps({"dims": args.dims, "batch": args.batch, "device": device, "rows": rows}, indent=1)
            )


if __name__ == "__main__":
    main()
