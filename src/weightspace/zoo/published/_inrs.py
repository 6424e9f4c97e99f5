"""Implicit neural representations of MNIST, FashionMNIST and CIFAR-10."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..._errors import SpaceError, ZooError
from ...space import WeightFeatures, WeightSpace, siren
from .._checkpoints import read_checkpoints, with_bar
from .._state_files import load_state_dicts, read_content
from .._zoo import Zoo
from ._files import Source, official_split

__all__ = ["fmnist_inrs", "mnist_inrs", "nfn_sirens"]

_NAVON = siren([2, 32, 32, 1], layer_names=["seq.0", "seq.1", "seq.2"])
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def mnist_inrs(source: Source) -> tuple[Zoo, ...]:
    """MNIST INRs: ``mnist_png_{training|testing}_{label}_{image}/checkpoints/model_final.pth``."""
    files = {file.parts[-3]: file for file in source.folder.glob("mnist_png_*_*_*/checkpoints/model_final.pth")}
    source.refuse_none(files, "mnist_png_training_LABEL_IMAGE/checkpoints/model_final.pth")
    rows: dict[str, tuple[str, ...]] = {}
    for name, file in files.items():
        if (match := re.fullmatch(r"mnist_png_(training|testing)_(\d+)_(\d+)", name)) is None:
            raise ZooError(f"{file.parents[1]}: expected a name mnist_png_training_LABEL_IMAGE, or _testing_")
        rows[name] = match.groups()
    names = sorted(files, key=lambda name: (rows[name][0] == "testing", int(rows[name][2])))
    if source.published:
        listed = source.listed(source.split_file("*.json", "the published split"), files, slice(-3, -2))
        names = [name for name in names if name in listed]
        split = np.array([listed[name] for name in names])
    else:
        split = official_split(np.array([rows[name][0] == "testing" for name in names]), source.seed)
    part, label, image = zip(*(rows[name] for name in names), strict=True)
    theta = _read([files[name] for name in names], _NAVON)
    columns = {"index": _integers(image), "split": split, "label": _integers(label), "part": np.array(part)}
    return (source.zoo(theta, columns),)


def fmnist_inrs(source: Source) -> tuple[Zoo, ...]:
    """FashionMNIST INRs: ``{train|val|test}/model_{id}.pth``, each with its label; views of them in folders above."""
    found = {}
    for file in sorted(source.folder.rglob("model_*.pth")):
        if file.parts[-2] in _SPLITS and _numbers(file.stem.removeprefix("model_")):
            found["/".join(file.relative_to(source.folder).parts)] = file
    source.refuse_none(found, "train/model_ID.pth")
    views = {name: "/".join(Path(name).parts[:-2]) for name in found}
    if source.published:
        # the file tells the last two components of the path: of several views all share their split
        pairs = {"/".join(file.parts[-2:]): file for file in found.values()}
        listed = source.listed(source.split_file("*.json", "the published split"), pairs, slice(-2, None))
        found = {name: file for name, file in found.items() if "/".join(file.parts[-2:]) in listed}
        split = [listed["/".join(file.parts[-2:])] for file in found.values()]
    else:
        split = [_SPLITS[file.parts[-2]] for file in found.values()]
    states, labels = zip(*(_labelled(file) for file in with_bar(found.values())), strict=True)
    columns = {
        "index": _integers([file.stem.removeprefix("model_") for file in found.values()]),
        "split": np.array(split),
        "label": _integers(labels),
        "view": np.array([views[name] for name in found]),
    }
    return (source.zoo(_stacked(states, list(found.values())), columns),)


def nfn_sirens(
    source: Source, *, split_points: tuple[int, int] = (45_000, 50_000), copies: bool = False
) -> tuple[Zoo, ...]:
    """SIRENs of MNIST, FashionMNIST or CIFAR-10: ``randinit_smaller_{label}s/net{index}.pth`` and further copies."""
    chosen: dict[int, tuple[int, int, Path]] = {}
    others: list[tuple[int, int, int, Path]] = []
    for file in sorted(source.folder.glob("randinit_smaller_*/*.pth")):
        folder = re.fullmatch(r"randinit_smaller_(?:aug(\d+)_)?(\d)s", file.parent.name)
        name = re.fullmatch(r"net(\d+)", file.stem)
        if folder is None or name is None:
            raise ZooError(
                f"{file}: expected randinit_smaller_LABELs/netINDEX.pth, or randinit_smaller_augI_LABELs/..."
            )
        index, copy, label = int(name[1]), 0 if folder[1] is None else int(folder[1]) + 1, int(folder[2])
        others.append((index, copy, label, file))
        if source.published or copy == 0:  # published: whichever copy comes last stays, in all three splits
            chosen[index] = (copy, label, file)
    source.refuse_none(others, "randinit_smaller_LABELs/netINDEX.pth")
    if gaps := sorted(set(range(len(chosen))) - chosen.keys()):
        raise ZooError(f"{source.folder}: net{gaps[0]}.pth is missing, of the images 0 to {max(chosen)}")
    _check_points(split_points, len(chosen), source.folder)
    rows = [(index, *chosen[index]) for index in sorted(chosen)]
    if copies:
        taken = {file for *_, file in rows}
        rows += [row for row in sorted(others) if row[0] < split_points[0] and row[1] and row[3] not in taken]
    indices, numbers, labels, files = zip(*rows, strict=True)
    theta = _read(files, _siren_of(files[0]))
    split = np.array(["train", "validation", "test"])[np.digitize(indices, split_points)]
    columns = {"index": _integers(indices), "split": split, "label": _integers(labels), "copy": _integers(numbers)}
    return (source.zoo(theta, columns),)


def _read(files: Sequence[Path], space: WeightSpace) -> WeightFeatures:
    """The networks of some files, all of which are needed."""
    try:
        return read_checkpoints(files, space).theta
    except ZooError as error:
        raise ZooError(str(error).replace(" (skip_damaged=True leaves them out)", "")) from error


def _siren_of(file: Path) -> WeightSpace:
    """The space of such a SIREN; it shows values from -1 to 1, and its first input is the row of the pixel."""
    layers = ["net.0.linear", "net.1.linear", "net.2"]
    (state,) = load_state_dicts([file])
    try:
        widths = [state["net.0.linear.weight"].shape[1], *(len(state[f"{layer}.bias"]) for layer in layers)]
    except (KeyError, IndexError, TypeError) as error:
        raise ZooError(f"{file}: expected the layers {', '.join(layers)}, found {', '.join(state)}") from error
    return siren(widths, output_offset=0.0, layer_names=layers)


def _labelled(file: Path) -> tuple[dict[str, Tensor], int]:
    """A state dict, and the label that lies in it."""
    try:
        content = dict(read_content(file))
        label = float(content.pop("label"))
        if not label.is_integer():
            raise ValueError(f"found {label}")
        return content, int(label)
    except ZooError as error:
        raise ZooError(f"{file}: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:  # RuntimeError: several numbers
        raise ZooError(f"{file}: expected a state dict with an entry 'label', an integer ({error!r})") from error


def _stacked(states: Sequence[Mapping[str, Tensor]], files: Sequence[Path]) -> WeightFeatures:
    """The batch of Navon's INRs; errors name the file."""
    try:
        return _NAVON.stack(states)
    except SpaceError as error:
        number = re.search(r"network (\d+)", str(error))
        raise ZooError(f"{files[int(number[1])]}: {error}" if number else str(error)) from error


def _check_points(points: object, images: int, folder: Path) -> None:
    """ZooError for positions that do not divide the images into three parts, none empty."""
    match points:
        case [int(first), int(second)] if 0 < first < second < images:
            return
    raise ZooError(
        f"{folder}: split_points: expected two increasing numbers between 0 and {images}, the number of images: the "
        f"first of validation and the first of test, found {points!r}"
    )


def _numbers(*texts: str) -> bool:
    return all(text.isdecimal() for text in texts)


def _integers(values: Iterable[str | int]) -> np.ndarray:
    return np.array([int(value) for value in values], dtype=np.int64)
