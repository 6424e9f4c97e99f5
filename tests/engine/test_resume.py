"""A run that was killed, stopped or starved of disk ends as if nothing had happened."""

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_toys import KILL_CONFIG, NoisyRegression, Regression, linear, mlp

from weightspace import EngineError, WeightspaceError
from weightspace.engine import Result, TrainConfig, read_records, train

CONFIG = TrainConfig(**KILL_CONFIG, checkpoint_seconds=1e9)
TOYS = Path(__file__).with_name("engine_toys.py")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(mlp(), NoisyRegression(), CONFIG, folder, progress=False)
    return folder


def assert_same_tree(found, expected, path="checkpoint"):
    """Bit-identical tensors and equal values, but for wall times."""
    assert type(found) is type(expected), path
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in expected.keys() - {"seconds"}:
            assert_same_tree(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for position, entry in enumerate(expected):
            assert_same_tree(found[position], entry, f"{path}[{position}]")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), path
    else:
        assert found == expected, path


def assert_same_run(folder, expected):
    """Weights, optimiser, records and metrics of two runs are identical."""
    states = [torch.load(path / "checkpoint.pt", weights_only=True) for path in (folder, expected)]
    assert_same_tree(*states)
    assert_same_tree(read_records(folder), read_records(expected))
    assert Result.load(folder).metrics == Result.load(expected).metrics
    assert Result.load(folder).best_epoch == Result.load(expected).best_epoch
    for name in ("best.safetensors", "samples.safetensors"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}


class Interrupting(NoisyRegression):
    """Presses Ctrl-C in the given step, once or twice."""

    def __init__(self, step, times=1):
        super().__init__()
        self.steps_left, self.times = step, times

    def losses(self, model, split, index):
        self.steps_left -= model.training
        if self.steps_left == 0 and model.training:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return super().losses(model, split, index)


