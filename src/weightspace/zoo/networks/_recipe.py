"""How the classifiers of a zoo are trained: the settings of each network, its initial weights, the schedule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..._errors import ZooError
from ._cnn import SmallCNN, cnn_logits
from ._dropout import Dropout
from ._vit import SmallViT, vit_logits

__all__ = ["NetworkRecipe", "Settings"]

Settings = dict[str, Any]

_FRACTIONS = {"cnn": (1.0, 0.5, 0.25, 0.1), "transformer": (1.0, 0.9, 0.8, 0.7)}


@dataclass(frozen=True)
class NetworkRecipe:
    """One kind of zoo: an architecture, how long its networks are trained, and when they are stored.

    Attributes:
        architecture: "cnn" for `SmallCNN`, "transformer" for `SmallViT`.
        activation: "relu" or "tanh" for CNNs; "relu" for transformers.
        classes: number of classes.
        epochs: passes over the training part of each network.
        checkpoints: the epochs after which networks are stored, increasing.
        batch_size: images in a step.
        together: networks trained at once, which have the same share of the training images.

    Raises:
        ZooError: for settings out of range.
    """

    architecture: Literal["cnn", "transformer"]
    activation: Literal["relu", "tanh"]
    classes: int
    epochs: int
    checkpoints: tuple[int, ...]
    batch_size: int
    together: int

    def __post_init__(self) -> None:
        known = {"cnn": ("relu", "tanh"), "transformer": ("relu",)}
        if self.architecture not in known:
            raise ZooError(f"architecture: expected one of {', '.join(known)}, found {self.architecture!r}")
        if self.activation not in known[self.architecture]:
            expected = " or ".join(known[self.architecture])
            raise ZooError(f"activation of a {self.architecture} zoo: expected {expected}, found {self.activation!r}")
        stops = list(self.checkpoints)
        if not stops or stops != sorted(set(stops)) or not 1 <= stops[0] <= stops[-1] <= self.epochs:
            raise ZooError(f"checkpoints: expected increasing epochs from 1 to {self.epochs}, found {stops}")

    def module(self) -> nn.Module:
        """One network."""
        return SmallCNN(self.activation, self.classes) if self.architecture == "cnn" else SmallViT(self.classes)

    def logits(self, parameters: Mapping[str, Tensor], images: Tensor, dropout: Dropout | None = None) -> Tensor:
        """The outputs ``[networks, batch, classes]`` of many networks, each on images of its own."""
        if self.architecture == "cnn":
            return cnn_logits(parameters, images, self.activation, dropout)
        return vit_logits(parameters, images, dropout)

    def inputs(self, images: "Float[Tensor, 'images height width']") -> "Float[Tensor, 'images 1 height width']":
        """Grey images in [0, 1] as the networks take them; transformers from -1 to 1."""
        return images[:, None] if self.architecture == "cnn" else images[:, None] * 2 - 1

    def rate(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, from 1 on: CNNs 1; transformers warm up, then half a cosine."""
        if self.architecture == "cnn":
            return 1.0
        warm = max(1, self.epochs // 10)
        done = max(0, epoch - warm) / max(1, self.epochs - warm + 1)
        return min(1.0, epoch / warm) * (1 + math.cos(math.pi * done)) / 2

    def settings(self, seed: int, network: int) -> Settings:
        """The hyper-parameters of a network: they depend on the seed and its number alone.

        All are drawn from the published ranges, but for the share of the training images, which changes after every
        ``together`` networks.
        """
        stream = np.random.default_rng([seed, network, 0])
        drawn = _cnn_settings(stream) if self.architecture == "cnn" else _transformer_settings(stream)
        fractions = _FRACTIONS[self.architecture]
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
