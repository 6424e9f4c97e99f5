"""Pictures of what an editor does: before, target, edited, error, and the networks behind one edit."""

import base64
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .._errors import ReportError
from .._files import atomic_write
from ._runs import Run, find_runs, output_file
from ._table import Group, Row, group_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ERROR_LIMIT", "Gallery", "Picture", "Strip", "figure_demo", "galleries"]

ERROR_LIMIT = 0.5
"""The absolute error that is drawn brightest."""
_FAMILIES = 4
"""Of how many families of variants a page shows pictures: those with the smallest errors."""


Images = Float[np.ndarray, "n height width *colours"]


@dataclass(frozen=True)
class Picture:
    """One image as a PNG in base64, and what stands below it."""

    png: str
    caption: str


@dataclass(frozen=True)
class Strip:
    """One line of pictures with its label."""

    label: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """The pictures of all variants that show the same examples.

    Attributes:
        seed: the seed whose runs are shown.
        examples: before, target, and for each variant edited and error.
        networks: for each variant with more than one network, what each of them shows of the first example.
    """

    seed: int | None
    examples: tuple[Strip, ...]
    networks: tuple[Strip, ...]


@dataclass(frozen=True)
class _Samples:
    """The raw pictures of one variant, values between 0 and 1 where the network is right.

    ``error`` is the mean squared error of each edited picture, over its pixels, before any clamping.
    """

    row: Row
    seed: int | None
    before: Images
    target: Images
    each: Float[np.ndarray, "n height width *colours k"]

    @property
    def edited(self) -> Images:
        return np.asarray(self.each.mean(-1))

    @property
    def difference(self) -> Float[np.ndarray, "n height width"]:
        """Absolute errors, averaged over colours."""
        difference = np.abs(self.edited - self.target)
        return difference if difference.ndim == 3 else np.asarray(difference.mean(-1))

    @property
    def error(self) -> Float[np.ndarray, " n"]:
        return _mse(self.edited, self.target)

    @property
    def untouched(self) -> Float[np.ndarray, " n"]:
        """The error of doing nothing."""
        return _mse(self.before, self.target)


def _mse(found: Images, expected: Images) -> Float[np.ndarray, " n"]:
    """Mean squared error of each picture, over pixels and colours."""
    return np.asarray(((found - expected) ** 2).reshape(len(found), -1).mean(1))


def galleries(group: Group) -> list[Gallery]:
    """The pictures of a group of runs, a gallery for each set of examples; none if no run has any."""
    together: dict[bytes, list[_Samples]] = {}
    for samples in _first_samples(group):
        together.setdefault(samples.before.tobytes() + samples.target.tobytes(), []).append(samples)
    return [_gallery(_best(variants), group.factor) for variants in together.values()]


def _best(variants: list[_Samples]) -> list[_Samples]:
    """The variants of the families with the smallest errors, as many as a page holds."""
    errors: dict[str, float] = {}
    for each in variants:
        errors[each.row.family] = min(errors.get(each.row.family, np.inf), float(each.error.mean()))
    shown = sorted(errors, key=errors.__getitem__)[:_FAMILIES]
    return [each for each in variants if each.row.family in shown]


def _gallery(variants: list[_Samples], factor: float) -> Gallery:
    first = variants[0]
    strips = [
        Strip("before", _pictures(first.before, [f"{factor * error:.2f}" for error in first.untouched])),
        Strip("target", _pictures(first.target)),
    ]
    networks = []
    for samples in variants:
        label = f"{samples.row.family}, k = {samples.row.k}"
        strips.append(Strip(label, _pictures(samples.edited, [f"{factor * error:.2f}" for error in samples.error])))
        strips.append(Strip("its error", _pictures(samples.difference, error=True)))
        if samples.each.shape[-1] > 1:
            each = np.concatenate([np.moveaxis(samples.each[0], -1, 0), samples.edited[:1], samples.target[:1]])
            names = [*map(str, range(1, samples.each.shape[-1] + 1)), "mean", "target"]
            networks.append(Strip(label, _pictures(each, names)))
    return Gallery(first.seed, tuple(strips), tuple(networks))


