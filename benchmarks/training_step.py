"""Training step and inference of DWS and GMN against the bare entry-wise matrix products of the same layers.

Run: ``python -m benchmarks.training_step [--threads 2] [--device cpu]``. Prints milliseconds and ratios, one run.

The floor of a DWS layer is one product [batch * entries, C] x [C, C'] for each parameter; that of a GMN layer the
products on its edges: one for each message function and two for the edge update (and one for its skip connection).
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch

import weightspace as ws
from benchmarks._measure import inference, matrix_products, milliseconds, training_step
from weightspace.engine import keep_freed_memory

DEPTHS = {3: [2, 32, 32, 1], 9: [2, 32, 32, 32, 32, 32, 32, 32, 32, 1]}


def entries(space: ws.WeightSpace, matrices_only: bool) -> list[int]:
    """Entries of each parameter of one network."""
    return [torch.Size(p.shape).numel() for p in space.parameters if not (matrices_only and len(p.axes) < 2)]


def dws_products(space: ws.WeightSpace, batch: int, width: int, depth: int) -> list[tuple[int, int, int]]:
    """(rows, c, c') of the entry-wise products of a DWS network with one input and one output channel."""
    widths = [1, *[width] * (depth - 1), 1]
    return [(batch * n, a, b) for a, b in pairwise(widths) for n in entries(space, False)]


def gmn_products(space: ws.WeightSpace, batch: int, width: int, depth: int) -> list[tuple[int, int, int]]:
    """(rows, c, c') of the products on the edges of a bidirectional GMN with one output channel."""
    shapes = []
    for layer in range(depth):
        out = 1 if layer == depth - 1 else width
        for n in entries(space, True):
            shapes += [(batch * n, width, width)] * 3 + [(batch * n, width, out)] * 2
    return shapes


def contest(
    space: ws.WeightSpace, batch: int, device: str
) -> dict[str, tuple[torch.nn.Module, list[tuple[int, int, int]]]]:
    """The networks at the compared configurations, each with its entry-wise products."""
    plain = {"hidden": 64, "depth": 5, "neuron_map": "linear", "batch_norm": False, "dropout": 0.0}
    nets = {
        "DWS mean, 64 x 5": (ws.build("dws", space, reduction="mean", **plain), dws_products(space, batch, 64, 5)),
        "DWS max, 64 x 5": (ws.build("dws", space, reduction="max", **plain), dws_products(space, batch, 64, 5)),
        "DWS published, 32 x 5": (ws.build("dws", space), dws_products(space, batch, 32, 5)),
        "GMN both ways, 64 x 4": (
            ws.build("gmn", space, hidden=64, depth=4, dropout=0.0),
            gmn_products(space, batch, 64, 4),
        ),
    }
    return {name: (net.to(device), shapes) for name, (net, shapes) in nets.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--batch", type=int, default=64, help="networks in a batch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--keep-memory", action="store_true", help="as the command line trains: keep freed memory")
    parser.add_argument(
        "--layers", type=int, nargs="+", choices=DEPTHS, default=list(DEPTHS), help="of the input network"
    )
    parser.add_argument("--repeats", type=int, default=15, help="timed rounds")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.keep_memory:
        print("freed memory kept:", keep_freed_memory())
    times: dict[tuple[str, int], float] = {}
    print(f"{'network':24}{'input':>10}{'train ms':>10}{'x floor':>9}{'infer ms':>10}{'x floor':>9}")
    for layers in args.layers:
        space = ws.siren(DEPTHS[layers])
        theta = space.sample(args.batch).to(args.device)
        for name, (net, shapes) in contest(space, args.batch, args.device).items():
            floor_train, floor_infer = matrix_products(shapes, args.device)
            best = milliseconds(
                {
                    "train": training_step(net, theta),
                    "floor": floor_train,
                    "infer": inference(net, theta),
                    "low": floor_infer,
                },
                args.repeats,
            )
            times[name, layers] = best["train"]
            print(
                f"{name:24}{layers:>3} layers{best['train']:10.1f}{best['train'] / best['floor']:9.2f}"
                f"{best['infer']:10.1f}{best['infer'] / best['low']:9.2f}",
                flush=True,
            )
    if len(args.layers) == len(DEPTHS):
        compare_depths(times)


def compare_depths(times: dict[tuple[str, int], float]) -> None:
    """How the cost of a step grows with the depth of the input network."""
    weights = {layers: ws.siren(dims).num_parameters for layers, dims in DEPTHS.items()}
    print(f"\nfrom 3 to 9 layers the input network gets {weights[9] / weights[3]:.2f} times the weights; a step costs")
    for name, layers in times:
        if layers == 9:
            ratio = times[name, 9] / times[name, 3]
            print(
                f"{name:24}{ratio:6.2f} times as much, {ratio * weights[3] / weights[9]:.2f} times as much per weight"
            )


if __name__ == "__main__":
    main()
