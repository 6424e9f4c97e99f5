"""Zoos of implicit neural representations: fit one to each image, render them, check them."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, WeightSpace, siren
from ._any_grid import check_chain, coordinates
from ._fit import fit_range
from ._images import as_images
from ._recipe import FitRecipe, fit_recipe
from ._store import ZooFolder
from ._zoo import Zoo, load, split_names

__all__ = ["coordinates", "fit_inrs", "render", "round_trip"]


def render(space: WeightSpace, theta: WeightFeatures, height: int, width: int) -> Tensor:
    """The images that INRs represent, not clamped.

    Returns:
        ``[batch, height, width]`` for one output, ``[batch, height, width, outputs]`` for more; of k feature channels,
        each a network of its own, a last axis of length k is kept.
    """
    points = coordinates(height, width, theta.tensors[0].dtype).to(theta.tensors[0].device)
    values: Tensor = space.realize(theta, points).unflatten(1, (height, width))
    return values.squeeze(3) if space.groups[-1].size == 1 else values


def fit_inrs(
    images: Any,
    out: str | os.PathLike[str],
    *,
    labels: Any = None,
    recipe: str | FitRecipe = "mnist-inrs",
    space: WeightSpace | None = None,
    seed: int = 0,
    splits: Sequence[int] | np.ndarray | None = None,
    image_set: str = "",
    chunk: int | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Zoo:
    """Fits one INR to each image, many at once, and stores them shard by shard.

    An interrupted call loses at most the shard in progress; the same call again continues, with the result of an
    uninterrupted one. Initial weights depend on the seed and on the place of the image alone, and networks do not
    influence one another: the size of the shards does not change them.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, C]``.
        out: the folder of the zoo.
        labels: one integer for each image.
        recipe: a `FitRecipe` or a name in `INR_RECIPES`.
        space: chains of layers with two inputs and C outputs; by default SIRENs 2-32-32-C. Those with other
            activations take longer, as their gradients are left to autograd.
        seed: of initial weights and splits.
        splits: sizes of training, validation and test set, drawn at random; or a name for each image. By default 80 %,
            10 % and 10 %.
        image_set: name of the image set, for the manifest.
        chunk: networks in a shard; 512 on a CPU and 4096 on a GPU by default.
        device: where to fit; on a CPU, each of `torch.get_num_threads` cores fits networks of its own.
        progress: show a progress bar.

    Raises:
        ZooError: for images or labels of a wrong kind, a negative seed, a device that is not there, or a folder that
            holds another zoo.
        KeyboardInterrupt: tells what is stored.
    """
    images, recipe, device = as_images(images), fit_recipe(recipe), _usable(device)
    if seed < 0 or (chunk is not None and chunk < 1):
        raise ZooError(f"expected a seed of at least 0 and a chunk of at least 1, found {seed} and {chunk}")
    space = space or siren([2, 32, 32, images.shape[3] if images.dim() == 4 else 1])
    chunk = chunk or (512 if device.type == "cpu" else 4096)
    columns = _columns(images, labels, splits, seed)
    _check_outputs(space, images)
    about = {
        "recipe": asdict(recipe),
        "seed": seed,
        "image_set": image_set,
        "image_shape": list(images.shape[1:]),
        "content": _content(images, columns),
    }
    folder = ZooFolder.begin(Path(out), space, len(images), about)
    if folder.manifest["metadata"] is None:
        _fit_shards(folder, images, recipe, seed, chunk, device, progress)
        fitted = [folder.shard(number, only=("mse", "steps")) for number in range(len(folder.manifest["shards"]))]
        mse, steps = (torch.cat([shard[name] for shard in fitted]).numpy() for name in ("mse", "steps"))
        folder.finish(columns | {"psnr": -10 * np.log10(mse), "mse": mse, "steps": steps})
    return load(out)


def round_trip(zoo: Zoo, *, tolerance: float = 0.05, batch_size: int = 500) -> "Float[Tensor, ' networks']":
    """Renders every stored INR and compares its PSNR with the stored one.

    Args:
        zoo: a zoo of INRs with images and a column "psnr".
        tolerance: largest difference, in dB.
        batch_size: networks rendered at once.

    Returns:
        The PSNR of each rendering, in dB.

    Raises:
        ZooError: names the network that differs most.
    """
    if zoo.images is None or "psnr" not in zoo.metadata:
        raise ZooError(f"{zoo.path}: a round trip needs images and a column 'psnr'")
    found = []
    for start in range(0, len(zoo), batch_size):
        images = zoo.images[start : start + batch_size] / 255
        drawn = render(zoo.space, zoo.weights[start : start + batch_size], images.shape[1], images.shape[2])
        found.append(-10 * (drawn.view_as(images) - images).square().flatten(1).mean(1).log10())
    psnr = torch.cat(found)
    difference = (psnr - torch.from_numpy(zoo.metadata["psnr"])).abs()
    worst = int(difference.argmax())
    if not difference[worst] <= tolerance:
        raise ZooError(
            f"{zoo.path}: network {worst} renders at {psnr[worst]:.2f} dB, stored are "
            f"{zoo.metadata['psnr'][worst]:.2f} dB; weights and images do not belong together"
        )
    return psnr


def _fit_shards(
    folder: ZooFolder,
    images: Tensor,
    recipe: FitRecipe,
    seed: int,
    chunk: int,
    device: torch.device,
    progress: bool,
) -> None:
    from tqdm import tqdm

    pixels = images if images.dim() == 4 else images[..., None]
    with tqdm(total=len(images), initial=folder.written, disable=not progress, unit="INR", desc="fitting INRs") as bar:
        try:
            while (start := folder.written) < len(images):
                part = slice(start, min(start + chunk, len(images)))
                fitted = fit_range(
                    folder.space, pixels[part], recipe, seed, start, device=device, on_progress=bar.update
                )
                theta, mse, steps = fitted
                folder.append(theta, {"image": images[part].clone(), "mse": mse, "steps": steps})
        except KeyboardInterrupt as interrupt:
            message = (
                f"interrupted: {folder.written} of {len(images)} INRs are in {folder.path}; the same call continues"
            )
            raise KeyboardInterrupt(message) from interrupt


def _usable(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ZooError(f"device {str(device)!r} cannot be used here: {reason}; device='cpu' always can") from error


def _columns(images: Tensor, labels: Any, splits: Any, seed: int) -> dict[str, np.ndarray]:
    columns = {"index": np.arange(len(images)), "split": split_names(len(images), splits, seed)}
    if labels is not None:
        values = np.asarray(labels)
        if values.shape != (len(images),) or values.dtype.kind not in "iu":
            raise ZooError(
                f"labels: expected {len(images)} integers, found shape {values.shape} of dtype {values.dtype}"
            )
        columns["label"] = values.astype(np.int64)
    return columns


def _check_outputs(space: WeightSpace, images: Tensor) -> None:
    check_chain(space)
    channels = images.shape[3] if images.dim() == 4 else 1
    if space.groups[-1].size != channels:
        raise ZooError(f"images have {channels} channels, the networks {space.groups[-1].size} outputs")


def _content(images: Tensor, columns: dict[str, np.ndarray]) -> str:
    """A checksum of what the zoo is made from, to recognise it when a call continues."""
    digest = hashlib.sha256(images.numpy().tobytes())
    for name, column in sorted(columns.items()):
        digest.update(name.encode() + "\n".join(map(str, column.tolist())).encode())
    return digest.hexdigest()
