"""The Small CNN Zoo and the CNN Wild Park, read from small folders of the same layout."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightspace as ws
from weightspace import ZooError
from weightspace.cli import main
from weightspace.tasks import random_probes
from weightspace.zoo import read_published

SHAPES = {
    "sequential/conv2d/bias:0": (16,),  # biases first, as the layout may have them
    "sequential/conv2d/kernel:0": (3, 3, 1, 16),
    "sequential/conv2d_1/bias:0": (16,),
    "sequential/conv2d_1/kernel:0": (3, 3, 16, 16),
    "sequential/conv2d_2/bias:0": (16,),
    "sequential/conv2d_2/kernel:0": (3, 3, 16, 16),
    "sequential/dense/bias:0": (10,),
    "sequential/dense/kernel:0": (16, 10),
}


def cnn_zoo(root: Path, networks: int = 60, *, header: bool = True) -> np.ndarray:
    """Networks of which two in three are at step 86, the activations in turn; the order is a shuffle with a header."""
    weights = np.random.default_rng(0).standard_normal((networks, 4970)).astype(np.float32) / 4
    np.save(root / "weights.npy", weights)
    rows = [
        f"{i},{[86, 10, 86][i % 3]},{i / networks},{['relu', 'tanh'][i // 3 % 2]},0.1,{i % 2 == 0}"
        for i in range(networks)
    ]
    text = ",step,test_accuracy,config.activation,config.dropout,flag\n" + "\n".join(rows) + "\n"
    (root / "metrics.csv.gz").write_bytes(gzip.compress(text.encode()))
    lines, start = ["varname,start_idx,end_idx,shape"], 0
    for name, shape in SHAPES.items():
        end = start + int(np.prod(shape))
        lines.append(f'{name},{start},{end},"{shape}"')
        start = end
    (root / "layout.csv").write_text("\n".join(lines) + "\n")
    order = np.random.default_rng(1).permutation(networks).tolist()
    (root / "cifar10_split.csv").write_text("\n".join(map(str, [0] * header + order)) + "\n")
    return weights


def reference_split(root: Path, *, header: bool, activation: str | None = None) -> dict[str, list[int]]:
    """The published procedure, written down plainly: rows of weights.npy by split."""
    lines = [int(line) for line in (root / "cifar10_split.csv").read_text().split()]
    order = lines if header else lines[1:]
    final = [i for i in order if i % 3 != 1]
    if activation is not None:
        final = [i for i in final if ["relu", "tanh"][i // 3 % 2] == activation]
    point = int(0.5 * len(final))
    first = list(range(point))
    random.Random(0).shuffle(first)
    cut = int(0.8 * len(first))
    return {
        "train": [final[i] for i in sorted(first[:cut])],
        "validation": [final[i] for i in sorted(first[cut:])],
        "test": final[point:],
    }


def run_tensorflow(flat: np.ndarray, images: torch.Tensor, activation: Any) -> torch.Tensor:
    """The network as its own framework has it: kernels [height, width, in, out], images [batch, height, width, in]."""
    parts, start = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        parts[name.removeprefix("sequential/")] = torch.from_numpy(flat[start : start + size].reshape(shape))
        start += size
    x = images.movedim(1, 3)
    for layer in ("conv2d", "conv2d_1", "conv2d_2"):
        kernel = parts[f"{layer}/kernel:0"]
        windows = x.unfold(1, 3, 2).unfold(2, 3, 2)  # batch, rows, columns, in, 3, 3
        x = activation(torch.einsum("brciyx,yxio->brco", windows, kernel) + parts[f"{layer}/bias:0"])
    return x.mean((1, 2)) @ parts["dense/kernel:0"] + parts["dense/bias:0"]


def test_small_cnns_compute_what_they_did(tmp_path: Path) -> None:
    weights = cnn_zoo(tmp_path)
    images = torch.randn(5, 1, 28, 28)
    zoos = read_published("small-cnn-zoo", tmp_path)
    assert sorted(zoo.metadata["config.activation"][0] for zoo in zoos) == ["relu", "tanh"]
    for zoo in zoos:
        activation = {"relu": F.relu, "tanh": torch.tanh}[zoo.metadata["config.activation"][0]]
        computed = zoo.space.realize(zoo.weights, images)
        for row, found in zip(zoo.metadata["index"], computed, strict=True):
            assert torch.allclose(found, run_tensorflow(weights[row], images, activation), atol=1e-4)
        assert zoo.metadata["test_accuracy"].tolist() == (zoo.metadata["index"] / 60).tolist()
        assert set(zoo.metadata["step"]) == {86}
        assert "" not in zoo.metadata
    relu, tanh = sorted(zoos, key=lambda zoo: zoo.metadata["config.activation"][0])
    assert relu.space.symmetry().factor("conv0").name == "positive_monomial"
    assert tanh.space.symmetry().factor("conv0").name == "signed_permutation"


@pytest.mark.parametrize("split", ["published", "corrected"])
def test_the_order_of_small_cnns(tmp_path: Path, split: Any) -> None:
    cnn_zoo(tmp_path)
    zoos = read_published("small-cnn-zoo", tmp_path, split=split)
    expected = reference_split(tmp_path, header=split == "published")
    for name, rows in expected.items():
        found = [r for z in zoos for r in z.metadata["index"][z.metadata["split"] == name].tolist()]
        assert sorted(found) == sorted(rows)
    everything = sorted(r for z in zoos for r in z.metadata["index"].tolist())
    # the published code takes the header for row 0, which is there twice, once in front
    assert everything.count(0) == (2 if split == "published" else 1)
    assert len(everything) == 40 + (split == "published")


def test_small_cnns_of_one_activation_are_divided_afterwards(tmp_path: Path) -> None:
    cnn_zoo(tmp_path)
    (zoo,) = read_published("small-cnn-zoo", tmp_path, activation="relu")
    expected = reference_split(tmp_path, header=True, activation="relu")
    for name, rows in expected.items():
        assert zoo.metadata["index"][zoo.metadata["split"] == name].tolist() == rows
    both = {z.metadata["config.activation"][0]: z for z in read_published("small-cnn-zoo", tmp_path)}
    assert both["relu"].metadata["split"].tolist() != zoo.metadata["split"].tolist()


def test_small_cnns_without_a_list(tmp_path: Path) -> None:
    cnn_zoo(tmp_path)
    (tmp_path / "cifar10_split.csv").unlink()
    with pytest.raises(ZooError, match=r"the published order needs one file \*_split.csv .found: none."):
        read_published("small-cnn-zoo", tmp_path)
    first, other = (
        read_published("small-cnn-zoo", tmp_path, split="corrected", seed=s, activation="tanh")[0] for s in (0, 1)
    )
    assert sorted(first.metadata["index"].tolist()) == sorted(other.metadata["index"].tolist())
    assert first.metadata["index"].tolist() != other.metadata["index"].tolist()
    assert [len(rows) for rows in first.splits.values()] == [8, 2, 10]


def test_both_activations_go_into_one_padded_batch(tmp_path: Path) -> None:
    cnn_zoo(tmp_path, 12)
    zoos = read_published("small-cnn-zoo", tmp_path, split="corrected")
    batch = ws.pad([zoo.weights for zoo in zoos])
    assert len(batch) == 8


def test_a_small_cnn_zoo_on_disk(tmp_path: Path) -> None:
    cnn_zoo(tmp_path, 12)
    (zoo,) = read_published("small-cnn-zoo", tmp_path, activation="relu", split="corrected")
    stored = ws.zoo.write_zoo(tmp_path / "zoo", zoo.weights, columns=zoo.metadata)
    assert torch.equal(stored.weights.flatten(), zoo.weights.flatten())
    assert stored.metadata["flag"].tolist() == zoo.metadata["flag"].tolist()


def test_imported_cnns_still_run(tmp_path: Path) -> None:
    (tmp_path / "cnns").mkdir()
    cnn_zoo(tmp_path / "cnns", 12)
    park(tmp_path / "park", runs=3)
    for kind, size in (("small-cnn-zoo", 2), ("cnn-wild-park", 3)):
        data = tmp_path / ("cnns" if kind == "small-cnn-zoo" else "park")
        found = read_published(kind, data, split="corrected")
        out = tmp_path / kind
        assert main(["import-zoo", kind, str(data), "--out", str(out), "--split", "corrected"]) == 0
        assert len(found) == size
        for number, zoo in enumerate(found):
            stored = ws.zoo.load(out / f"{number:03d}")
            space, shape = ws.zoo.traced(stored)
            inputs = torch.rand(2, *shape)
            again = space.realize(stored.weights, inputs)
            assert torch.equal(again, zoo.space.realize(zoo.weights, inputs))
            assert ws.zoo.traced(zoo)[1] == shape
            assert torch.equal(random_probes(stored, 3)(stored.weights), random_probes(zoo, 3)(zoo.weights))


def test_damage_of_a_small_cnn_zoo_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"weights.npy cannot be read"):
        read_published("small-cnn-zoo", tmp_path)
    weights = cnn_zoo(tmp_path)

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(ZooError, match=message):
            read_published("small-cnn-zoo", tmp_path, **options)

    refused("has no networks at step 3 with activation relu or tanh", step=3)
    refused("has no networks at step 86 with activation gelu", activation="gelu")
    file = tmp_path / "cifar10_split.csv"
    good = file.read_text()
    file.write_text(good.replace("0", "100", 1))
    refused(r"cifar10_split.csv: expected rows of .*weights.npy, 0 to 59")
    file.write_text(good.replace("\n", "\n5\n", 1))
    refused("none twice", split="corrected")
    file.write_text("one\n")
    refused(r"cifar10_split.csv: expected the number of a row")
    file.write_text(good)
    layout = tmp_path / "layout.csv"
    text = layout.read_text()
    for old, new, message in (
        ("varname", "name", "layout.csv lacks the columns varname"),
        ('"(16, 10)"', '"(16, 11)"', r"dense/kernel:0: expected a kernel or bias \(16, 11\)"),
        ('"(16, 10)"', "open(1)", "is no shape"),
        ("conv2d_2/bias:0,", "conv2d_2/bias:0,x", "layout.csv: start_idx: expected a whole number in each line"),
        ('"(16, 10)"', '"(16, 10, 1)"', r"expected a kernel or bias \(16, 10, 1\)"),
        ("dense/bias", "dense/gamma", "expected a kernel or bias|expected kernels and biases"),
        ("conv2d_2", "conv2d_1", "expected kernels and biases of three convolutions"),
    ):
        assert old in text
        layout.write_text(text.replace(old, new))
        refused(message)
    layout.write_text(text)
    weights[2, 7] = np.nan
    np.save(tmp_path / "weights.npy", weights)
    refused(r"row 2 has weights that are not finite")
    np.save(tmp_path / "weights.npy", weights[:-1])
    refused(r"weights.npy has 59 rows, metrics.csv.gz 60")
    np.save(tmp_path / "weights.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(r"weights.npy cannot be read as an array: .*Python objects")
    cnn_zoo(tmp_path)
    (tmp_path / "metrics.csv.gz").write_bytes(b"no table")
    refused(r"metrics.csv.gz cannot be read as a table")


# --------------------------------------------------------------------------------------------------- wild park
CONFIGS = [
    {"channels": list(channels), "kernel_size": kernels, "residual": [-1, -1, 0], "activation": activations}
    for channels, kernels, activations in (
        ((3, 8, 4, 8), [3, 5, 7], ["relu", "none", "tanh"]),
        ((3, 4, 8, 4), [3, 3, 3], ["gelu", "tanh", "relu"]),
        ((3, 4, 4, 8), [7, 3, 5], ["leaky_relu", "sigmoid", "relu"]),
    )
]


class Park(nn.Module):
    """The network of the Wild Park as its authors describe it."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        sizes = zip(config["channels"], config["channels"][1:], config["kernel_size"], strict=False)
        self.layers = nn.ModuleList(nn.Conv2d(i, o, k, padding=k // 2) for i, o, k in sizes)
        self.fc = nn.Linear(config["channels"][-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activations = {"none": nn.Identity(), "leaky_relu": nn.LeakyReLU(), "gelu": nn.GELU()}
        outputs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if (source := self.config["residual"][i]) >= 0:
                shared = min(x.shape[1], outputs[source].shape[1])
                x = x + F.pad(outputs[source][:, :shared], (0, 0, 0, 0, 0, x.shape[1] - shared))
            name = self.config["activation"][i]
            x = activations[name](x) if name in activations else getattr(torch, name)(x)
            outputs.append(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def park(root: Path, runs: int = 6) -> dict[str, Park]:
    """Two checkpoints of each run, the architectures in turn."""
    networks = {}
    for run in range(runs):
        config = CONFIGS[run % 3]
        full = config | {
            "n_layers": 3,
            "n_classes": 10,
            "stride": [1] * 3,
            "padding": [k // 2 for k in config["kernel_size"]],
        }
        for step in (10, 20):
            name = f"run_{run}/checkpoint_{step:06d}/checkpoint.pt"
            networks[name] = Park(config)
            (root / name).parent.mkdir(parents=True)
            content = {"model": networks[name].state_dict(), "config": full, "iteration": step}
            torch.save(content | {"last_result": {"test/acc": 0.1 * run + step / 1000}}, root / name)
    return networks


def park_split(root: Path, networks: dict[str, Park]) -> None:
    names = {"train": [f"run_{i}/" for i in range(4)], "val": ["run_4/"], "test": ["run_5/"]}
    lists = {
        split: {"path": [f"cifar10_zooV2/{name}" for name in networks if name.startswith(tuple(runs))]}
        for split, runs in names.items()
    }
    (root / "cnn_park_splits.json").write_text(json.dumps(lists))


def test_the_wild_park(tmp_path: Path) -> None:
    networks = park(tmp_path)
    park_split(tmp_path, networks)
    zoos = read_published("cnn-wild-park", tmp_path)
    images = torch.randn(2, 3, 16, 16)
    assert [len(zoo) for zoo in zoos] == [4, 4, 4]
    for number, zoo in enumerate(zoos):
        assert zoo.metadata["run"].tolist() == [f"run_{number}"] * 2 + [f"run_{number + 3}"] * 2
        assert zoo.metadata["step"].tolist() == [10, 20, 10, 20]
        assert np.allclose(zoo.metadata["test_accuracy"], 0.1 * number + np.array([0.01, 0.02, 0.31, 0.32]))
        last = {0: "train", 1: "validation", 2: "test"}[number]
        assert zoo.metadata["split"].tolist() == ["train", "train", last, last]
        computed = zoo.space.realize(zoo.weights, images)
        for row in range(4):
            name = f"{zoo.metadata['run'][row]}/checkpoint_{zoo.metadata['step'][row]:06d}/checkpoint.pt"
            assert torch.allclose(computed[row], networks[name](images), atol=1e-5)
    batch = ws.pad([zoo.weights for zoo in zoos])
    assert len(batch) == 12


def test_the_corrected_split_of_the_wild_park_keeps_runs_together(tmp_path: Path) -> None:
    park(tmp_path, runs=3)
    zoos = read_published("cnn-wild-park", tmp_path, split="corrected")
    for zoo in zoos:
        assert len(set(zoo.metadata["split"])) == 1
    with pytest.raises(ZooError, match="the published split needs one file"):
        read_published("cnn-wild-park", tmp_path)


class Config:
    """What a checkpoint may hold that is no plain value."""


def test_checkpoints_of_the_wild_park_that_cannot_be_read(tmp_path: Path) -> None:
    park(tmp_path, runs=1)
    file = tmp_path / "run_0" / "checkpoint_000010" / "checkpoint.pt"
    content = torch.load(file, weights_only=True)

    def refused(change: dict[str, Any], message: str) -> None:
        torch.save(content | change, file)
        with pytest.raises(ZooError, match=message):
            read_published("cnn-wild-park", tmp_path, split="corrected")

    refused({"config": Config()}, r"checkpoint_000010/checkpoint.pt: a pickle .*refused.*plain values")
    refused({"config": {"channels": [3, 4]}}, "expected 'model', 'config' with channels")
    refused({"last_result": {}}, "'last_result' with 'test/acc'")
    refused({"config": content["config"] | {"stride": [1]}}, "not all of this length")
    refused({"config": content["config"] | {"activation": ["relu", "relu", "mish"]}}, "unknown activation mish")
    refused({"config": content["config"] | {"residual": [-1, -1, 2]}}, "comes from an earlier convolution")
    refused({"config": content["config"] | {"channels": [3, 8, 4, 9]}}, "does not fit its config: .*expected shape")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZooError, match="holds no cnn-wild-park"):
        read_published("cnn-wild-park", tmp_path / "empty")
