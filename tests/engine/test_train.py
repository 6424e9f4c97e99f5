"""What a run computes, and what it leaves behind."""

import itertools
import json
import math
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from engine_toys import Editing, Editor, Regression, linear, mlp
from safetensors.torch import load_file
from torch import nn

from weightspace import EngineError
from weightspace.engine import Result, TrainConfig, evaluating, mean_loss, read_records, train
from weightspace.engine._random import seed_step


class Recording(Regression):
    """Remembers which examples each step used."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def losses(self, model, split, index):
        if split == "train":
            assert model.training
            self.batches.append(index)
        return super().losses(model, split, index)


class Scripted(Regression):
    """Validation metrics from a list; the weights at each validation are remembered."""

    selection = "score"

    def __init__(self, scores, direction):
        super().__init__()
        self.scores, self.direction, self.seen = scores, direction, []

    def evaluate(self, model, split, batch_size):
        if split == "test":
            return {"score": float(model.weight.sum())}
        self.seen.append(model.weight.clone())
        return {"score": self.scores[len(self.seen) - 1]}


def reference(model, task, config, batches):
    """The same training, written plainly."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(model.parameters(), config.learning_rate, weight_decay=config.weight_decay, amsgrad=config.amsgrad)
    for batch in batches:
        optimizer.zero_grad()
        task.losses(model, "reference", batch).mean().backward()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1},
        {"amsgrad": True, "learning_rate": 0.3},
        {"clip_norm": 0.05, "learning_rate": 0.03},
    ],
)
def test_weights_are_those_of_a_plain_loop_over_the_same_batches(tmp_path, settings):
    task, config = Recording(), TrainConfig(epochs=5, batch_size=8, **settings)
    model = linear().eval()  # training mode is up to the loop
    train(model, task, config, tmp_path, progress=False)
    task.data["reference"] = task.data["train"]
    expected = reference(linear(), task, config, list(task.batches))
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    torch.testing.assert_close(last["weight"], expected.weight.data, rtol=1e-5, atol=1e-7)
    assert not torch.equal(last["weight"], linear().weight)


def test_each_epoch_is_another_permutation_and_depends_on_the_seed_only(tmp_path):
    orders = []
    for run, seed in enumerate((1, 1, 2)):
        task = Recording()
        train(linear(), task, TrainConfig(epochs=2, batch_size=8, seed=seed), tmp_path / str(run), progress=False)
        assert [len(batch) for batch in task.batches] == [8, 8, 8, 8, 4] * 2
        orders.append(torch.cat(task.batches).view(2, 36))
    assert torch.equal(orders[0].sort(dim=1).values, torch.arange(36).expand(2, 36))
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])
    assert not torch.equal(orders[0], orders[2])


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_examples(tmp_path):
    task = Regression()
    train(linear(), task, TrainConfig(epochs=1, batch_size=8, learning_rate=1e-12), tmp_path, progress=False)
    expected = mean_loss(linear(), task, "train", 36)
    assert read_records(tmp_path)[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_small_regression_is_solved(tmp_path):
    config = TrainConfig(epochs=60, batch_size=8, learning_rate=0.1, schedule="warmup-cosine", warmup_steps=10)
    model, task = linear(), Regression()
    result = train(model, task, config, tmp_path, progress=False)
    x, y = task.data["train"]
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(36, 1)], dim=1), y[:, None]).solution
    torch.testing.assert_close(model.weight.data, solution[:5].T, rtol=0.0, atol=0.1)
    assert result.metrics["test"]["mse"] < 0.2


@pytest.mark.parametrize(
    ("direction", "scores", "best"),
    [
        ("min", [3.0, 1.0, 2.0, 1.0], 2),
        ("max", [3.0, 1.0, 4.0, 2.0], 3),
        ("max", [math.nan, -math.inf, -2.0, math.nan], 3),
        ("min", [math.nan, math.inf, 5.0, 6.0], 3),
    ],
)
def test_the_weights_of_the_best_validation_are_tested_and_kept(tmp_path, direction, scores, best):
    task, model = Scripted(scores, direction), linear()
    result = train(model, task, TrainConfig(epochs=4, batch_size=8), tmp_path, progress=False)
    weights = task.seen[best - 1]
    assert result.best_epoch == best
    assert result.metrics == {"validation": {"score": scores[best - 1]}, "test": {"score": float(weights.sum())}}
    assert torch.equal(model.weight, weights)
    assert torch.equal(load_file(tmp_path / "best.safetensors")["weight"], weights)
    assert not model.training
    recorded = [record["validation"]["score"] for record in read_records(tmp_path)]
    assert [math.isfinite(score) for score in recorded] == [math.isfinite(score) for score in scores]
    assert "NaN" not in (tmp_path / "records.jsonl").read_text()


def test_a_run_without_any_finite_validation_says_so(tmp_path):
    with pytest.raises(EngineError, match="'score' was not a finite number after any epoch"):
        train(linear(), Scripted([math.nan] * 2, "min"), TrainConfig(epochs=2), tmp_path, progress=False)


def test_the_folder_tells_the_whole_run(tmp_path):
    config = TrainConfig(epochs=5, batch_size=8, validate_every=2)
    result = train(linear(), Regression(), config, tmp_path / "new/run", recipe={"k": 8}, progress=False)
    folder = tmp_path / "new/run"
    records = read_records(folder)
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5]
    assert [record["step"] for record in records] == [5, 10, 15, 20, 25]
    assert ["validation" in record for record in records] == [False, True, False, True, True]
    assert all(record["learning_rate"] == 1e-3 and record["seconds"] > 0 for record in records)
    assert (result.epochs, result.steps, result.parameters) == (5, 25, 6)
    assert Result.load(folder) == result
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["recipe"] == {"k": 8}
    assert recipe["train"]["validate_every"] == 2
    assert len(recipe["sha256"]) == 64
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    samples = load_file(folder / "samples.safetensors")
    assert samples["prediction"].shape == (3, 1)
    assert {path.name for path in folder.iterdir()} == {
        "records.jsonl", "checkpoint.pt", "best.safetensors", "samples.safetensors",
        "result.json", "recipe.json", "environment.json",
    }  # fmt: skip


