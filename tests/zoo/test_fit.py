"""Fitting: Adam as torch has it, early stopping, one result for every way of cutting the work, published statistics."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from weightspace import ZooError
from weightspace.space import WeightSpace, mlp, siren
from weightspace.zoo import (
    INR_RECIPES,
    FitRecipe,
    _fit,
    _inrs,
    coordinates,
    fit_inrs,
    load,
    mnist5k,
    render,
    round_trip,
)

RECIPE = FitRecipe("test", steps=12, learning_rate=1e-2, betas=(0.9, 0.95), schedule="cosine", stop_psnr=None)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (11, 7, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir())}


def small(images: torch.Tensor, out: Path, **options: object) -> object:
    settings = {"recipe": RECIPE, "space": siren([2, 8, 8, 1]), "chunk": 4, "progress": False, **options}
    return fit_inrs(images, out, **settings)


@pytest.mark.parametrize("space", [siren([2, 8, 8, 1]), mlp([2, 8, 8, 1]), mlp([2, 8, 1], "tanh")], ids=str)
@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, schedule="constant", betas=(0.8, 0.999), eps=1e-3)])
def test_steps_are_those_of_torch_adam(
    images: torch.Tensor, tmp_path: Path, recipe: FitRecipe, space: WeightSpace
) -> None:
    zoo = fit_inrs(images, tmp_path / "zoo", recipe=recipe, space=space, progress=False)
    theta = _fit.initial_weights(space, 0, 0, len(images)).to(torch.float64).map(lambda t: t.requires_grad_())
    optimizer = torch.optim.Adam(theta.tensors, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps)
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        optimizer.zero_grad()
        outputs = space.realize(theta, coordinates(7, 6).double())[..., 0]
        (outputs - images.flatten(1) / 255).square().mean(1).sum().backward()
        optimizer.step()
    for found, wanted in zip(zoo.weights.tensors, theta.tensors, strict=True):
        torch.testing.assert_close(found, wanted.detach().float(), rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize("compute", [1, 3, 11])
@pytest.mark.parametrize("chunk", [2, 11])
def test_result_does_not_depend_on_the_chunks(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: int, chunk: int
) -> None:
    expected = small(images, tmp_path / "expected")
    monkeypatch.setitem(_fit._CHUNK, "cpu", compute)
    found = small(images, tmp_path / "found", chunk=chunk)
    for name in expected.weights.keys():  # noqa: SIM118
        assert torch.equal(expected.weights[name], found.weights[name])


def test_initial_weights_depend_on_seed_and_index_alone() -> None:
    space = siren([2, 32, 32, 1])
    everything = _fit.initial_weights(space, 3, 0, 400)
    for name, tensor in _fit.initial_weights(space, 3, 17, 20).items():
        assert torch.equal(tensor, everything[name][17:20])
    assert not torch.equal(everything["0.weight"], _fit.initial_weights(space, 4, 0, 400)["0.weight"])
    for parameter, tensor in zip(space.parameters, everything.tensors, strict=True):
        assert tensor.abs().max() <= parameter.bound
        assert tensor.std() == pytest.approx(parameter.bound / 3**0.5, rel=0.03)
        networks = tensor.flatten(1)
        assert len(networks.unique(dim=0)) == (len(networks) if parameter.bound else 1)


def test_a_network_stays_as_it_is_once_it_is_good_enough(images: torch.Tensor, tmp_path: Path) -> None:
    images = images // 8 + 100  # nearly constant: soon fitted
    stop = replace(RECIPE, steps=60, stop_psnr=24.0, schedule="constant")
    zoo = small(images, tmp_path / "stop", recipe=stop)
    steps = zoo.metadata["steps"]
    assert steps.min() < 60
    network = int(steps.argmin())
    assert zoo.metadata["psnr"][network] >= 24.0
    exactly = small(images, tmp_path / "exactly", recipe=replace(stop, steps=int(steps[network]), stop_psnr=None))
    before = small(images, tmp_path / "before", recipe=replace(stop, steps=int(steps[network]) - 1, stop_psnr=None))
    for name in zoo.weights.keys():  # noqa: SIM118
        assert torch.equal(zoo.weights[name][network], exactly.weights[name][network])
    assert before.metadata["psnr"][network] < 24.0


def test_published_recipe_has_the_published_statistics(tmp_path: Path) -> None:
    """Standard deviations of the published MNIST INRs; 25.7 dB. Sixteen images suffice for 12 %."""
    images, labels = mnist5k()
    zoo = fit_inrs(images[:16], tmp_path / "zoo", labels=labels[:16], progress=False)
    found = [tensor.std().item() for tensor in zoo.weights.values()]
    assert found[:5] == pytest.approx([0.0627, 0.0213, 0.0183, 0.0110, 0.1179], rel=0.12)
    assert zoo.metadata["psnr"].mean() == pytest.approx(25.7, abs=0.6)
    assert (zoo.metadata["steps"] == 1500).all()
    assert round_trip(zoo).shape == (16,)


def test_colour_images(tmp_path: Path) -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 8), torch.linspace(0, 1, 10), indexing="ij")
    image = (torch.stack([x, y, 1 - x], -1) * 255).round().byte()
    zoo = fit_inrs(image[None].repeat(2, 1, 1, 1), tmp_path / "zoo", recipe="fast-300", progress=False)
    assert zoo.space.groups[-1].size == 3
    drawn = render(zoo.space, zoo.weights, 8, 10)
    assert drawn.shape == (2, 8, 10, 3)
    torch.testing.assert_close(drawn[0], image / 255, atol=0.1, rtol=0)
    round_trip(zoo)


def test_interrupted_fit_continues_with_the_same_bytes(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(images, tmp_path / "whole")
    real, calls = _inrs.fit_range, []

    def interrupted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(_inrs, "fit_range", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"4 of 11 INRs are in .* the same call continues"):
        small(images, tmp_path / "parts")
    with pytest.raises(ZooError, match="holds 4 of 11 networks"):
        load(tmp_path / "parts")
    first = (tmp_path / "parts" / "shard-00000.safetensors").stat().st_mtime_ns
    small(images, tmp_path / "parts")
    assert (tmp_path / "parts" / "shard-00000.safetensors").stat().st_mtime_ns == first
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    small(images, tmp_path / "parts")  # complete: nothing to do
    assert len(calls) == 4


def test_interrupt_stops_the_workers(images: torch.Tensor, tmp_path: Path) -> None:
    """A real SIGINT in the middle of a long fit: it ends long before the fit would."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    before = torch.get_num_threads()
    try:
        with pytest.raises(KeyboardInterrupt, match="0 of 11 INRs"):
            small(images, tmp_path / "zoo", recipe=replace(RECIPE, steps=10**7))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert torch.get_num_threads() == before
    timer.join()


