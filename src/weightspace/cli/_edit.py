"""`weightspace edit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from .. import tasks, zoo
from .._errors import ZooError
from .._files import atomic_write
from ..nn import merge_ensemble
from ..space import WeightFeatures, WeightSpace
from ._command import console

__all__ = ["Edit"]


@dataclass(frozen=True)
class Edit:
    """Apply a trained editor to the networks of a zoo, or to an INR fitted to a picture of yours.

    Writes the edited networks as a zoo (OUT/networks) and a PNG of each before and after.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder of the editor."""
    out: Path
    """Where networks and pictures go; a new folder, or an empty one."""
    zoo: Path | None = None
    """Edit networks of this zoo."""
    split: Literal["train", "validation", "test"] = "test"
    """The part of the zoo."""
    count: int | None = 16
    """How many networks of that part, from the first one on; None for all."""
    image: Path | None = None
    """Edit an INR of this picture; it is made grey and scaled to 28 x 28 pixels before the fit."""
    networks: Literal["separate", "merged"] = "separate"
    """The k networks behind each edit, one after the other, or the single wider one that shows their mean exactly."""
    size: int = 28
    """Height and width of the written pictures, in pixels."""
    seed: int = 0
    """Seed of the INR's initial weights; only for a picture of yours."""

    def run(self) -> None:
        """Edit and write."""
        if (self.out / "networks").exists():
            raise ZooError(f"{self.out / 'networks'} is there already; choose another --out, or delete it")
        theta = self._networks()
        editor = tasks.load_model(self.folder, theta.space)
        with torch.no_grad():
            edited = editor(theta)
            before, after = (zoo.render(theta.space, each, self.size, self.size) for each in (theta, edited))
            space, networks = (
                merge_ensemble(theta.space, edited) if self.networks == "merged" else (theta.space, edited)
            )
        self.out.mkdir(parents=True, exist_ok=True)
        _write_pictures(self.out, "before", before)
        _write_pictures(self.out, "edited", after.mean(-1) if edited.channels > 1 else after)
        _write_networks(self.out / "networks", space, networks)
        console.print(f"{len(theta)} edited networks, with pictures, in {self.out}", markup=False)

    def _networks(self) -> WeightFeatures:
        """Those of the zoo, or one INR of the picture, fitted in OUT/inr as the editor's zoo was."""
        if self.zoo is not None and self.image is None:
            loaded = zoo.load(self.zoo)
            chosen: WeightFeatures = loaded.weights[loaded.splits[self.split][: self.count]]
            return chosen
        if self.image is not None and self.zoo is None:
            recipe, picture = tasks.fit_recipe_of(self.folder), zoo.picture(self.image)
            fitted = zoo.fit_inrs(picture, self.out / "inr", recipe=recipe, seed=self.seed, progress=False)
            console.print(f"the INR shows {self.image} at {fitted.metadata['psnr'][0]:.1f} dB", markup=False)
            return fitted.weights
        raise ZooError("give --zoo or --image, one of the two: what is to be edited")

    def saved(self) -> str:
        """Files are whole or absent."""
        return f"{self.out} is not complete; delete it and run the command again."


def _write_networks(path: Path, space: WeightSpace, theta: WeightFeatures) -> None:
    """A zoo: the k networks of the first input, then those of the second, and so on."""
    k = theta.channels
    alone = space.features({name: tensor.movedim(-1, 1).flatten(0, 1)[..., None] for name, tensor in theta.items()})
    index = np.arange(len(theta)).repeat(k)
    columns = {"index": index, "network": np.tile(np.arange(k), len(theta)), "split": np.full(len(index), "test")}
    zoo.write_zoo(path, alone, columns=columns, about={"made_by": "weightspace edit"})


def _write_pictures(folder: Path, name: str, images: Tensor) -> None:
    """One PNG for each network, values from 0 to 1 as grey values."""
    from PIL import Image

    for index, image in enumerate((images.clamp(0, 1) * 255).round().byte().cpu().numpy()):
        with atomic_write(folder / f"{index:04d}-{name}.png") as temporary:
            Image.fromarray(image).save(temporary, format="PNG")