def _first_samples(group: Group) -> list[_Samples]:
    """For each variant the pictures of its first seed that has some."""
    found = ((row, run, _read(row, run)) for row in group.rows for run in row.runs)
    first: dict[str, _Samples] = {}
    for row, _, samples in found:
        if samples is not None:
            first.setdefault(row.name, samples)
    return list(first.values())


def _read(row: Row, run: Run) -> _Samples | None:
    """The pictures of a run; None if it has none of the three tensors, or they do not fit each other."""
    arrays = run.samples() or {}
    if not {"before", "target", "edited"} <= arrays.keys():
        return None
    before, target, each = (arrays[name].astype(np.float64) for name in ("before", "target", "edited"))
    if before.ndim not in (3, 4) or before.shape != target.shape or each.shape[:-1] != before.shape:
        return None
    return _Samples(row, run.seed, before, target, each)


def _pictures(images: Images, captions: Iterable[str] | None = None, error: bool = False) -> tuple[Picture, ...]:
    captions = captions if captions is not None else [""] * len(images)
    return tuple(Picture(_png(image, error), caption) for image, caption in zip(images, captions, strict=True))


def _png(image: Float[np.ndarray, "height width *colours"], error: bool) -> str:
    """A PNG in base64; values from 0 to 1, or errors from 0 to `ERROR_LIMIT`; what is outside is clamped."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(
        buffer,
        image.clip(0, 1),
        format="png",
        cmap="inferno" if error else "gray",
        vmin=0,
        vmax=ERROR_LIMIT if error else 1,
    )
    return base64.b64encode(buffer.getvalue()).decode()


def figure_demo(folders: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str], examples: int = 5) -> Path:
    """Draw before, target, edited and error for a few digits, for the smallest and the largest k.

    The architecture is that with the smallest error at its largest k.

    Args:
        folders: run folders, or folders that hold some.
        out: the PNG to write; replaced if it is there.
        examples: the number of digits.

    Returns:
        The path of the picture.

    Raises:
        ReportError: if there are no runs, none of them has pictures, or ``out`` is a folder.
    """
    path = output_file(out, "figure.png")
    samples = [each for group in group_runs(find_runs(folders)) for each in _first_samples(group)]
    if not samples:
        raise ReportError("none of these runs has pictures: samples.safetensors with before, target and edited")
    best = min(samples, key=lambda each: (-each.row.k, float(each.error.mean())))
    plain = [each for each in samples if each.row.family == best.row.family and each.row.k == 1]
    variants = [*plain[:1], best] if best.row.k > 1 else [best]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        _draw(variants, examples).savefig(temporary, format="png", dpi=160, facecolor="white")
    return path


def _draw(variants: list[_Samples], examples: int) -> "Figure":
    from matplotlib.figure import Figure

    first = variants[0]
    lines = [("before", first.before, first.untouched, False), ("target", first.target, None, False)]
    for samples in variants:
        lines.append((f"edited, k = {samples.row.k}", samples.edited, samples.error, False))
        lines.append(("error", samples.difference, None, True))
    count = min(examples, len(first.before))
    figure = Figure(figsize=(1.15 * count + 1.1, 1.24 * len(lines)), layout="constrained")
    figure.suptitle(f"{first.row.family.upper()} edits INRs of test images", fontsize=11)
    panels = figure.subplots(len(lines), count, squeeze=False)
    for row, (label, images, errors, is_error) in zip(panels, lines, strict=True):
        for index, axes in enumerate(row):
            limit = ERROR_LIMIT if is_error else 1
            axes.imshow(images[index].clip(0, 1), cmap="inferno" if is_error else "gray", vmin=0, vmax=limit)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if errors is not None:
                axes.set_xlabel(f"MSE {100 * errors[index]:.2f}·10⁻²", fontsize=7)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
    return figure
