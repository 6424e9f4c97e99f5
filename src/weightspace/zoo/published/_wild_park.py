"""The CNN Wild Park (Kofinas et al., 2024, arXiv 2403.12143): CNNs of many architectures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..._errors import SpaceError, ZooError
from ...space import WeightSpace, from_module
from .._checkpoints import with_bar
from .._state_files import read_content
from .._zoo import Zoo, split_names
from ._files import Source

__all__ = ["ParkCNN", "cnn_wild_park"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "none": lambda x: x,
}
_SETTINGS = ("channels", "kernel_size", "stride", "padding", "residual", "activation")


class ParkCNN(nn.Module):
    """Convolutions with residual connections between any two of them, the mean over the positions, a linear layer.

    Args:
        config: of each convolution its kernel size, stride, padding, activation, and the number of the one whose output
            is added in front of the activation (-1 for none; as many channels as both have); the channels from the
            input on; the number of classes.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        pairs = zip(config["channels"], config["channels"][1:], strict=False)
        sizes = (config["kernel_size"], config["stride"], config["padding"])
        self.layers = nn.ModuleList(
            nn.Conv2d(*pair, kernel, stride=stride, padding=padding)
            for pair, kernel, stride, padding in zip(pairs, *sizes, strict=True)
        )
        self.fc = nn.Linear(config["channels"][-1], config["n_classes"])

    def forward(self, x: Tensor) -> Tensor:
        """The logits of images."""
        kept: list[Tensor] = []
        for layer, source, name in zip(self.layers, self.config["residual"], self.config["activation"], strict=True):
            x = layer(x)
            if source >= 0:
                n = min(x.shape[1], kept[source].shape[1])
                joined = x[:, :n] + kept[source][:, :n]
                x = joined if n == x.shape[1] else torch.cat([joined, x[:, n:]], dim=1)
            x = _ACTIVATIONS[name](x)
            kept.append(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def cnn_wild_park(source: Source) -> tuple[Zoo, ...]:
    """CNNs in ``RUN/checkpoint_STEP/checkpoint.pt``; a zoo for each architecture."""
    files = {"/".join(file.parts[-3:]): file for file in sorted(source.folder.rglob("checkpoint.pt"))}
    source.refuse_none(files, "RUN/checkpoint_STEP/checkpoint.pt")
    if source.published:
        file = source.split_file("*.json", "the published split")
        split = source.listed(file, files, slice(-3, None))
    else:
        runs = sorted({name.split("/")[0] for name in files})
        of_run = dict(zip(runs, split_names(len(runs), None, source.seed), strict=True))
        split = {name: of_run[name.split("/")[0]] for name in files}
    groups: dict[str, list[tuple[str, dict[str, Tensor], float, int]]] = {}
    for name in with_bar([name for name in files if name in split]):
        config, state, accuracy, step = _checkpoint(files[name])
        groups.setdefault(json.dumps(config, sort_keys=True), []).append((name, state, accuracy, step))
    return tuple(_zoo(source, json.loads(config), rows, split) for config, rows in groups.items())


def _zoo(
    source: Source, config: dict[str, Any], rows: list[tuple[str, dict[str, Tensor], float, int]], split: dict[str, str]
) -> Zoo:
    names, states, accuracy, step = zip(*rows, strict=True)
    try:
        theta = _space(config).stack(states)
    except SpaceError as error:
        raise ZooError(f"{source.folder}: one of {', '.join(names)} does not fit its config: {error}") from error
    columns = {
        "index": np.arange(len(names)),
        "split": np.array([split[name] for name in names]),
        "test_accuracy": np.array(accuracy),
        "step": np.array(step),
        "run": np.array([name.split("/")[0] for name in names]),
    }
    recipe = {"architecture": "park-cnn", **config}
    return source.zoo(theta, columns, recipe=recipe, input_shape=[config["channels"][0], 32, 32])


def _space(config: Mapping[str, Any]) -> WeightSpace:
    return from_module(ParkCNN(config), torch.randn(2, config["channels"][0], 16, 16))


def _checkpoint(file: Path) -> tuple[dict[str, Any], dict[str, Tensor], float, int]:
    """The settings, the state dict, the test accuracy and the epoch."""
    try:
        content = read_content(file)
    except ZooError as error:
        hint = "; the page on published data sets tells how to save these checkpoints as plain values"
        raise ZooError(f"{file}: {error}{hint if 'pickle' in str(error) else ''}") from error
    try:
        given = content["config"]
        config = {key: list(given[key]) for key in _SETTINGS} | {"n_classes": int(given["n_classes"])}
        _check(config)
        return config, dict(content["model"]), float(content["last_result"]["test/acc"]), int(content["iteration"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ZooError(
            f"{file}: expected 'model', 'config' with {', '.join((*_SETTINGS, 'n_classes'))}, 'iteration' and "
            f"'last_result' with 'test/acc' ({error!r})"
        ) from error


def _check(config: Mapping[str, Any]) -> None:
    """ValueError for settings that make no network."""
    layers = len(config["channels"]) - 1
    if layers < 1 or any(len(config[key]) != layers for key in _SETTINGS[1:]):
        raise ValueError(f"settings of {layers} convolutions are not all of this length")
    if unknown := sorted(set(config["activation"]) - _ACTIVATIONS.keys()):
        raise ValueError(f"unknown activation {unknown[0]}")
    if not all(isinstance(r, int) and -1 <= r < i for i, r in enumerate(config["residual"])):
        raise ValueError("a residual connection comes from an earlier convolution")
