"""How the classifiers of a zoo are trained: the settings of each network, its initial weights, the schedule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..._errors import ZooError
from ._cnn import SmallCNN, cnn_logits
from ._dropout import Dropout
from ._transformer import SmallTextTransformer, SmallViT, transformer_logits

__all__ = ["Architecture", "NetworkRecipe", "Settings", "network"]

Settings = dict[str, Any]

Architecture = Literal["cnn", "transformer", "text-transformer"]
_ACTIVATIONS = {"cnn": ("relu", "tanh"), "transformer": ("relu",), "text-transformer": ("relu",)}


def network(architecture: Architecture, activation: Literal["relu", "tanh"], classes: int) -> nn.Module:
    """One network of a zoo; KeyError for an unknown architecture."""
    if architecture == "cnn":
        return SmallCNN(activation, classes)
    return {"transformer": SmallViT, "text-transformer": SmallTextTransformer}[architecture](classes)


@dataclass(frozen=True)
class NetworkRecipe:
    """One kind of zoo: an architecture, how long its networks are trained, and when they are stored.

    Attributes:
        architecture: "cnn" for `SmallCNN`, "transformer" for `SmallViT`, "text-transformer" for `SmallTextTransformer`.
        activation: "relu" or "tanh" for CNNs; "relu" for transformers.
        classes: number of classes.
        epochs: passes over the training part of each network.
        checkpoints: the epochs after which networks are stored, increasing.
        batch_size: examples in a step.
        together: networks trained at once, which have the same share of the training examples.

    Raises:
        ZooError: for settings out of range.
    """

    architecture: Architecture
    activation: Literal["relu", "tanh"]
    classes: int
    epochs: int
    checkpoints: tuple[int, ...]
    batch_size: int
    together: int

    def __post_init__(self) -> None:
        known = _ACTIVATIONS.get(self.architecture)
        if known is None:
            raise ZooError(f"architecture: expected one of {', '.join(_ACTIVATIONS)}, found {self.architecture!r}")
        if self.activation not in known:
            expected = " or ".join(known)
            raise ZooError(f"activation of a {self.architecture} zoo: expected {expected}, found {self.activation!r}")
        stops = list(self.checkpoints)
        if not stops or stops != sorted(set(stops)) or not 1 <= stops[0] <= stops[-1] <= self.epochs:
            raise ZooError(f"checkpoints: expected increasing epochs from 1 to {self.epochs}, found {stops}")

    def module(self) -> nn.Module:
        """One network."""
        return network(self.architecture, self.activation, self.classes)

    def logits(self, parameters: Mapping[str, Tensor], inputs: Tensor, dropout: Dropout | None = None) -> Tensor:
        """The outputs ``[networks, batch, classes]`` of many networks, each on inputs of its own."""
        if self.architecture == "cnn":
            return cnn_logits(parameters, inputs, self.activation, dropout)
        return transformer_logits(parameters, inputs, dropout)

    def rate(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, from 1 on: CNNs 1; transformers warm up, then half a cosine."""
        if self.architecture == "cnn":
            return 1.0
        warm = max(1, self.epochs // 10)
        done = max(0, epoch - warm) / max(1, self.epochs - warm + 1)
        return min(1.0, epoch / warm) * (1 + math.cos(math.pi * done)) / 2

    def settings(self, seed: int, network: int) -> Settings:
        """The hyper-parameters of a network: they depend on the seed and its number alone.

        All are drawn from the published ranges, but for the share of the training examples, which changes after every
        ``together`` networks.
        """
        stream = np.random.default_rng([seed, network, 0])
        drawn = _cnn_settings(stream) if self.architecture == "cnn" else _transformer_settings(stream)
        fractions = (1.0, 0.5, 0.25, 0.1) if self.architecture == "cnn" else (1.0, 0.9, 0.8, 0.7)
        fraction = fractions[network // self.together % len(fractions)]
        return {"activation": self.activation, **drawn, "train_fraction": fraction}


def initial_weights(module: nn.Module, settings: Settings, generator: torch.Generator) -> dict[str, Tensor]:
    """The weights of one network before training, float32: biases are 0."""
    weights = {name: torch.zeros(p.shape) for name, p in module.named_parameters()}
    how, std = settings["w_init"], settings["init_std"]
    for tensor in weights.values():
        if tensor.dim() == 1:
            continue
        if how == "normal":
            nn.init.normal_(tensor, 0.0, std, generator=generator)
        elif how == "truncated_normal":
            nn.init.trunc_normal_(tensor, 0.0, std, -2 * std, 2 * std, generator=generator)
        elif how == "glorot_normal":
            nn.init.xavier_normal_(tensor, generator=generator)
        elif how == "he_normal":
            nn.init.kaiming_normal_(tensor, nonlinearity="relu", generator=generator)
        else:
            nn.init.orthogonal_(tensor, generator=generator)
    return weights


def _cnn_settings(stream: np.random.Generator) -> Settings:
    """Unterthiner et al. (2020), arXiv 2002.11448, appendix."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(stream.uniform(np.log(low), np.log(high))))

    return {
        "learning_rate": log_uniform(5e-4, 5e-2),
        "l2reg": log_uniform(1e-8, 1e-2),
        "dropout": float(stream.uniform(0, 0.7)),
        "init_std": log_uniform(1e-3, 0.5),
        "w_init": str(stream.choice(["normal", "truncated_normal", "glorot_normal", "he_normal", "orthogonal"])),
        "optimizer": str(stream.choice(["adam", "sgd_momentum", "rmsprop"])),
    }


def _transformer_settings(stream: np.random.Generator) -> Settings:
    """Tran et al. (2024), arXiv 2410.04209, appendix."""
    optimizer = str(stream.choice(["adam", "rmsprop", "sgd", "sgd_momentum"]))
    if optimizer in ("adam", "rmsprop"):
        rates, deviations = (3e-4, 5e-4, 1e-3, 3e-3, 5e-3, 1e-2, 3e-2, 5e-2), (0.1, 0.2, 0.3, 0.4, 0.5)
    else:
        rates, deviations = (1e-3, 3e-3, 5e-3, 7e-3, 1e-2, 3e-2, 5e-2, 7e-2), (0.1, 0.15, 0.2, 0.25, 0.3)
    return {
        "learning_rate": float(stream.choice(rates)),
        "l2reg": float(stream.choice([1e-8, 1e-7, 1e-6, 1e-4, 1e-2])),
        "dropout": float(stream.choice([0.0, 0.05, 0.1, 0.15, 0.2])),
        "init_std": float(stream.choice(deviations)),
        "w_init": "truncated_normal",
        "optimizer": optimizer,
    }
