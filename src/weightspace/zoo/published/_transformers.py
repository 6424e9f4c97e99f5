"""The Small Transformer Zoo (Tran et al., 2024, arXiv 2410.04209)."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._errors import SpaceError, ZooError
from ...space import WeightFeatures, WeightSpace, from_module
from .._checkpoints import with_bar
from .._state_files import load_state_dicts, read_content
from .._zoo import Zoo
from ..networks import SmallTextTransformer, SmallViT
from ..networks._transformer import WIDTH
from ._files import Source, read_table

__all__ = ["small_transformer_zoo"]

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def small_transformer_zoo(
    source: Source, *, data: str = "mnist", cut_off: float = 0.0, epoch: int = 75
) -> tuple[Zoo, ...]:
    """Transformers in ``{mnist|ag_news}/RUN_EPOCH_ACCURACY.pt``, described by ``metadata/{mnist|ag_news}.csv``."""
    if data not in ("mnist", "ag_news"):
        raise ZooError(f"data: expected 'mnist' or 'ag_news', found {data!r}")
    caches = {part: source.folder / f"{data}_{part}_{cut_off}.pt" for part in _SPLITS}
    if source.published and all(file.is_file() for file in caches.values()):
        return (_cached(source, caches, data),)
    table = read_table(source.folder / "metadata" / f"{data}.csv", ("ckpt_epoch", "ckpt_file"))
    known = [name for name in ("test_top1_accuracy", "test_accuracy") if name in table]
    if not known:
        raise ZooError(f"{source.folder}/metadata/{data}.csv lacks the columns test_top1_accuracy and test_accuracy")
    accuracy = table[known[0]].astype(np.float64)
    rows = np.flatnonzero(table["ckpt_epoch"].astype(str) == str(epoch))
    high = accuracy >= cut_off
    if source.published:
        rows, split = _thirds(rows[high[rows]], random.Random(3))
    else:
        rows, split = _thirds(rows, random.Random(source.seed))
        rows, split = rows[high[rows]], split[high[rows]]
    if not len(rows):
        raise ZooError(f"{source.folder}: no {data} network of epoch {epoch} has an accuracy of at least {cut_off}")
    files = [source.folder / data / Path(name).name for name in table["ckpt_file"][rows]]
    if missing := [file for file in files if not file.is_file()]:
        raise ZooError(f"{missing[0]} is missing, as are {len(missing) - 1} others that metadata/{data}.csv lists")
    columns = {name: column[rows] for name, column in table.items()}
    columns |= {"index": rows, "split": split, "test_accuracy": accuracy[rows]}
    states = [state for file in with_bar(files) for state in load_state_dicts([file])]
    return (_zoo(source, _stacked(states, data, files), columns, data),)


def _thirds(rows: np.ndarray, generator: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """The rows, shuffled, with their split: 70 %, 15 %, and the rest for testing."""
    shuffled = rows.tolist()
    generator.shuffle(shuffled)
    train, validation = int(len(rows) * 0.7), int(len(rows) * 0.15)
    counts = [train, validation, len(rows) - train - validation]
    return np.array(shuffled, dtype=np.int64), np.repeat(["train", "validation", "test"], counts)


def _space(state: Mapping[str, Tensor], data: str) -> WeightSpace:
    classes = len(state["classifier.fc2.bias"])
    if data == "mnist":
        return from_module(SmallViT(classes), torch.randn(2, 1, 28, 28))
    return from_module(SmallTextTransformer(classes), torch.randn(2, 5, 32))


def _stacked(states: Sequence[Mapping[str, Tensor]], data: str, files: Sequence[Path]) -> WeightFeatures:
    """The batch. Positions and word vectors, which are not trained, are left out."""
    fixed = ("embedding.pos_embedding",) if data == "mnist" else ("embedding.",)
    kept = [{key: tensor for key, tensor in state.items() if not key.startswith(fixed)} for state in states]
    space = None
    for state, file in zip(kept, files, strict=True):
        try:
            space = space or _space(state, data)
            space.stack([state])
        except (SpaceError, KeyError) as error:
            raise ZooError(f"{file}: not a network of the Small Transformer Zoo: {error}") from error
    assert space is not None  # there are files
    return space.stack(kept)


def _zoo(source: Source, theta: WeightFeatures, columns: Mapping[str, Any], data: str) -> Zoo:
    """The zoo, with what runs its networks: images of 28 × 28 pixels, or texts of 64 words, as `make_zoo` has them."""
    architecture, shape = ("transformer", [1, 28, 28]) if data == "mnist" else ("text-transformer", [64, WIDTH])
    recipe = {"architecture": architecture, "classes": theta.space.groups[-1].size}
    return source.zoo(theta, columns, recipe=recipe, input_shape=shape)


def _cached(source: Source, caches: Mapping[str, Path], data: str) -> Zoo:
    """The files in which the published code keeps the networks of each split, all tensors transposed."""
    states: list[dict[str, Tensor]] = []
    accuracy, split = [], []
    for part, file in caches.items():
        try:
            content = read_content(file)
            own = _uncached(content)
            accuracy += content["accuracy"].flatten().tolist()
        except ZooError as error:
            raise ZooError(f"{file}: {error}") from error
        except (KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise ZooError(
                f"{file}: expected the networks of a split, as the published code keeps them ({error!r})"
            ) from error
        states += own
        split += [_SPLITS[part]] * len(own)
    files = [caches["train"]] * len(states)
    columns = {"index": np.arange(len(states)), "split": np.array(split), "test_accuracy": np.array(accuracy)}
    return _zoo(source, _stacked(states, data, files), columns, data)


def _uncached(content: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """State dicts of stacks ``[networks, 1, ...]`` of matrices (in, out), those of the heads apart."""
    encoder = content["encoder"]
    stacks: dict[str, Tensor] = {}
    for name, layers in (("embedding", ("conv1",)), ("classifier", ("fc1", "fc2"))):
        for kind in ("weight", "bias"):
            stacks |= {f"{name}.{layer}.{kind}": t[:, 0] for layer, t in zip(layers, content[name][kind], strict=False)}
    for i in range(len(encoder["W_q"])):
        block = f"encoder.{i}"
        for short, name in (("W_q", "queries"), ("W_k", "keys"), ("W_v", "values")):
            stacks[f"{block}.attention.{name}.weight"] = encoder[short][i][:, 0].mT.flatten(1, 2)
        stacks[f"{block}.attention.out_projection.weight"] = encoder["W_o"][i][:, 0].flatten(1, 2).mT
        for short, name in (("A", "fc1"), ("B", "fc2")):
            stacks[f"{block}.{name}.weight"] = encoder[f"W_{short}"][i][:, 0].mT
            stacks[f"{block}.{name}.bias"] = encoder[f"b_{short}"][i][:, 0]
    return [{key: stack[n] for key, stack in stacks.items()} for n in range(len(content["accuracy"]))]
