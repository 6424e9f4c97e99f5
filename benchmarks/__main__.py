"""Runs every benchmark, each in a process of its own."""

import subprocess
import sys

NAMES = ("architectures", "equivariant_linear", "memory", "fit_inrs", "trace", "align")

if __name__ == "__main__":
    for name in NAMES:
        print(f"\n== benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
