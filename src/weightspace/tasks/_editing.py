"""Editing what INRs show by editing their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import RecipeError, ZooError
from ..engine import Split, mean_loss
from ..space import WeightFeatures
from ..zoo import Zoo, coordinates, render
from ._task import TaskSettings

__all__ = ["EDITS", "EditingSettings", "InrEditing", "dilate"]

Edit = Callable[[Tensor], Tensor]


def dilate(images: Float[Tensor, "n height width"]) -> Float[Tensor, "n height width"]:
    """Morphological dilation with a 3 x 3 square: each pixel becomes the brightest of its neighbourhood."""
    return F.max_pool2d(images[:, None], 3, stride=1, padding=1)[:, 0]


EDITS: dict[str, Edit] = {"dilate": dilate}
"""Edits that recipes know by name."""


class InrEditing:
    """Change the weights of INRs so that they show edited images.

    An editor maps raw weights to one network or to k networks; the loss of an INR is the mean squared error between
    the rendered image, averaged over the k networks and not clamped, and the edit of the *true* image.

    Args:
        zoo: INRs with their images.
        edit: a name in `EDITS`, or any function of images ``[n, height, width]`` (or ``[n, height, width, colours]``)
            with values in [0, 1].
        shown: test INRs whose renderings are kept for the report.
        pixels: a training step compares this many random pixels, the same for its whole batch; all of them if None.

    Raises:
        ZooError: if the zoo has no images.
        RecipeError: for an unknown edit, or more pixels than the images have.
    """

    name = "inr-editing"
    selection = "mse"
    direction: Literal["min", "max"] = "min"
    outputs: int | None = None
    factor = 100.0

    def __init__(self, zoo: Zoo, edit: str | Edit = "dilate", *, shown: int = 8, pixels: int | None = None) -> None:
        if zoo.images is None:
            raise ZooError(f"{zoo.path}: editing needs the images that the INRs show, and this zoo has none")
        if isinstance(edit, str) and edit not in EDITS:
            raise RecipeError(f"unknown edit {edit!r}; known: {', '.join(EDITS)} (or pass a function of images)")
        change = EDITS[edit] if isinstance(edit, str) else edit
        self.space, self.shown, self.pixels = zoo.space, shown, pixels
        self.height, self.width = zoo.images.shape[1:3]
        self.points = coordinates(self.height, self.width)
        if pixels is not None and not 1 <= pixels <= len(self.points):
            raise RecipeError(f"pixels: expected 1 to {len(self.points)} of the {self.height} x {self.width} images'")
        self.theta: dict[str, WeightFeatures] = {}
        self.targets: dict[str, Tensor] = {}
        for split, index in zoo.splits.items():
            if len(index) == 0:
                continue
            self.theta[split] = zoo.weights[index]
            targets = change(zoo.images[index].float() / 255)
            self.targets[split] = targets.flatten(1, 2).reshape(len(index), self.height * self.width, -1)

    def size(self, split: Split) -> int:
        """The number of INRs of a split."""
        return len(self.theta[split]) if split in self.theta else 0

    def to(self, device: torch.device | str) -> InrEditing:
        """Moves the data to a device, in place."""
        self.points = self.points.to(device)
        self.theta = {split: theta.to(device) for split, theta in self.theta.items()}
        self.targets = {split: targets.to(device) for split, targets in self.targets.items()}
        return self

    def losses(self, model: nn.Module, split: Split, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The squared error of each INR, averaged over pixels (in training: over some of them) and colours."""
        edited: WeightFeatures = model(self.theta[split][index])
        points, targets = self.points, self.targets[split][index]
        if self.pixels is not None and model.training:
            chosen = torch.randperm(len(points))[: self.pixels].to(points.device)
            points, targets = points[chosen], targets[:, chosen]
        shown = self.space.realize(edited, points)
        if edited.channels > 1:
            shown = shown.mean(-1)
        return (shown - targets).square().mean((1, 2))

    def evaluate(self, model: nn.Module, split: Split, batch_size: int) -> dict[str, float]:
        """The mean squared error over a split."""
        return {"mse": mean_loss(model, self, split, batch_size)}

    def references(self) -> dict[str, float]:
        """The test error of editors that know nothing: the input as it is, and the mean edited training image."""
        theta, target = self.theta["test"], self.targets["test"]
        nothing = torch.cat([self.space.realize(theta[i : i + 100], self.points) for i in range(0, len(theta), 100)])
        mean = self.targets["train"].mean(0)
        return {
            "doing nothing": float((nothing - target).square().mean()),
            "mean training target": float((mean - target).square().mean()),
        }

    def samples(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Renderings of the first test INRs: "before", "target" [n, h, w, ...] and "edited" [n, h, w, ..., k]."""
        theta = self.theta["test"][: self.shown]
        edited: WeightFeatures = model(theta)
        pictures = render(self.space, edited, self.height, self.width)
        before = render(self.space, theta, self.height, self.width)
        return {
            "before": before.contiguous().cpu(),
            "target": self.targets["test"][: self.shown].reshape(before.shape).contiguous().cpu(),
            "edited": (pictures if edited.channels > 1 else pictures[..., None]).contiguous().cpu(),
        }


@dataclass(frozen=True)
class EditingSettings(TaskSettings):
    """INRs that show edited images.

    Attributes:
        edit: the edit, by name.
        pixels: random pixels that a training step compares; None for all.
    """

    kind: ClassVar[str] = "inr-editing"
    edit: str = "dilate"
    pixels: int | None = None

    def task(self, zoo: Zoo) -> InrEditing:
        """The task on the networks of a zoo."""
        return InrEditing(zoo, self.edit, pixels=self.pixels)
