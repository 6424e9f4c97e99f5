"""The shards of a zoo of classifiers: which networks each one has, training those that are missing, the metadata."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...space import WeightFeatures, WeightSpace
from .._cores import on_cores
from .._store import ZooFolder
from ._recipe import NetworkRecipe
from ._train import MEASURED, Examples, Trained, train_block

__all__ = ["fill"]

_BLOCKS = 8  # in a shard: two of each share of the training images, so that cores are done at about the same time


def fill(
    folder: ZooFolder,
    recipe: NetworkRecipe,
    train: Examples,
    test: Examples,
    seed: int,
    splits: np.ndarray,
    progress: bool,
) -> None:
    """Trains the networks that a zoo lacks, with the other processes of ``torchrun`` if there are any."""
    rank, world = process()
    shards = _shards(recipe, len(splits))
    _train(folder, recipe, train, test, seed, shards[rank::world], progress and rank == 0)
    if rank == 0:
        wait(lambda: all(folder.has(shard.number) for shard in shards))
        folder.gather(len(shards))
        folder.finish(_columns(folder, recipe, seed, splits))
    wait(lambda: ZooFolder.open(folder.path).manifest["metadata"] is not None)


def process() -> tuple[int, int]:
    """The number of this process, and how many there are; ``torchrun`` sets them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def wait(condition: Callable[[], bool]) -> None:
    """For other processes; should one of them fail, torchrun ends this one."""
    while not condition():
        time.sleep(0.1)


@dataclass(frozen=True)
class _Shard:
    """Some networks in a row, in blocks that are trained at once."""

    number: int
    blocks: list[range]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))


def _shards(recipe: NetworkRecipe, networks: int) -> list[_Shard]:
    blocks = [range(i, min(i + recipe.together, networks)) for i in range(0, networks, recipe.together)]
    return [_Shard(i // _BLOCKS, blocks[i : i + _BLOCKS]) for i in range(0, len(blocks), _BLOCKS)]


def _train(
    folder: ZooFolder,
    recipe: NetworkRecipe,
    train: Examples,
    test: Examples,
    seed: int,
    shards: list[_Shard],
    progress: bool,
) -> None:
    """Trains the shards that are not there yet."""
    missing = [shard for shard in shards if not folder.has(shard.number)]
    total, there = (sum(map(len, part)) for part in (shards, [s for s in shards if s not in missing]))
    with _Progress(total, there, recipe.epochs, progress) as bar:

        def work(block: range, stopped: threading.Event) -> Trained:
            torch.set_flush_denormal(True)  # of this thread; weights that decay to nothing slow matrix products down
            return train_block(recipe, train, test, seed, block, stopped, lambda: bar.epoch_of(len(block)))

        for shard in missing:
            try:
                parts = on_cores(work, shard.blocks)
                states = {name: torch.cat([part.weights[name] for part in parts]) for name in parts[0].weights}
                extra = {name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns}
                folder.set_aside(shard.number, _features(folder.space, states), extra)
            except KeyboardInterrupt as interrupt:
                stored = sum(len(s) for s in shards if folder.has(s.number))
                message = f"interrupted: {stored} of {total} networks are in {folder.path}; the same call continues"
                raise KeyboardInterrupt(message) from interrupt


def _features(space: WeightSpace, states: dict[str, Tensor]) -> WeightFeatures:
    count = len(next(iter(states.values())))
    return space.stack([{name: tensor[i] for name, tensor in states.items()} for i in range(count)])


def _columns(folder: ZooFolder, recipe: NetworkRecipe, seed: int, splits: np.ndarray) -> dict[str, np.ndarray]:
    """The metadata: one entry for each checkpoint of each network."""
    stops, networks = recipe.checkpoints, len(splits)
    settings = [recipe.settings(seed, number) for number in range(networks)]
    columns = {"index": np.arange(networks).repeat(len(stops)), "split": splits.repeat(len(stops))}
    columns["step"] = np.tile(np.array(stops), networks)
    shards = [folder.shard(number, only=MEASURED) for number in range(len(folder.manifest["shards"]))]
    measured = {name: torch.cat([shard[name] for shard in shards]).numpy() for name in MEASURED}
    config = {f"config.{name}": np.array([s[name] for s in settings]).repeat(len(stops)) for name in settings[0]}
    return columns | measured | config


class _Progress:
    """A bar that counts epochs of networks and tells how many networks are done in a minute."""

    def __init__(self, networks: int, there: int, epochs: int, shown: bool) -> None:
        from tqdm import tqdm

        self._epochs, self._lock, self._start, self._done = epochs, threading.Lock(), time.perf_counter(), 0.0
        self._bar = tqdm(
            total=networks * epochs, initial=there * epochs, disable=not shown, unit="epoch", desc="training networks"
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def epoch_of(self, networks: int) -> None:
        """So many networks have done another epoch."""
        with self._lock:  # blocks are trained by threads
            self._done += networks / self._epochs
            rate = 60 * self._done / (time.perf_counter() - self._start)
            self._bar.set_postfix_str(f"{rate:.1f} networks a minute", refresh=False)
            self._bar.update(networks)