def test_progress_shows_epoch_losses_and_rate(tmp_path, capsys):
    train(linear(), Regression(), TrainConfig(epochs=2, batch_size=8), tmp_path)
    shown = capsys.readouterr().err
    for part in ("epoch 2/2", "10/10", "step", "train loss", "validation mse", "best"):
        assert part in shown


def test_training_works_outside_the_main_thread(tmp_path):
    arguments = (linear(), Regression(), TrainConfig(epochs=1), tmp_path)
    thread = threading.Thread(target=train, args=arguments, kwargs={"progress": False})
    thread.start()
    thread.join()
    assert Result.load(tmp_path).epochs == 1


@pytest.mark.parametrize(("precision", "inside"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_mixed_precision_covers_the_model_and_nothing_else(tmp_path, precision, inside):
    model, task = Editor(), Editing()
    config = TrainConfig(epochs=3, batch_size=8, learning_rate=0.1, precision=precision)
    train(model, task, config, tmp_path, progress=False)
    assert set(model.types) == {inside}
    assert set(task.types) == {torch.float32}
    records = read_records(tmp_path)
    assert records[-1]["train_loss"] < 0.8 * records[0]["train_loss"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_like_full_precision(tmp_path, precision):
    """With L2 regularisation inside Adam and clipping, gradients of a wrong scale would lead elsewhere."""
    weights = {}
    for name in ("no", precision):
        config = TrainConfig(
            epochs=200,
            batch_size=36,
            learning_rate=0.05,
            optimizer="adam",
            weight_decay=2.0,
            clip_norm=4.0,
            precision=name,
        )
        model = linear()
        train(model, Regression(), config, tmp_path / name, progress=False)
        weights[name] = model.weight.data
    torch.testing.assert_close(weights[precision], weights["no"], rtol=0.0, atol=0.03)


def test_random_numbers_depend_on_seed_step_and_process_only():
    def draw(seed, step, process):
        seed_step(seed, step, process, torch.device("cpu"))
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    draws = [draw(*numbers) for numbers in itertools.product(range(3), repeat=3)]
    for generator in zip(*draws, strict=True):
        assert len(set(generator)) == 27
    assert draw(0, 1, 2) == draws[5]


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_diverged_run_names_the_step_and_keeps_what_was_good(tmp_path, precision):
    class Diverging(Recording):
        def losses(self, model, split, index):
            losses = super().losses(model, split, index)
            return losses * math.nan if len(self.batches) == 8 else losses

    config = TrainConfig(epochs=3, batch_size=8, precision=precision)
    with pytest.raises(EngineError, match=r"the loss is nan in epoch 2, step 3 of 5.*lower learning_rate"):
        train(linear(), Diverging(), config, tmp_path, progress=False)
    assert [record["epoch"] for record in read_records(tmp_path)] == [1]
    assert load_file(tmp_path / "best.safetensors")["weight"].isfinite().all()


def test_diverged_weights_are_never_saved(tmp_path):
    class Exploding(Regression):
        def losses(self, model, split, index):
            return torch.where(index == 0, super().losses(model, split, index).sqrt() * 0, 1.0)  # 0 · ∞ in backward

    model = linear()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    task = Exploding()
    task.data["train"][1][:] = 0
    config = TrainConfig(epochs=3, batch_size=36, checkpoint_seconds=0)
    with pytest.raises(EngineError, match=r"bias is not finite in epoch 1, after step 1 of 1"):
        train(model, task, config, tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_bad_tasks_are_named(tmp_path):
    class Scalar(Regression):
        def losses(self, model, split, index):
            return super().losses(model, split, index).mean()

    class NoMetric(Regression):
        selection = "accuracy"

    with pytest.raises(EngineError, match=r"one loss per example, shape \[32\]; it returned shape \[\]"):
        train(linear(), Scalar(), TrainConfig(), tmp_path / "a", progress=False)
    with pytest.raises(EngineError, match=r"selects by 'accuracy', but evaluate\(\) returned \['batch_size', 'mse'\]"):
        train(linear(), NoMetric(), TrainConfig(), tmp_path / "b", progress=False)
    with pytest.raises(EngineError, match="no examples in its validation split"):
        train(linear(), Regression(sizes=(4, 0, 4)), TrainConfig(), tmp_path / "c", progress=False)
    with pytest.raises(EngineError, match="Linear has no trainable parameter"):
        train(linear().requires_grad_(False), Regression(), TrainConfig(), tmp_path / "d", progress=False)


@pytest.mark.parametrize("batch_size", [1, 7, 36, 100])
def test_mean_loss_does_not_depend_on_batches_and_leaves_the_model_as_it_was(batch_size):
    model, task = mlp(), Regression()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    value = mean_loss(model, task, "train", batch_size)
    with evaluating(model):
        losses = task.losses(model, "train", torch.arange(36))
        assert not losses.requires_grad
    assert value == pytest.approx(float(losses.double().mean()), rel=1e-6)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_import_is_light():
    code = "import sys, weightspace.engine; print({'accelerate', 'pandas', 'scipy'} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_mean_loss_refuses_a_batch_size_below_one():
    for batch_size in (0, -1):
        with pytest.raises(EngineError, match=f"batch_size: expected at least 1, found {batch_size}"):
            mean_loss(linear(), Regression(), "test", batch_size)
