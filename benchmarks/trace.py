"""Time and memory of `from_module` on vision transformers of growing size, with random weights.

Run: ``python -m benchmarks.trace``. Each size in a process of its own. The time of tracing is compared with that of one
forward pass of the module on the same input, the memory that comes on top with that of the module.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch import nn

import weightspace as ws

SIZES = {"tiny": (192, 3, 12), "small": (384, 6, 12), "base": (768, 12, 12)}  # width, heads, layers


class VisionTransformer(nn.Module):
    """A ViT on 224 x 224 images with patches of 16 (Dosovitskiy et al., 2021, arXiv 2010.11929)."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, stride=16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 197, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        return self.head(self.norm(self.encoder(tokens))[:, 0])


def measure(name: str) -> None:
    """One row of the table."""
    warm = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    ws.from_module(warm, torch.randn(2, 3, 6, 6))  # what the first trace in a process imports
    net, x = VisionTransformer(*SIZES[name]).eval(), torch.randn(2, 3, 224, 224)
    weights = sum(p.numel() for p in net.parameters())
    with torch.no_grad():
        net(x)
        start = time.perf_counter()
        net(x)
        forward = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    space = ws.from_module(net, x)
    seconds = time.perf_counter() - start
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 2**10
    print(
        f"{name:8}{weights / 1e6:10.1f}{len(space.parameters):12}{seconds:10.1f}{seconds / forward:12.1f}"
        f"{extra / 2**20:12.0f}{extra / (4 * weights):10.2f}",
        flush=True,
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES, help="of the transformer")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    args = parser.parse_args()
    if args.here:
        measure(args.sizes[0])
        return
    print(
        f"{'ViT':8}{'million':>10}{'parameters':>12}{'seconds':>10}{'/ forward':>12}{'extra MiB':>12}{'/ module':>10}"
    )
    for name in args.sizes:
        subprocess.run([sys.executable, "-m", "benchmarks.trace", "--here", "--sizes", name], check=True)


if __name__ == "__main__":
    main()
