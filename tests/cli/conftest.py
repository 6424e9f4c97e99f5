import gzip
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from weightspace import tasks, zoo


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


@pytest.fixture(scope="session")
def bars(idx_folder, tmp_path_factory):
    """The pictures of bars, as training and as test images."""
    folder = tmp_path_factory.mktemp("bars")
    for file in idx_folder.iterdir():
        shutil.copy(file, folder / file.name)
        shutil.copy(file, folder / file.name.replace("train", "t10k"))
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


RECIPE = """
name = "tiny"
title = "A tiny recipe"
seeds = [0]
reduced = "in everything"

[zoo]
images = "{images}"
count = 24
recipe = "fast-300"

[train]
epochs = {epochs}
batch_size = 8

[[variants]]
name = "dws-k1"
architecture = "dws"
options = {{ hidden = 8, depth = 2 }}

[[variants]]
name = "dws-k2"
architecture = "dws"
k = 2
options = {{ hidden = 8, depth = 2 }}
"""


@pytest.fixture(scope="session")
def recipe(idx_folder, tmp_path_factory):
    """Writes a recipe with two small variants and returns its path."""

    def write(epochs=2):
        path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
        path.write_text(RECIPE.format(images=idx_folder, epochs=epochs))
        return path

    return write


@pytest.fixture(scope="session")
def fitted(idx_folder, tmp_path_factory):
    """The folder of a zoo of 24 INRs, hardly fitted."""
    images, labels = zoo.idx(idx_folder)
    out = tmp_path_factory.mktemp("zoo") / "bars"
    how = zoo.FitRecipe("short", steps=40, learning_rate=5e-3)
    zoo.fit_inrs(images[:24], out, labels=labels[:24], recipe=how, splits=(16, 4, 4), progress=False)
    return out


@pytest.fixture(scope="session")
def trained(fitted, recipe, tmp_path_factory):
    """The folder with the runs of the recipe."""
    out = tmp_path_factory.mktemp("runs")
    tasks.run_recipe(tasks.load_recipe(recipe()), zoo.load(fitted), out, progress=False)
    return out / "tiny"
