"""Trains a block of classifiers at once. Each becomes what it would become alone."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ._dropout import Dropout
from ._optimizer import Optimizer
from ._recipe import NetworkRecipe, Settings, initial_weights

__all__ = ["MEASURED", "Examples", "Trained", "train_block"]

MEASURED = ("test_accuracy", "test_loss", "train_accuracy", "train_loss", "diverged")
_AT_ONCE = 100  # examples in a measurement


@dataclass(frozen=True)
class Examples:
    """What networks learn from.

    Attributes:
        inputs: ``[examples, ...]``; numbers of words if there are vectors.
        labels: their classes.
        vectors: one for each word.
    """

    inputs: Tensor
    labels: "Int64[Tensor, ' examples']"
    vectors: "Float[Tensor, 'words width'] | None" = None

    @property
    def dtype(self) -> torch.dtype:
        """Of what networks are given."""
        return self.inputs.dtype if self.vectors is None else self.vectors.dtype

    def take(self, rows: "Int64[Tensor, '...']") -> Tensor:
        """The inputs of some examples as networks are given them."""
        chosen = self.inputs[rows]
        return chosen if self.vectors is None else self.vectors[chosen]


@dataclass(frozen=True)
class Trained:
    """Networks at their checkpoints, the checkpoints of one network side by side.

    Attributes:
        weights: each parameter by name, ``[rows, *shape]``.
        columns: what was measured, ``[rows]`` each.
    """

    weights: dict[str, Tensor]
    columns: dict[str, Tensor]


class _Networks:
    """Networks in training: all weights of each as one row, and views that are the parameters."""

    def __init__(
        self, recipe: NetworkRecipe, settings: list[Settings], streams: list[np.random.Generator], dtype: torch.dtype
    ) -> None:
        module, self.recipe = recipe.module(), recipe
        seeds = [int(stream.integers(2**63)) for stream in streams]
        states = [
            initial_weights(module, s, torch.Generator().manual_seed(seed))
            for s, seed in zip(settings, seeds, strict=True)
        ]
        self.shapes = {name: tensor.shape for name, tensor in states[0].items()}
        flat = [torch.cat([tensor.flatten() for tensor in state.values()]) for state in states]
        self.rows = torch.stack(flat).to(dtype).requires_grad_()
        kernels = [torch.full((shape.numel(),), float(len(shape) > 1)) for shape in self.shapes.values()]
        self.decay = 2 * _column(settings, "l2reg", dtype) * torch.cat(kernels)
        self.dropout = (
            Dropout([s["dropout"] for s in settings], streams) if any(s["dropout"] for s in settings) else None
        )

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, stacked."""
        parts = self.rows.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def gradient(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Of the mean cross entropy of each network plus ``l2reg`` times the squares of its weights, without biases."""
        logits = self.recipe.logits(self.parameters(), inputs, self.dropout)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]
        (gradient,) = torch.autograd.grad(loss, self.rows)
        return gradient + self.decay * self.rows.detach()

    @torch.no_grad()
    def measure(self, examples: Examples, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Accuracy and cross entropy of each network on examples of its own: ``rows`` are ``[networks, examples]``."""
        parameters, right, loss = self.parameters(), torch.zeros(len(rows)), torch.zeros(len(rows))
        for part in rows.split(_AT_ONCE, dim=1):
            labels = examples.labels[part]
            logits = self.recipe.logits(parameters, examples.take(part))
            right += (logits.argmax(-1) == labels).sum(1)
            loss += F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).sum(1)
        return right / rows.shape[1], loss / rows.shape[1]


def train_block(
    recipe: NetworkRecipe,
    train: Examples,
    test: Examples,
    seed: int,
    numbers: Sequence[int],
    stopped: threading.Event | None = None,
    on_epoch: Callable[[], object] = lambda: None,
) -> Trained:
    """Trains some networks of a zoo, which have the same share of the training examples.

    Args:
        recipe: what to train, and how.
        train: the training examples; each network has its own random part of them.
        test: the examples on which accuracy is measured.
        seed: of the zoo.
        numbers: of the networks in the zoo. Settings, initial weights, order of examples and dropout of a network
            depend on the seed and its number alone.
        stopped: once set, training ends with `InterruptedError`.
        on_epoch: called after each epoch.
    """
    settings = [recipe.settings(seed, number) for number in numbers]
    streams = [np.random.default_rng([seed, number, 1]) for number in numbers]
    networks = _Networks(recipe, settings, streams, train.dtype)
    optimizer = Optimizer([s["optimizer"] for s in settings], networks.rows)
    rates = _column(settings, "learning_rate", train.dtype)
    size = max(1, round(settings[0]["train_fraction"] * len(train.labels)))
    batch = min(recipe.batch_size, size)
    own = _permutations(streams, len(train.labels))[:, :size]
    everything = torch.arange(len(test.labels)).expand(len(streams), -1)
    rows, measured = [], []
    for epoch in range(1, recipe.epochs + 1):
        order = own.gather(1, _permutations(streams, size))
        for part in order[:, : size // batch * batch].split(batch, dim=1):
            if stopped is not None and stopped.is_set():
                raise InterruptedError
            gradient = networks.gradient(train.take(part), train.labels[part])
            optimizer.step(gradient, rates * recipe.rate(epoch))
        if epoch in recipe.checkpoints:
            known = (*networks.measure(test, everything), *networks.measure(train, own[:, : len(test.labels)]))
            measured.append((*known, ~optimizer.alive[:, 0]))
            rows.append(networks.rows.detach().clone())
        on_epoch()
    columns = [torch.stack(column, dim=1).flatten() for column in zip(*measured, strict=True)]
    networks.rows = torch.stack(rows, dim=1).flatten(0, 1)
    return Trained(networks.parameters(), dict(zip(MEASURED, columns, strict=True)))


def _column(settings: list[Settings], name: str, dtype: torch.dtype) -> "Float[Tensor, 'networks 1']":
    return torch.tensor([[s[name]] for s in settings], dtype=dtype)


def _permutations(streams: list[np.random.Generator], size: int) -> "Int64[Tensor, 'networks {size}']":
    return torch.from_numpy(np.stack([stream.permutation(size) for stream in streams]))
