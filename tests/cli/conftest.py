import gzip
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory):
    """60 pictures of bars and their labels, 28 x 28, as gzipped IDX files."""
    images = np.zeros((60, 28, 28), np.uint8)
    for index in range(60):
        images[index, 4:24, 3 + index % 20 : 7 + index % 20] = 255
    folder = tmp_path_factory.mktemp("idx")
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(60, dtype=np.uint8) % 10)):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


@pytest.fixture
def interrupt():
    """Starts the command line, presses Ctrl-C once ``ready()``, and returns the finished process."""

    def run(arguments, ready, seconds=90):
        process = subprocess.Popen(
            [sys.executable, "-m", "weightspace", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            end = time.monotonic() + seconds
            while not ready() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run