def test_killed_at_any_moment_ends_bit_identical(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = subprocess.run(
        [sys.executable, "-W", "error", TOYS, "kill", folder],
        capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    ends = process.stdout.splitlines()
    assert ends[:4] == ["killed by 9"] * 4  # each in the middle of its third checkpoint
    assert ends.count("killed by 9") >= 8
    assert ends[-1] == "finished"
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("step", [1, 5, 8, 20])
def test_ctrl_c_saves_says_how_to_go_on_and_loses_no_step(tmp_path, uninterrupted, step):
    epoch, within = divmod(step - 1, 5)
    message = rf"epoch {epoch + 1} after {within + 1} of 5 steps.*{tmp_path.name}.*run the same command again"
    with pytest.raises(KeyboardInterrupt, match=message):
        train(mlp(), Interrupting(step), CONFIG, tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == within + 1
    train(mlp(), NoisyRegression(), CONFIG, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_a_second_ctrl_c_stops_at_once_and_the_run_goes_on_from_the_last_checkpoint(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        train(mlp(), Interrupting(8, times=2), CONFIG, tmp_path, progress=False)
    assert len(read_records(tmp_path)) == 1
    assert not (tmp_path / "checkpoint.pt").exists()
    train(mlp(), NoisyRegression(), CONFIG, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_what_the_folder_shows_is_put_right_on_resume(tmp_path, uninterrupted):
    """Records and best weights of steps that the checkpoint does not know disappear."""
    with pytest.raises(KeyboardInterrupt):
        train(mlp(), Interrupting(7), CONFIG, tmp_path, progress=False)
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"epoch": 2, "step": 10, "train_loss": 0.0}\n{"epoch": 3, "st')
    assert [record["epoch"] for record in read_records(tmp_path)] == [1, 2]  # the torn line is not shown
    (tmp_path / "best.safetensors").write_bytes(b"of a later epoch")
    train(mlp(), NoisyRegression(), CONFIG, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_a_full_disk_leaves_a_run_that_goes_on(tmp_path, uninterrupted, monkeypatch):
    saves, save = [], torch.save

    def full_at_the_seventh(state, path):
        saves.append(path)
        if len(saves) == 7:
            Path(path).write_bytes(b"part")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, path)

    monkeypatch.setattr(torch, "save", full_at_the_seventh)
    config = TrainConfig(**KILL_CONFIG, checkpoint_seconds=0)
    with pytest.raises(WeightspaceError, match=r"the disk is full: .*checkpoint\.pt"):
        train(mlp(), NoisyRegression(), config, tmp_path, progress=False)
    train(mlp(), NoisyRegression(), config, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_a_finished_run_returns_its_result_without_training(uninterrupted):
    class Untouchable(NoisyRegression):
        def losses(self, model, split, index):
            raise AssertionError("trained again")

    model = mlp()
    result = train(model, Untouchable(), CONFIG, uninterrupted, progress=False)
    assert result == Result.load(uninterrupted)
    assert not model.training
    assert NoisyRegression().evaluate(model, "test", 8)["mse"] == result.metrics["test"]["mse"]


def test_damaged_weights_of_a_finished_run_are_named(tmp_path, uninterrupted):
    folder = shutil.copytree(uninterrupted, tmp_path / "run")
    (folder / "best.safetensors").write_bytes(b"damaged")
    with pytest.raises(EngineError, match=r"run/best\.safetensors cannot be read \(.*\); delete .*run and train again"):
        train(mlp(), NoisyRegression(), CONFIG, folder, progress=False)


def test_settings_that_are_off_may_be_newer_than_the_run(tmp_path):
    """A version that knows more options still goes on with the runs of an older one."""
    for recipe in ({"task": {"kind": "a"}}, {"task": {"kind": "a", "option": False}}):
        train(mlp(), NoisyRegression(), CONFIG, tmp_path / "run", recipe=recipe, progress=False)
    with pytest.raises(EngineError, match=r"recipe\.task\.option is True now and False there"):
        train(mlp(), NoisyRegression(), CONFIG, tmp_path / "run", recipe={"task": {"kind": "a", "option": True}})


def test_another_run_in_the_folder_is_refused_by_difference(uninterrupted):
    def attempt(model=None, task=None, recipe=None, resume=True, **changes):
        config = TrainConfig(**{**KILL_CONFIG, **changes})
        train(model or mlp(), task or NoisyRegression(), config, uninterrupted, recipe=recipe, resume=resume)

    with pytest.raises(EngineError, match=r"1 differences.*train\.learning_rate is 0\.01 now and 0\.001 there"):
        attempt(learning_rate=0.01)
    with pytest.raises(EngineError, match=r"model\.0\.weight is None now and '\[16, 5\] torch\.float32' there"):
        attempt(model=linear())
    with pytest.raises(EngineError, match=r"task\.splits\.train is 40 now and 36 there"):
        attempt(task=NoisyRegression(sizes=(40, 20, 21)))
    with pytest.raises(EngineError, match=r"recipe\.k is 8 now and None there"):
        attempt(recipe={"k": 8})
    with pytest.raises(EngineError, match="holds a run already"):
        attempt(resume=False)
    attempt()


def test_a_damaged_or_malicious_checkpoint_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    config = TrainConfig(epochs=2)
    train(linear(), Regression(), config, tmp_path, progress=False)
    (tmp_path / "result.json").unlink()
    checkpoint = tmp_path / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for content in (whole[: len(whole) // 2], pickle.dumps(Malicious())):
        checkpoint.write_bytes(content)
        with pytest.raises(EngineError, match=r"checkpoint\.pt cannot be read.*Delete it"):
            train(linear(), Regression(), config, tmp_path, progress=False)
    assert not (tmp_path / "executed").exists()
    checkpoint.unlink()
    train(linear(), Regression(), config, tmp_path, progress=False)
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(EngineError, match=r"without its recipe\.json"):
        train(linear(), Regression(), config, tmp_path, progress=False)
