"""Run folders as the engine leaves them, with invented numbers."""

import hashlib
import json

import numpy as np
from safetensors.numpy import save_file

SPLITS = {"train": 4000, "validation": 500, "test": 500}
VARIANTS = [
    {"name": f"{architecture}-k{k}", "architecture": architecture, "k": k, "hidden": 32}
    for architecture in ("dws", "gmn")
    for k in (1, 8)
]
PUBLISHED = {"dws-k1": [2.29, 0.01], "dws-k8": [1.36, 0.03], "gmn-k1": [1.96, 0.02], "gmn-k8": [1.06, 0.13]}
RECIPE = {
    "name": "mnist-editing-reduced",
    "title": "Dilating MNIST digits through their INRs",
    "reference": "INR editing, MNIST dilation: 55 000 / 5 000 / 10 000 INRs, 3 seeds",
    "reduced": "4000 training INRs of 55 000, 40 epochs of 150",
    "published": PUBLISHED,
    "references": {"doing nothing": 8.85, "best global affine": 7.13},
    "protocol": {"views per sample": 1, "probe features": False, "selection": "by eye"},
    "zoo": {"fit": "mnist-inrs", "networks": 5000},
    "seeds": [0, 1, 2],
    "variants": VARIANTS,
}


def digits(count=8):
    rows, columns = np.mgrid[-1:1:28j, -1:1:28j]
    radii = np.linspace(0.3, 0.7, count)[:, None, None]
    rings = np.abs(np.hypot(rows, columns)[None] - radii)
    return (rings < 0.06).astype(np.float32), (rings < 0.13).astype(np.float32)


def samples(k, error, count=8):
    before, target = digits(count)
    noise = np.random.default_rng(k).normal(size=(*target.shape, k))
    return {"before": before, "target": target, "edited": (target[..., None] + error * noise).astype(np.float32)}


def write_run(folder, variant, seed, test, epochs=40, done=None, recipe=None, pictures=True):
    """A run folder; ``done`` epochs without a result if it is not None."""
    folder.mkdir(parents=True)
    recipe = {**(RECIPE if recipe is None else recipe), "variant": variant, "seed": seed}
    description = {
        "task": {
            "name": "inr-editing",
            "selection": "mse",
            "direction": "min",
            "splits": {"train": 4000, "validation": 500, "test": 500},
        },
        "train": {"epochs": epochs, "batch_size": 32, "learning_rate": 1e-3, "validate_every": 1, "seed": 42 + seed},
        "model": {"weight": "[32, 2] torch.float32"},
        "recipe": recipe,
    }
    checksum = hashlib.sha256(json.dumps(description).encode()).hexdigest()
    (folder / "recipe.json").write_text(json.dumps({"sha256": checksum, **description}))
    environment = {"command": ["weightspace"], "device": "cpu", "processes": 1, "threads": 2, "platform": "Linux"}
    environment |= {"python": "3.11.7", "packages": {"torch": "2.13.0"}}
    (folder / "environment.json").write_text(json.dumps(environment))
    falls = test + (0.08 - test) * np.exp(-np.arange(1, epochs + 1) / 6) * (1 + 0.05 * np.sin(np.arange(epochs) + seed))
    records = [
        {"epoch": epoch, "step": 125 * epoch, "train_loss": 0.95 * value, "validation": {"mse": value}}
        for epoch, value in enumerate(map(float, falls), 1)
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records[:done]))
    if pictures:
        save_file(samples(variant["k"], 3 * test**0.5), folder / "samples.safetensors")
    if done is None:
        metrics = {"validation": {"mse": 0.98 * test}, "test": {"mse": test}}
        result = {"metrics": metrics, "best_epoch": epochs - 1, "epochs": epochs, "steps": 125 * epochs}
        result |= {"parameters": 120_345, "seconds": 3.0 * epochs, "device": "cpu"}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_all(root, errors=None):
    """Three seeds of the four variants."""
    errors = errors or {"dws-k1": 0.040, "dws-k8": 0.028, "gmn-k1": 0.034, "gmn-k8": 0.024}
    for variant in VARIANTS:
        for seed in range(3):
            write_run(root / variant["name"] / f"seed{seed}", variant, seed, errors[variant["name"]] + 0.0005 * seed)
    return root