def test_killed_fit_continues_with_the_same_bytes(images: torch.Tensor, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=150)
    script = (
        "import sys, torch; from weightspace.space import siren; from weightspace.zoo import FitRecipe, fit_inrs;"
        f"images = torch.tensor({images.tolist()}, dtype=torch.uint8);"
        f"fit_inrs(images, sys.argv[1], recipe={recipe!r}, space=siren([2, 8, 8, 1]), chunk=1, progress=False)"
    )
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(out)])
    while process.poll() is None and not (out / "shard-00002.safetensors").exists():
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert json.loads((out / "manifest.json").read_text())["metadata"] is None
    small(images, out, recipe=recipe, chunk=1)
    small(images, tmp_path / "whole", recipe=recipe, chunk=1)
    assert {k: v for k, v in files(out).items() if not k.endswith(".part")} == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"seed \(0, now 1\)"),
        ({"recipe": replace(RECIPE, steps=13)}, "recipe .*'steps': 12.*'steps': 13"),
        ({"labels": np.arange(11)}, "images, labels or splits"),
        ({"space": siren([2, 9, 8, 1])}, "space"),
        ({"splits": (5, 3, 3)}, "images, labels or splits"),
    ],
)
def test_another_zoo_in_the_folder_is_refused(
    images: torch.Tensor, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    small(images, tmp_path)
    before = files(tmp_path)
    with pytest.raises(ZooError, match=f"holds another zoo: it differs in {message}"):
        small(images, tmp_path, **change)
    assert files(tmp_path) == before


def test_other_images_in_the_folder_are_refused(images: torch.Tensor, tmp_path: Path) -> None:
    small(images, tmp_path)
    with pytest.raises(ZooError, match="images, labels or splits"):
        small(255 - images, tmp_path)


def test_folder_with_other_files_is_refused(images: torch.Tensor, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ZooError, match=r"thesis\.tex"):
        small(images, tmp_path)
    assert files(tmp_path) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.full((2, 3, 3), torch.nan), "float32 with non-finite values in 2 images"),
        (torch.zeros(2, 3, 3), "expected uint8 .* found torch.float32; scale"),
        (torch.zeros(3, 3, dtype=torch.uint8), r"expected shape \(N, H, W\) .* found \(3, 3\)"),
        (torch.zeros(0, 3, 3, dtype=torch.uint8), r"found \(0, 3, 3\)"),
        (torch.zeros(2, 3, 3, 3, dtype=torch.uint8), "3 channels, the networks 1 outputs"),
    ],
)
def test_bad_images_are_refused(bad: torch.Tensor, message: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=message):
        small(bad, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_bad_settings_are_refused(images: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="unknown fit recipe 'fast'; known: mnist-inrs, fmnist-inrs, fast-300"):
        small(images, tmp_path / "zoo", recipe="fast")
    with pytest.raises(ZooError, match="labels: expected 11 integers"):
        small(images, tmp_path / "zoo", labels=[1.5] * 11)
    with pytest.raises(ZooError, match="labels: expected 11 integers"):
        small(images, tmp_path / "zoo", labels=[1] * 10)
    with pytest.raises(ZooError, match="only chains of layers with 2 inputs"):
        small(images, tmp_path / "zoo", space=mlp([3, 8, 1]))
    with pytest.raises(ZooError, match=r"steps = 0, betas = \(0.9, 1.0\)"):
        FitRecipe("bad", steps=0, betas=(0.9, 1.0))
    assert not (tmp_path / "zoo").exists()


def test_divergence_is_named(images: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="diverged; lower the learning rate"):
        small(images, tmp_path, recipe=replace(RECIPE, learning_rate=1e37))


def test_recipes() -> None:
    published = INR_RECIPES["mnist-inrs"]
    assert (published.steps, published.learning_rate, published.betas) == (1500, 1e-3, (0.9, 0.999))
    assert INR_RECIPES["fast-300"].rate(150) == pytest.approx(2.5e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"betas": 0.9},
        {"betas": (0.9,)},
        {"betas": ("0.9", 0.99)},
        {"steps": 10.0},
        {"steps": True},
        {"learning_rate": "1e-3"},
        {"eps": None},
        {"stop_psnr": float("nan")},
    ],
)
def test_recipes_of_wrong_types_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ZooError, match=f"'odd': impossible settings: {next(iter(settings))} = "):
        FitRecipe("odd", **settings)


def test_impossible_calls_leave_no_folder(images: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"a seed of at least 0 .* found -1"):
        small(images, tmp_path / "zoo", seed=-1)
    with pytest.raises(ZooError, match="a chunk of at least 1, found 0 and 0"):
        small(images, tmp_path / "zoo", chunk=0)
    for device in ["gpu"] if torch.cuda.is_available() else ["gpu", "cuda"]:
        with pytest.raises(ZooError, match=f"device '{device}' cannot be used here"):
            small(images, tmp_path / "zoo", device=device)
    assert not (tmp_path / "zoo").exists()
