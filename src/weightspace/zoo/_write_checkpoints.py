"""Checkpoints of other libraries from batches of networks."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from .._errors import ZooError
from .._files import atomic_write
from ..space import WeightFeatures
from ._state_files import CONFIG, WHOLE, is_checkpoint
from ._zoo import check_raw

__all__ = ["write_checkpoints"]

Format = Literal["safetensors", "pt", "huggingface"]


def write_checkpoints(
    theta: WeightFeatures,
    path: str | os.PathLike[str],
    format: Format = "safetensors",
    names: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes one checkpoint for each network, with the keys of its state dict; `read_checkpoints` reads them back.

    Every file is written whole or not at all. Of a tensor with several names (tied weights) safetensors files hold the
    first; the metadata tell the others, as `safetensors.torch.load_model` expects.

    Args:
        theta: raw weights (one channel) of B networks.
        path: the folder; made if it does not exist.
        format: "safetensors" (NAME.safetensors), "pt" (NAME.pt, of `torch.save`), or "huggingface" (NAME/config.json
            and NAME/model.safetensors).
        names: B names; "network-000" and so on by default, in the order of the batch.
        overwrite: replace checkpoints that exist; by default they are an error, and nothing is written.
        config: content of config.json, the same for all networks.

    Returns:
        The B paths, of files or folders.

    Raises:
        ZooError: for names that are no file names or not B different ones, weights that are not finite, or what exists.
    """
    if format not in get_args(Format):
        raise ZooError(f"format: expected one of {', '.join(get_args(Format))}, found {format!r}")
    if config is not None and format != "huggingface":
        raise ZooError(f"config goes with format 'huggingface' only, found {format!r}")
    check_raw(theta)
    if len(theta) == 0:
        raise ZooError("expected at least 1 network, found 0")
    if not isinstance(path, str | os.PathLike):
        raise ZooError(f"path: expected the path of a folder, found {type(path).__name__}")
    names = _checked_names(names, len(theta))
    suffix = "" if format == "huggingface" else f".{format}"
    targets = [Path(path) / f"{name}{suffix}" for name in names]
    try:
        content = json.dumps(dict(config or {}), indent=2) + "\n"
        Path(path).mkdir(parents=True, exist_ok=True)
    except (TypeError, ValueError) as error:
        raise ZooError(f"config: expected a mapping that JSON can hold ({error})") from error
    except OSError as error:
        raise ZooError(f"{path} cannot be used as a folder: {error}") from error
    if not overwrite and (there := [str(target) for target in targets if target.exists()]):
        raise ZooError(f"{len(there)} of {len(targets)} exist ({there[0]}); overwrite=True replaces them")
    aliases = {alias: stored.name for stored in theta.space.stored for alias in stored.aliases}
    for i, target in enumerate(targets):
        (state,) = theta.space.unstack(theta[i].detach().to("cpu"))
        if format == "huggingface":
            _write_folder(target, state, aliases, content)
        else:
            _write_state(target, state, aliases)
    return targets


def _checked_names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"network-{i:0{max(3, len(str(count - 1)))}d}" for i in range(count)]
    if isinstance(names, str) or len(names) != count or len(set(names)) != count:
        raise ZooError(f"names: expected {count} different names, found {len(set(names))} in {len(names)}")
    for name in names:
        if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name[0] == ".":
            raise ZooError(
                f"names: {name!r} is no plain file name; expected one without / and \\ that starts with no dot"
            )
        if not is_checkpoint(f"{name}.pt"):
            raise ZooError(f"names: {name!r} is what trainers call other files; read_checkpoints would pass over it")
    return list(names)


def _write_state(file: Path, state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Writes one state dict, whole or not at all: as safetensors if the file is called so, else with `torch.save`.

    Args:
        file: the path.
        state: tensors on the CPU.
        aliases: keys that stand for the tensor of another key, with that key. Safetensors cannot hold a tensor twice:
            there they go into the metadata, as `safetensors.torch.save_model` notes them.
    """
    with atomic_write(file) as temporary:
        if file.suffix == ".safetensors":
            tensors = {key: tensor.contiguous() for key, tensor in state.items() if key not in aliases}
            save_file(tensors, temporary, metadata={**aliases, "format": "pt"})
        else:
            with temporary.open("wb") as stream:  # given a path, torch would write the temporary name into the file
                torch.save(dict(state), stream)


def _write_folder(folder: Path, state: Mapping[str, Tensor], aliases: Mapping[str, str], config: str) -> None:
    """Writes a folder as Hugging Face lays them out; the weights come last, so that a part of one is no network."""
    folder.mkdir(exist_ok=True)
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(config, encoding="utf-8")
    _write_state(folder / WHOLE[0], state, aliases)
