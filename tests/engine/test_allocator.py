import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from weightspace.engine import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = []
for _ in range(25):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.ones(10_000_000)
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults)[12])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_large_blocks_are_not_fetched_from_the_system_again_and_again():
    def faults(mode):
        done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    # page faults of the median block; the heap grows during the first ones
    assert faults("keep") < 0.1 * faults("default")
