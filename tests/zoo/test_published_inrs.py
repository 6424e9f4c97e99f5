"""Published INRs, read from small folders of the same layout."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from weightspace import WeightFeatures, ZooError
from weightspace.space import siren
from weightspace.zoo import PUBLISHED, load, read_published, write_zoo

NAVON = siren([2, 32, 32, 1], layer_names=["seq.0", "seq.1", "seq.2"])
NFN = siren([2, 32, 32, 3], output_offset=0.0, layer_names=["net.0.linear", "net.1.linear", "net.2"])


def drawn(count: int, space: Any = NAVON) -> tuple[WeightFeatures, list[dict[str, Any]]]:
    theta = space.sample(count, torch.Generator().manual_seed(0))
    return theta, space.unstack(theta)


def save(content: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def mnist(root: Path, names: Sequence[str]) -> WeightFeatures:
    theta, states = drawn(len(names))
    for name, state in zip(names, states, strict=True):
        save(state, root / f"mnist_png_{name}" / "checkpoints" / "model_final.pth")
    return theta


def mnist_path(name: str) -> str:
    return f"/home/someone/data/mnist-inrs/mnist_png_{name}/checkpoints/model_final.pth"


def test_mnist_inrs_with_their_split(tmp_path: Path) -> None:
    names = ["testing_7_0", "training_5_12", "training_3_9", "training_1_3"]
    theta = mnist(tmp_path, names)
    lists = {"train": ["training_5_12"], "val": ["training_3_9"], "test": ["testing_7_0"]}
    content = {k: {"path": [mnist_path(n) for n in v], "label": ["?"]} for k, v in lists.items()}
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content))
    (zoo,) = read_published("mnist-inrs", tmp_path)
    assert zoo.metadata["label"].tolist() == [3, 5, 7]  # training_1_3 is in no list
    assert zoo.metadata["index"].tolist() == [9, 12, 0]
    assert zoo.metadata["part"].tolist() == ["training", "training", "testing"]
    assert zoo.metadata["split"].tolist() == ["validation", "train", "test"]
    for name in NAVON.shapes:
        assert torch.equal(zoo.weights[name], theta[name][[2, 1, 0]])
    assert zoo.space == NAVON
    assert zoo.manifest["published"] == "mnist-inrs"
    assert zoo.images is None
    zoo.verify()


def test_a_published_zoo_becomes_one_of_the_library(tmp_path: Path) -> None:
    mnist(tmp_path / "data", [f"training_{i % 10}_{i}" for i in range(24)] + ["testing_7_0"])
    (zoo,) = read_published("mnist-inrs", tmp_path / "data", split="corrected")
    written = write_zoo(tmp_path / "zoo", zoo.weights, columns=zoo.metadata, about={"published": "mnist-inrs"})
    assert torch.equal(load(tmp_path / "zoo").weights.flatten(), zoo.weights.flatten())
    for name, column in zoo.metadata.items():
        assert written.metadata[name].tolist() == column.tolist()


def test_mnist_inrs_corrected_keep_the_official_test_set(tmp_path: Path) -> None:
    mnist(tmp_path, [f"training_{i % 10}_{i}" for i in range(24)] + ["testing_7_0", "testing_2_1"])
    first, again, other = (
        read_published("mnist-inrs", tmp_path, split="corrected", seed=seed)[0].metadata["split"] for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    assert first.tolist().count("validation") == 2
    assert first[-2:].tolist() == ["test", "test"]
    assert "test" not in first[:-2]


def test_mnist_inrs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="holds no mnist-inrs"):
        read_published("mnist-inrs", tmp_path)
    mnist(tmp_path, ["training_5_12"])
    with pytest.raises(ZooError, match=r"needs one file \*.json .found: none.; pass its path as splits="):
        read_published("mnist-inrs", tmp_path)
    file = tmp_path / "elsewhere" / "splits.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"train": [mnist_path("training_5_12"), mnist_path("training_5_13")]}))
    with pytest.raises(ZooError, match=r"lists 1 networks that are not in .* first 'mnist_png_training_5_13'"):
        read_published("mnist-inrs", tmp_path, splits=file)
    file.write_text(json.dumps({"train": [mnist_path("training_5_12")], "val": [mnist_path("training_5_12")]}))
    with pytest.raises(ZooError, match="lists a network twice"):
        read_published("mnist-inrs", tmp_path, splits=file)
    for damaged in ("{", '{"train": 3}', '{"other": []}', "[]"):
        file.write_text(damaged)
        with pytest.raises(ZooError, match=r"splits.json: expected lists of paths"):
            read_published("mnist-inrs", tmp_path, splits=file)
    one = [mnist_path("training_5_12")]
    for lists, none in (
        ({}, "any split"),
        ({"train": []}, "train"),
        ({"train": one, "val": {"path": []}}, "validation"),
    ):
        file.write_text(json.dumps(lists))
        with pytest.raises(ZooError, match=rf"splits.json lists no networks for {none}; split='corrected'"):
            read_published("mnist-inrs", tmp_path, splits=file)
    with pytest.raises(ZooError, match=r"nothing.json: expected lists of paths"):
        read_published("mnist-inrs", tmp_path, splits=tmp_path / "nothing.json")


def test_damaged_networks_are_named(tmp_path: Path) -> None:
    mnist(tmp_path, ["training_5_12", "training_3_9"])
    broken = tmp_path / "mnist_png_training_5_12" / "checkpoints" / "model_final.pth"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(ZooError, match=r"cannot use 1 of 2 checkpoints: .*mnist_png_training_5_12.*damaged"):
        read_published("mnist-inrs", tmp_path, split="corrected")
    broken.unlink()
    for name in ("train_5_12", "training_5_12_7", "training_5_12_copy", "testing_x_1"):
        mnist(tmp_path, [name])
        with pytest.raises(ZooError, match=f"mnist_png_{name}: expected a name mnist_png_training_LABEL_IMAGE"):
            read_published("mnist-inrs", tmp_path, split="corrected")
        shutil.rmtree(tmp_path / f"mnist_png_{name}")


def fmnist(root: Path, names: Sequence[str]) -> WeightFeatures:
    theta, states = drawn(len(names))
    for label, (name, state) in enumerate(zip(names, states, strict=True)):
        save({**state, "label": label}, root / f"{name}.pth")
    return theta


def test_fmnist_inrs(tmp_path: Path) -> None:
    theta = fmnist(tmp_path, ["train/model_4", "val/model_0", "test/model_2"])
    lists = {"train": ["x/fmnist_inrs/val/model_0.pth"], "val": ["train/model_4.pth"], "test": ["a/test/model_2.pth"]}
    (tmp_path / "splits.json").write_text(json.dumps(lists))
    (published,) = read_published("fmnist-inrs", tmp_path)
    (corrected,) = read_published("fmnist-inrs", tmp_path, split="corrected")
    assert published.metadata["split"].tolist() == ["test", "validation", "train"]  # as the file says
    assert corrected.metadata["split"].tolist() == ["test", "train", "validation"]  # as the folders are called
    for zoo in (published, corrected):
        assert zoo.metadata["index"].tolist() == [2, 4, 0]
        assert zoo.metadata["label"].tolist() == [2, 0, 1]
        assert torch.equal(zoo.weights.flatten(), theta[[2, 0, 1]].flatten())


def test_views_of_fmnist_inrs(tmp_path: Path) -> None:
    fmnist(tmp_path, ["0/train/model_4", "0/test/model_2", "1/train/model_4"])
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["train/model_4.pth"], "test": ["test/model_2.pth"]}))
    (zoo,) = read_published("fmnist-inrs", tmp_path)
    assert zoo.metadata["view"].tolist() == ["0", "0", "1"]
    assert zoo.metadata["split"].tolist() == ["test", "train", "train"]
    assert zoo.metadata["label"].tolist() == [1, 0, 2]


def test_fmnist_inrs_without_a_label_or_of_another_shape(tmp_path: Path) -> None:
    _, (state,) = drawn(1)
    fmnist(tmp_path, ["train/model_4"])
    save(state, tmp_path / "train" / "model_5.pth")
    with pytest.raises(ZooError, match=r"model_5.pth: expected a state dict with an entry 'label'"):
        read_published("fmnist-inrs", tmp_path, split="corrected")
    for label in (math.inf, math.nan, 2.7, torch.tensor(2.7), torch.zeros(2), 10**400, "shoe"):
        save({**state, "label": label}, tmp_path / "train" / "model_5.pth")
        with pytest.raises(ZooError, match=r"model_5.pth: expected a state dict with an entry 'label', an integer"):
            read_published("fmnist-inrs", tmp_path, split="corrected")
    save({**state, "label": torch.tensor(3)}, tmp_path / "train" / "model_5.pth")
    assert read_published("fmnist-inrs", tmp_path, split="corrected")[0].metadata["label"].tolist() == [0, 3]
    save({**state, "seq.0.bias": torch.zeros(31), "label": 3}, tmp_path / "train" / "model_5.pth")
    with pytest.raises(ZooError, match=r"model_5.pth: .*seq.0.bias.* expected shape .32.*found .31"):
        read_published("fmnist-inrs", tmp_path, split="corrected")


def sirens(root: Path, names: Sequence[str]) -> WeightFeatures:
    theta, states = drawn(len(names), NFN)
    for name, state in zip(names, states, strict=True):
        save(state, root / f"randinit_smaller_{name}.pth")
    return theta


def test_nfn_sirens(tmp_path: Path) -> None:
    names = ["7s/net0", "3s/net1", "3s/net2", "1s/net3", "aug0_7s/net0", "aug1_7s/net0", "aug1_1s/net3"]
    theta = sirens(tmp_path, names)
    (corrected,) = read_published("nfn-sirens", tmp_path, split="corrected", split_points=(2, 3))
    assert corrected.metadata["index"].tolist() == [0, 1, 2, 3]
    assert corrected.metadata["label"].tolist() == [7, 3, 3, 1]
    assert corrected.metadata["copy"].tolist() == [0, 0, 0, 0]
    assert corrected.metadata["split"].tolist() == ["train", "train", "validation", "test"]
    assert torch.equal(corrected.weights.flatten(), theta[[0, 1, 2, 3]].flatten())
    # the published pattern finds the copies too: an index stands for the last copy of it, in the test set as well
    (published,) = read_published("nfn-sirens", tmp_path, split_points=(2, 3))
    assert published.metadata["copy"].tolist() == [2, 0, 0, 2]
    assert published.metadata["split"].tolist() == ["train", "train", "validation", "test"]
    assert torch.equal(published.weights.flatten(), theta[[5, 1, 2, 6]].flatten())
    (augmented,) = read_published("nfn-sirens", tmp_path, split="corrected", split_points=(2, 3), copies=True)
    assert augmented.metadata["index"].tolist() == [0, 1, 2, 3, 0, 0]  # none of net3, which is tested
    assert augmented.metadata["copy"].tolist() == [0, 0, 0, 0, 1, 2]
    assert augmented.metadata["split"][-2:].tolist() == ["train", "train"]
    assert corrected.space == NFN


def test_nfn_sirens_render_with_the_row_first(tmp_path: Path) -> None:
    theta = sirens(tmp_path, ["7s/net0", "3s/net1", "1s/net2"])
    (zoo,) = read_published("nfn-sirens", tmp_path, split_points=(1, 2))
    points = torch.rand(5, 2)
    w = {name: tensor[0, ..., 0] for name, tensor in theta.items()}
    h = torch.sin(30 * (points @ w["net.0.linear.weight"].T + w["net.0.linear.bias"]))
    h = torch.sin(30 * (h @ w["net.1.linear.weight"].T + w["net.1.linear.bias"]))
    y = h @ w["net.2.weight"].T + w["net.2.bias"]  # no constant: values lie between -1 and 1
    assert torch.allclose(zoo.space.realize(zoo.weights, points)[0], y, atol=1e-4)


def test_nfn_sirens_that_are_missing(tmp_path: Path) -> None:
    sirens(tmp_path, ["7s/net0", "3s/net2"])
    with pytest.raises(ZooError, match=r"net1.pth is missing, of the images 0 to 2"):
        read_published("nfn-sirens", tmp_path)
    shutil.copytree(tmp_path / "randinit_smaller_7s", tmp_path / "randinit_smaller_x7s")
    with pytest.raises(ZooError, match=r"randinit_smaller_x7s/net0.pth: expected randinit_smaller_LABELs"):
        read_published("nfn-sirens", tmp_path)


@pytest.mark.parametrize("points", [(2, 1), (1, 1), (0, 1), (1, 3), (45_000, 50_000), (1,), (1, 2, 3), 1, "ab"])
def test_nfn_sirens_divided_at_points_that_leave_a_split_empty(tmp_path: Path, points: Any) -> None:
    sirens(tmp_path, ["7s/net0", "3s/net1", "1s/net2"])
    with pytest.raises(ZooError, match=r"split_points: expected two increasing numbers between 0 and 3.* found "):
        read_published("nfn-sirens", tmp_path, split_points=points)


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=f"unknown data set 'mnist'; known: {', '.join(PUBLISHED)}"):
        read_published("mnist", tmp_path)
    with pytest.raises(ZooError, match="split: expected 'published' or 'corrected', found 'random'"):
        read_published("mnist-inrs", tmp_path, split="random")  # type: ignore[arg-type]
    with pytest.raises(ZooError, match="seed: expected a number from 0 on, found -1"):
        read_published("small-cnn-zoo", tmp_path, split="corrected", seed=-1)
    with pytest.raises(ZooError, match="nfn-sirens has no option copy; it has split_points, copies"):
        read_published("nfn-sirens", tmp_path, copy=True)
    with pytest.raises(ZooError, match="is not a folder"):
        read_published("nfn-sirens", tmp_path / "nothing")
