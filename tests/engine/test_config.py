"""Settings and learning-rate schedules."""

import pytest
import torch
from engine_toys import Regression, linear
from torch.optim import lr_scheduler

from weightspace import EngineError
from weightspace.engine import TrainConfig, read_records, train
from weightspace.engine._optimization import Optimization


def rates(config, total_steps):
    """The learning rate of every step."""
    model = linear()
    optimization = Optimization(model, config, total_steps, torch.device("cpu"))
    found = []
    for step in range(total_steps):
        optimization.step(model.weight.sum(), step)
        found.append(optimization.rate)
    return found


def test_warm_up_and_cosine_are_those_of_torch():
    config = TrainConfig(learning_rate=0.5, schedule="warmup-cosine", warmup_steps=4, min_learning_rate=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 4, total_iters=3)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=16, eta_min=0.1)
    found = rates(config, 20)
    for step in range(20):
        assert found[step] == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        (rise if step < 3 else fall).step() if step != 3 else None
    assert rates(TrainConfig(learning_rate=0.5, schedule="warmup", warmup_steps=4), 20) == found[:4] + [0.5] * 16
    assert rates(TrainConfig(learning_rate=0.5), 3) == [0.5] * 3


def test_plateau_follows_the_training_loss_of_whole_epochs(tmp_path):
    class Stuck(Regression):
        def losses(self, model, split, index):
            return super().losses(model, split, index) * 0 + 1

    config = TrainConfig(epochs=10, schedule="plateau", plateau_patience=2, min_learning_rate=3e-4)
    train(linear(), Stuck(), config, tmp_path, progress=False)
    found = [record["learning_rate"] for record in read_records(tmp_path)]
    # the first epoch sets the mark, three without progress halve the rate, 2.5e-4 would be below the floor
    assert found == pytest.approx([1e-3] * 4 + [5e-4] * 3 + [3e-4] * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0: expected at least 1"),
        ({"batch_size": 0}, "batch_size=0: expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: expected a positive"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: expected a positive"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: expected at least 0"),
        ({"optimizer": "sgd"}, "optimizer='sgd': expected one of 'adamw', 'adam'"),
        ({"schedule": "cosine"}, "schedule='cosine': expected one of 'constant', 'warmup'"),
        ({"precision": "fp32"}, "precision='fp32': expected one of 'no'"),
        ({"clip_norm": 0.0}, "clip_norm=0.0: expected a positive number or None"),
        ({"plateau_factor": 1.0}, "plateau_factor=1.0: expected between"),
        ({"epochs": "3"}, "epochs='3': expected a whole number"),
        ({"epochs": 1.5}, "epochs=1.5: expected a whole number"),
        ({"seed": True}, "seed=True: expected a whole number"),
        ({"amsgrad": 1}, "amsgrad=1: expected True or False"),
        ({"learning_rate": "1e-3"}, "learning_rate='1e-3': expected a number"),
        ({"clip_norm": "1"}, "clip_norm='1': expected a number or None"),
        ({"clip_norm": float("inf")}, "clip_norm=inf: expected a positive number or None"),
        ({"weight_decay": float("inf")}, "weight_decay=inf: expected at least 0, and finite"),
        ({"schedule": []}, r"schedule=\[\]: expected one of"),
        ({"warmup_steps": 5}, "warmup_steps=5: expected 0 with schedule='constant'"),
        ({"schedule": "warmup"}, "warmup_steps=0: expected at least 1 with schedule='warmup'"),
        ({"schedule": "plateau", "learning_rate": 1e-4}, "min_learning_rate=0.0001: expected below learning_rate"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, message):
    with pytest.raises(EngineError, match=message):
        TrainConfig(**settings)
