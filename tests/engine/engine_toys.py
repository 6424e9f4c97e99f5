"""Small tasks for the training loop, and a program that trains them and gets killed.

``python engine_toys.py kill FOLDER`` trains in child processes that are killed in the middle of a checkpoint or at
random moments, and prints how each one ended. ``parallel FOLDER``, under torchrun, trains on all processes;
``parallel-killed FOLDER`` does so until they kill themselves in the second epoch.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from weightspace.engine import TrainConfig, _loop, mean_loss, train
from weightspace.space import siren

KILL_CONFIG = {"epochs": 4, "batch_size": 8, "schedule": "plateau", "plateau_patience": 0, "min_learning_rate": 1e-6}
# L2 regularisation inside Adam and a norm that clips some steps only: the scale of the gradient matters
PARALLEL_CONFIG = {"epochs": 3, "batch_size": 7, "optimizer": "adam", "weight_decay": 5.0, "clip_norm": 4.0}


class Regression:
    """Linear regression with noise; 36 training examples, so that batches of 7 and 8 leave a smaller one."""

    name, selection, direction = "regression", "mse", "min"

    def __init__(self, sizes=(36, 20, 21), features=5):
        generator = torch.Generator().manual_seed(0)
        slope = torch.randn(features, generator=generator)
        self.data = {}
        for split, size in zip(("train", "validation", "test"), sizes, strict=True):
            x = torch.randn(size, features, generator=generator)
            self.data[split] = x, x @ slope + 0.3 * torch.randn(size, generator=generator)

    def size(self, split):
        return len(self.data[split][1])

    def to(self, device):
        self.data = {split: (x.to(device), y.to(device)) for split, (x, y) in self.data.items()}

    def losses(self, model, split, index):
        x, y = (values[index] for values in self.data[split])
        return (model(x)[:, 0] - y).square()

    def evaluate(self, model, split, batch_size):
        return {"mse": mean_loss(model, self, split, batch_size), "batch_size": batch_size}

    def samples(self, model):
        return {"prediction": model(self.data["test"][0][:3])}


class NoisyRegression(Regression):
    """Every step draws from all three global generators."""

    def losses(self, model, split, index):
        noise = random.random() + np.random.rand() + torch.rand(()) if model.training else 0.0  # noqa: NPY002
        return super().losses(model, split, index) * (1 + noise)


class SlowRegression(NoisyRegression):
    """Leaves time to be killed in."""

    def losses(self, model, split, index):
        time.sleep(0.05 * model.training)
        return super().losses(model, split, index)


class KilledRegression(Regression):
    """Ends its process in the fifth step of the second epoch of six."""

    steps_left = 11

    def losses(self, model, split, index):
        self.steps_left -= model.training
        if self.steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().losses(model, split, index)


class Editor(nn.Module):
    """A matrix product on weight features; notes the type that autocast gives it."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(1, 1)
        self.types = []

    def forward(self, theta):
        output = theta.map(self.mix)
        if self.training:
            self.types.append(output.dtype)
        return output


class Editing(Regression):
    """Editing weight features; notes the type that the model returns."""

    def __init__(self):
        super().__init__()
        self.theta = siren([2, 4, 1]).sample(36, torch.Generator().manual_seed(0))
        self.types = []

    def losses(self, model, split, index):
        output = model(self.theta[index])
        self.types.append(output.dtype)
        return sum((tensor - 1).square().flatten(1).sum(dim=1) for tensor in output.values())

    def samples(self, model):
        return dict(model(self.theta[:2]).items())


class Unused(nn.Module):
    """A linear model and a parameter that has no influence."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 1)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.linear(x)


def linear():
    torch.manual_seed(7)
    return nn.Linear(5, 1)


def editor():
    torch.manual_seed(7)
    return Editor()


def mlp():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 1))


def unused():
    torch.manual_seed(7)
    return Unused()


def train_in_child(folder, die_in_save=0):
    """Train until the end or until killed: by the parent, or by itself halfway through a checkpoint."""
    save, saves = torch.save, 0

    def save_half(state, path):
        nonlocal saves
        saves += 1
        save(state, path)
        if saves == die_in_save:
            os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half
    config = TrainConfig(**KILL_CONFIG, checkpoint_seconds=0)
    train(mlp(), SlowRegression(), config, folder, progress=False)


def train_with_kills(folder, halfway=4, at_random=12):
    """Kill ``halfway`` children in the middle of a checkpoint, then ``at_random`` at random moments; let one finish."""
    train(mlp(), NoisyRegression(), TrainConfig(epochs=1), f"{folder}-warm", progress=False)  # imports, once for all
    delays = random.Random(0)
    for attempt in range(halfway + at_random + 1):
        child = os.fork()
        if child == 0:
            train_in_child(folder, die_in_save=3 if attempt < halfway else 0)
            os._exit(0)
        if halfway <= attempt < halfway + at_random:
            time.sleep(delays.uniform(0.0, 0.2))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        print("finished" if status == 0 else f"killed by {os.WTERMSIG(status)}")


if __name__ == "__main__":
    command, folder = sys.argv[1:]
    if command == "kill":
        train_with_kills(folder)
    elif command == "parallel":
        train(unused(), Regression(), TrainConfig(**PARALLEL_CONFIG), f"{folder}/regression", progress=False)
        train(editor(), Editing(), TrainConfig(**PARALLEL_CONFIG), f"{folder}/editing", progress=False)
        train(mlp(), Regression(), TrainConfig(epochs=2, batch_size=9), f"{folder}/mlp", progress=False)
    elif command == "parallel-killed":
        _loop._STEPS_PER_AGREEMENT = 4
        config = TrainConfig(**PARALLEL_CONFIG, checkpoint_seconds=0)
        train(unused(), KilledRegression(), config, f"{folder}/regression", progress=False)
