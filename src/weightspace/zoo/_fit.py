"""Fits a range of INRs: initial weights, Adam on a chunk of networks at once, chunks on the cores of a machine."""

import math
import threading
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from .._errors import ZooError
from ..space import WeightFeatures, WeightSpace
from ._any_grid import pixel_grid
from ._cores import on_cores
from ._recipe import FitRecipe

__all__ = ["fit_range", "initial_weights"]

_CHUNK = {"cpu": 16, "cuda": 1024}  # networks at once: near one core; enough to fill a GPU. Does not change the result
_CHECK_EVERY = 50  # steps between looks at whether to go on; on a GPU each one waits for it


def initial_weights(space: WeightSpace, seed: int, start: int, stop: int) -> WeightFeatures:
    """Initial weights of networks ``start`` to ``stop - 1``: those of a network depend on the seed and its index alone.

    They are uniform in the bounds of the space's default initialisation, from one Philox stream that the index of the
    network positions (Salmon et al., 2011).
    """
    draws = 4 * math.ceil(space.num_parameters / 4)  # Philox counts in blocks of four numbers
    stream = np.random.Generator(np.random.Philox(key=seed).advance(start * draws // 4))
    uniform = torch.from_numpy(stream.random((stop - start, draws))[:, : space.num_parameters] * 2 - 1).float()
    sizes = [math.prod(p.shape) for p in space.parameters]
    parts = zip(uniform.split(sizes, dim=1), space.parameters, strict=True)
    return WeightFeatures(space, tuple((part * p.bound).unflatten(1, (*p.shape, 1)) for part, p in parts))


def fit_range(
    space: WeightSpace,
    images: "UInt8[Tensor, 'networks height width channels']",
    recipe: FitRecipe,
    seed: int,
    start: int,
    *,
    device: torch.device,
    on_progress: Callable[[int], object] = lambda networks: None,
) -> tuple[WeightFeatures, "Float[Tensor, ' networks']", "Integer[Tensor, ' networks']"]:
    """Fits one INR to each image; the first one is network number ``start`` of the zoo.

    Each core works on chunks of its own with one thread; a GPU gets large chunks one after the other.

    Returns:
        Weights on the CPU, mean squared errors, and the steps taken.

    Raises:
        ZooError: names the networks that diverged.
    """
    size = _CHUNK.get(device.type, _CHUNK["cuda"])
    bounds = [(i, min(i + size, len(images))) for i in range(0, len(images), size)]

    def fit(chunk: tuple[int, int], stopped: threading.Event) -> tuple[WeightFeatures, Tensor, Tensor]:
        theta = initial_weights(space, seed, start + chunk[0], start + chunk[1])
        return _fit_chunk(theta.to(device), images[slice(*chunk)].to(device), recipe, stopped)

    workers = None if device.type == "cpu" else 1
    results = on_cores(fit, bounds, workers=workers, on_done=lambda chunk: on_progress(chunk[1] - chunk[0]))
    theta = results[0][0].map(lambda *parts: torch.cat(parts), *(result[0] for result in results[1:]))
    mse, steps = torch.cat([result[1] for result in results]), torch.cat([result[2] for result in results])
    diverged = (~torch.isfinite(mse)).nonzero().flatten() + start
    if len(diverged):
        raise ZooError(
            f"networks {diverged.tolist()[:10]} diverged; lower the learning rate ({recipe.learning_rate:g})"
        )
    return theta, mse, steps


def _fit_chunk(
    theta: WeightFeatures, images: Tensor, recipe: FitRecipe, stopped: threading.Event
) -> tuple[WeightFeatures, Tensor, Tensor]:
    """Adam (Kingma & Ba, 2014) on every network; one that has reached ``stop_psnr`` is not changed any more."""
    batch, height, width, _ = images.shape
    grid = pixel_grid(theta.space)(theta.space, height, width, batch, theta.dtype, theta.device)
    grid.load(theta)
    targets = images.flatten(1, 2).mT.to(theta.dtype) / 255 - theta.space.output_offset
    (beta1, beta2), weights, gradient = recipe.betas, grid.weights, grid.gradient
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    active = torch.ones_like(weights[:, :1])
    steps = torch.zeros_like(active)
    enough = -1.0 if recipe.stop_psnr is None else 10 ** (-recipe.stop_psnr / 10)
    for t in range(recipe.steps):
        loss = grid.loss_and_gradient(targets)
        active.mul_((loss > enough)[:, None])
        steps.add_(active)
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = square.sqrt().div_(math.sqrt(1 - beta2 ** (t + 1))).add_(recipe.eps)
        change = torch.div(mean, denominator, out=denominator).mul_(active)
        weights.sub_(change, alpha=recipe.rate(t) / (1 - beta1 ** (t + 1)))
        if t % _CHECK_EVERY == 0 and (stopped.is_set() or not active.any()):
            break
    return grid.features(weights).to("cpu"), grid.loss(targets).cpu(), steps.flatten().to("cpu", torch.int32)
