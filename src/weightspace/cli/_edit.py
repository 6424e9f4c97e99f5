"""`weightspace edit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from .. import tasks, zoo
from .._errors import RecipeError, ZooError
from .._files import atomic_write
from ..nn import OutputCapacityExpansion, merge_ensemble
from ..space import WeightFeatures
from ._command import console

__all__ = ["Edit"]

_BATCH = 64  # networks at a time


@dataclass(frozen=True)
class Edit:
    """Apply a trained editor to the networks of a zoo, or to an INR fitted to a picture of yours.

    Writes the edited networks as a zoo (OUT/networks) and a PNG of each before and after.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder of the editor."""
    out: Path
    """Where the pictures and the zoo OUT/networks go; refused if that zoo is there already."""
    zoo: Path | None = None
    """Edit networks of this zoo."""
    split: Literal["train", "validation", "test"] = "test"
    """The part of the zoo."""
    count: int | None = 16
    """How many networks of that part, from the first one on, at least 1; None for all."""
    image: Path | None = None
    """Edit an INR of this picture; it is made grey and scaled to 28 x 28 pixels before the fit. Editors trained on
    MNIST expect light strokes on a dark ground."""
    networks: Literal["separate", "merged"] = "separate"
    """The k networks behind each edit, one after the other, or the single wider one that shows their mean exactly."""
    size: int = 28
    """Height and width of the written pictures, in pixels."""
    seed: int = 0
    """Seed of the INR's initial weights; only for a picture of yours."""

    def run(self) -> None:
        """Edit and write, some networks at a time."""
        if self.size < 1 or (self.count is not None and self.count < 1):
            raise ZooError(f"--size and --count: expected at least 1, found {self.size} and {self.count}")
        if (self.out / "networks").exists():
            raise ZooError(f"{self.out / 'networks'} is there already; choose another --out, or delete it")
        theta = self._networks()
        editor = tasks.load_model(self.folder, theta.space)
        if not isinstance(editor, OutputCapacityExpansion):
            raise RecipeError(f"{self.folder} predicts something about networks and does not edit them")
        self.out.mkdir(parents=True, exist_ok=True)
        edits = [self._edit(editor, theta[start : start + _BATCH], start) for start in range(0, len(theta), _BATCH)]
        _write_networks(self.out / "networks", edits[0].map(lambda *parts: torch.cat(parts), *edits[1:]))
        console.print(f"{len(theta)} edited networks, with pictures, in {self.out}", markup=False)

    @torch.no_grad()
    def _edit(self, editor: nn.Module, theta: WeightFeatures, start: int) -> WeightFeatures:
        """The networks to write for those of a batch, whose first is number ``start``; writes their pictures."""
        edited: WeightFeatures = editor(theta)
        before, after = (zoo.render(theta.space, each, self.size, self.size) for each in (theta, edited))
        _write_pictures(self.out, "before", before, start)
        _write_pictures(self.out, "edited", after.mean(-1) if edited.channels > 1 else after, start)
        return merge_ensemble(theta.space, edited)[1] if self.networks == "merged" else edited

    def _networks(self) -> WeightFeatures:
        """Those of the zoo, or one INR of the picture, fitted in OUT/inr as the editor's zoo was."""
        if self.zoo is not None and self.image is None:
            loaded = zoo.load(self.zoo)
            chosen = loaded.splits[self.split][: self.count]
            if not len(chosen):
                raise ZooError(f"{self.zoo} has no networks in its {self.split} split; choose another --split")
            theta: WeightFeatures = loaded.weights[chosen]
            return theta
        if self.image is not None and self.zoo is None:
            recipe, picture = tasks.fit_recipe_of(self.folder), zoo.picture(self.image)
            fitted = zoo.fit_inrs(picture, self.out / "inr", recipe=recipe, seed=self.seed, progress=False)
            console.print(f"the INR shows {self.image} at {fitted.metadata['psnr'][0]:.1f} dB", markup=False)
            return fitted.weights
        raise ZooError("give --zoo or --image, one of the two: what is to be edited")

    def saved(self) -> str:
        """Files are whole or absent."""
        networks = self.out / "networks"
        first = f"delete {networks} and " if networks.exists() else ""
        return f"{self.out} is not complete; {first}run the command again."


def _write_networks(path: Path, theta: WeightFeatures) -> None:
    """A zoo: the k networks of the first input, then those of the second, and so on."""
    k = theta.channels
    alone = theta.space.features(
        {name: tensor.movedim(-1, 1).flatten(0, 1)[..., None] for name, tensor in theta.items()}
    )
    index = np.arange(len(theta)).repeat(k)
    columns = {"index": index, "network": np.tile(np.arange(k), len(theta)), "split": np.full(len(index), "test")}
    zoo.write_zoo(path, alone, columns=columns, about={"made_by": "weightspace edit"})


def _write_pictures(folder: Path, name: str, images: Tensor, start: int) -> None:
    """One PNG for each network, values from 0 to 1 as grey values."""
    from PIL import Image

    for index, image in enumerate((images.clamp(0, 1) * 255).round().byte().cpu().numpy(), start):
        with atomic_write(folder / f"{index:04d}-{name}.png") as temporary:
            Image.fromarray(image).save(temporary, format="PNG")
