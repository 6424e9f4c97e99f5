"""How fast INRs are fitted: steps per CPU-second and core, beside the bare matrix products of the same networks.

One INR-step is one Adam step of one 2-32-32-1 SIREN on all pixels of a 28 x 28 image. Run it on an idle machine:

    python -m benchmarks.fit_inrs
    python -m benchmarks.fit_inrs --device cuda
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from weightspace.space import siren
from weightspace.zoo import INR_RECIPES
from weightspace.zoo._fit import fit_range

SIZE, WIDTH = 28, 32


def products(batch: int, device: torch.device) -> Callable[[], None]:
    """The matrix products of one step, every factor in the layout that suits it: no sines, no additions, no Adam."""

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, device=device)

    units, pixels, square = random(WIDTH, SIZE * SIZE), random(SIZE * SIZE, WIDTH), random(WIDTH, WIDTH)
    last, residual = random(1, WIDTH), random(1, SIZE * SIZE)

    def run() -> None:
        torch.bmm(square, units)  # hidden layer, forwards
        torch.bmm(units, pixels)  # its weight gradient
        torch.bmm(square.mT, units)  # its input's gradient
        torch.bmm(last, units)  # the same three of the last layer
        torch.bmm(residual, pixels)
        torch.bmm(last.mT, residual)

    return run


def rate(run: Callable[[], None], steps: int, device: torch.device) -> tuple[float, float]:
    """Steps per CPU-second and steps per second of wall time."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps / (time.process_time() - cpu), steps / (time.perf_counter() - wall)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", type=int, help="64 on a CPU, 4096 on a GPU by default")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=15, help="in turns; the best of each counts")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    networks = arguments.networks or (64 if device.type == "cpu" else 4096)
    images = torch.randint(0, 256, (networks, SIZE, SIZE, 1), dtype=torch.uint8)
    space, recipe = siren([2, WIDTH, WIDTH, 1]), replace(INR_RECIPES["mnist-inrs"], steps=arguments.steps)
    batch = 16 if device.type == "cpu" else 1024
    bare, chunks = products(batch, device), networks // batch

    def bare_steps() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for _ in range(arguments.steps * chunks):
            bare()
        torch.set_num_threads(threads)

    fit_range(space, images[:batch], replace(recipe, steps=3), 0, 0, device=device)
    fits, bounds = [], []
    for _ in range(arguments.repeats):
        fits.append(
            rate(lambda: fit_range(space, images, recipe, 0, 0, device=device), networks * arguments.steps, device)
        )
        bounds.append(rate(bare_steps, batch * chunks * arguments.steps, device))
    unit, column = ("CPU-second and core", 0) if device.type == "cpu" else ("second", 1)
    fitted, limit = max(f[column] for f in fits), max(b[column] for b in bounds)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {device}")
    print(f"fitting              {fitted:10.0f} INR-steps per {unit}")
    print(f"                     {max(f[1] for f in fits):10.0f} INR-steps per second of wall time")
    print(f"bare matrix products {limit:10.0f} INR-steps per {unit}")
    print(f"a step costs {limit / fitted:.2f} times its bare matrix products")


if __name__ == "__main__":
    main()
