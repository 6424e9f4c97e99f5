"""Networks on the disk: files with a state dict, and folders as Hugging Face lays them out."""

import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .._errors import ZooError

__all__ = [
    "CONFIG",
    "WHOLE",
    "Paths",
    "find_networks",
    "is_checkpoint",
    "load_state_dicts",
    "read_content",
    "read_state",
]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
CONFIG = "config.json"
WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# what trainers put beside the weights; never a network
_TRAINER = re.compile(r"(optimizer|scheduler|scaler|sampler|training_args|rng_state|random_states)(_\d+)*")


def is_checkpoint(name: str) -> bool:
    """Whether a file of this name counts as a network when a folder is read."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 a name, not a path
    return suffix.lower() in _SUFFIXES and not name.startswith(".") and not _TRAINER.fullmatch(stem)


def find_networks(paths: Paths) -> dict[str, Path]:
    """The networks below a path or a list of paths, by name.

    Raises:
        ZooError: for a path that does not exist, no networks, or two of one name.
    """
    if isinstance(paths, str | os.PathLike):
        folder = Path(paths).absolute()
        found = _networks(folder)
        base = folder.parent if found == [folder] else folder
        where = str(paths)
    else:
        listed = list(paths) if isinstance(paths, Iterable) else [paths]
        if wrong := [type(path).__name__ for path in listed if not isinstance(path, str | os.PathLike)]:
            raise ZooError(f"path: expected a path, or a list of paths, found {wrong[0]}")
        found = [network for path in listed for network in _networks(Path(path).absolute())]
        base = Path(os.path.commonpath([network.parent for network in found])) if found else Path()
        where = "the list of paths"
    if not found:
        raise ZooError(f"{where} holds no checkpoints: no {', '.join(_SUFFIXES)} file, no Hugging Face folder")
    by_name: dict[str, Path] = {}
    for network in found:
        name = (network if network.is_dir() else network.with_suffix("")).relative_to(base).as_posix()
        if name in by_name:
            raise ZooError(
                f"{by_name[name]} and {network} would both be network {name!r}; rename one, or list the paths wanted"
            )
        by_name[name] = network
    return by_name


def load_state_dicts(paths: Iterable[str | os.PathLike[str]]) -> list[dict[str, Tensor]]:
    """State dicts of files and Hugging Face folders such as `read_checkpoints` takes, their keys as they are.

    Raises:
        ZooError: names a file that is missing, damaged, or holds anything that unpickling would have to run.
    """
    return [_named(Path(path)) for path in paths]


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of one network, mapped into memory where the format allows it. Nothing is unpickled freely.

    Args:
        path: a file (safetensors if it is called so, else of `torch.save`), or a folder with ``model.safetensors`` or
            ``pytorch_model.bin``, whole or in parts with an index.

    Raises:
        ZooError: what is wrong; the caller says with which path.
    """
    if not path.is_dir():
        return _state(read_content(path))
    name = next((n for pair in zip(WHOLE, _INDEX, strict=True) for n in pair if (path / n).is_file()), None)
    if name is None:
        raise ZooError(f"the folder holds no network: expected one of {', '.join(WHOLE + _INDEX)}")
    try:
        return _joined(path, path / name) if name in _INDEX else _state(read_content(path / name))
    except ZooError as error:
        raise ZooError(f"{name}: {error}") from error


def _named(path: Path) -> dict[str, Tensor]:
    try:
        return read_state(path)
    except ZooError as error:
        raise ZooError(f"{path}: {error}") from error


def _is_folder_of_one(path: Path) -> bool:
    """Whether a folder is one network, laid out as Hugging Face does."""
    names = {entry.name for entry in path.iterdir()}
    return bool(names & set(_INDEX)) or (CONFIG in names and bool(names & set(WHOLE)))


def _networks(path: Path) -> list[Path]:
    """A path that is one network, or the networks below a folder, sorted."""
    if not path.exists():
        raise ZooError(f"{path} does not exist")
    if not path.is_dir() or _is_folder_of_one(path):
        return [path]
    found: list[Path] = []
    for place, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        whole = {name for name in folders if _is_folder_of_one(Path(place, name))}
        found += [Path(place, name) for name in (*whole, *filter(is_checkpoint, files))]
        folders[:] = [name for name in folders if name not in whole]
    return sorted(found)


def _joined(folder: Path, index: Path) -> dict[str, Tensor]:
    """The state dict whose tensors lie in several files, as an index says."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
        if escaping := [name for name in files if Path(name).name != name]:
            raise ZooError(f"the index names a file outside the folder: {escaping[0]!r}")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(f"damaged, expected JSON with a weight_map from tensors to files ({error!r})") from error
    state: dict[str, Tensor] = {}
    for name in files:
        try:
            state |= _state(read_content(folder / name))
        except ZooError as error:
            raise ZooError(f"part {name}: {error}") from error
    if absent := [key for key in places if key not in state]:
        raise ZooError(f"the parts lack tensors of the index: {', '.join(absent)}")
    return state


def read_content(file: Path) -> Any:
    """What a file holds, its tensors mapped into memory if it is of a format for that.

    Raises:
        ZooError: what is wrong; the caller says with which file.
    """
    try:
        if file.suffix.lower() == ".safetensors":
            return load_file(file)
        # small files are not worth one of the mappings, whose number is limited
        mapped = file.stat().st_size > 2**20 and zipfile.is_zipfile(file)
        with warnings.catch_warnings(action="ignore"):  # torch warns before it refuses
            return torch.load(file, "cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        needed = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        what = f"more than tensors ({needed[1]})" if needed else "more than tensors, or is damaged"
        raise ZooError(
            f"a pickle that holds {what}, and may run any code when it is loaded: refused. "
            "If you trust it, load it yourself and save its state dict with safetensors.torch.save_file"
        ) from error
    except Exception as error:  # parsers of damaged files raise errors of any type
        reason = str(error).partition("\n")[0]
        if not isinstance(error, OSError) and file.suffix.lower() != ".safetensors":  # reason: where a parser stopped
            reason = f"it is damaged, or no file that torch.save wrote ({type(error).__name__}: {reason})"
        raise ZooError(f"cannot be read: {reason}") from error


def _state(content: Any) -> dict[str, Tensor]:
    """The state dict in what a file holds: all of it, or the one entry that is known to hold one."""
    if isinstance(content, Mapping) and not _is_state(content):
        inside = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if len(inside) > 1:
            raise ZooError(f"holds several state dicts ({', '.join(inside)}); save the one that you mean alone")
        content = content[inside[0]] if inside else content
    if not isinstance(content, Mapping):
        raise ZooError(f"expected a state dict, names with tensors, found {type(content).__name__}")
    if not _is_state(content):
        key = next(key for key, value in content.items() if not isinstance(value, Tensor))
        raise ZooError(
            f"expected a state dict, names with tensors (or one under {', '.join(_WRAPPERS)}), "
            f"found {key!r} with {type(content[key]).__name__}"
        )
    if odd := [key for key, value in content.items() if value.layout != torch.strided or value.device.type != "cpu"]:
        raise ZooError(f"{odd[0]!r} is a sparse tensor, or one without entries; expected a plain one")
    return dict(content)


def _is_state(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in content.values())
