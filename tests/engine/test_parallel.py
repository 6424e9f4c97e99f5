"""Several processes compute what one process computes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_toys import PARALLEL_CONFIG, Editing, Regression, editor, mlp, unused
from safetensors.torch import load_file

from weightspace.engine import Result, TrainConfig, mean_loss, read_records, train

TOYS = Path(__file__).with_name("engine_toys.py")


def run_on_two_processes(command, folder):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "ACCELERATE_USE_CPU": "1"}
    return subprocess.run(
        [*launch, TOYS, command, folder], capture_output=True, text=True, timeout=180, env=environment, check=False
    )


def assert_close_runs(folder, expected):
    for found, record in zip(read_records(folder), read_records(expected), strict=True):
        assert found["train_loss"] == pytest.approx(record["train_loss"], rel=1e-5)
        assert found["validation"]["mse"] == pytest.approx(record["validation"]["mse"], rel=1e-5)
        assert found["step"] == record["step"]
    test, expected_test = (Result.load(path).metrics["test"] for path in (folder, expected))
    assert test["mse"] == pytest.approx(expected_test["mse"], rel=1e-5)
    for name, tensor in load_file(expected / "best.safetensors").items():
        torch.testing.assert_close(load_file(folder / "best.safetensors")[name], tensor, rtol=1e-5, atol=1e-6)


def test_two_processes_give_the_losses_of_one(tmp_path):
    """Batches of 7 do not divide by 2, and the last one of an epoch has a single example."""
    process = run_on_two_processes("parallel", tmp_path / "two")
    assert process.returncode == 0, process.stderr
    for name, model, task in (("regression", unused(), Regression()), ("editing", editor(), Editing())):
        train(model, task, TrainConfig(**PARALLEL_CONFIG), tmp_path / "one" / name, progress=False)
        assert_close_runs(tmp_path / "two" / name, tmp_path / "one" / name)
    # batch normalisation and dropout: another run than on one process, but the weights kept are the ones measured
    result = Result.load(tmp_path / "two/mlp")
    model = mlp()
    model.load_state_dict(load_file(tmp_path / "two/mlp/best.safetensors"))
    for split in ("validation", "test"):
        assert result.metrics[split]["mse"] == pytest.approx(mean_loss(model, Regression(), split, 7), rel=1e-5)


@pytest.mark.slow
def test_two_processes_resume_and_one_process_may_take_over(tmp_path):
    process = run_on_two_processes("parallel-killed", tmp_path / "two")
    assert process.returncode != 0
    state = torch.load(tmp_path / "two/regression/checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 4)
    shutil.copytree(tmp_path / "two/regression", tmp_path / "taken")
    process = run_on_two_processes("parallel", tmp_path / "two")
    assert process.returncode == 0, process.stderr
    for folder in ("taken", "one"):
        train(unused(), Regression(), TrainConfig(**PARALLEL_CONFIG), tmp_path / folder, progress=False)
    assert_close_runs(tmp_path / "two/regression", tmp_path / "one")
    assert_close_runs(tmp_path / "taken", tmp_path / "one")
