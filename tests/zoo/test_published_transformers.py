"""The Small Transformer Zoo, read from small folders of the same layout."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from weightspace import ZooError
from weightspace.zoo import SmallViT, read_published, traced

RUNS = 20


def state_of(data: str, seed: int) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of the published ones."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {}
    if data == "mnist":
        shapes = {
            "embedding.pos_embedding": (49, 32),
            "embedding.conv1.weight": (32, 1, 4, 4),
            "embedding.conv1.bias": (32,),
        }
    else:
        shapes = {"embedding.pos_embedding": (50, 32), "embedding.embedding.weight": (30, 32)}
    for i in range(2):
        for name in ("queries", "keys", "values", "out_projection"):
            shapes[f"encoder.{i}.attention.{name}.weight"] = (32, 32)
        shapes |= {f"encoder.{i}.fc1.weight": (64, 32), f"encoder.{i}.fc1.bias": (64,)}
        shapes |= {f"encoder.{i}.fc2.weight": (32, 64), f"encoder.{i}.fc2.bias": (32,)}
    classes = 10 if data == "mnist" else 4
    shapes |= {"classifier.fc1.weight": (32, 32), "classifier.fc1.bias": (32,)}
    shapes |= {"classifier.fc2.weight": (classes, 32), "classifier.fc2.bias": (classes,)}
    return {name: torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}


def accuracy_of(run: int) -> float:
    return 0.05 + run * 7 % RUNS / RUNS


def transformer_zoo(root: Path, data: str = "mnist") -> None:
    column = "test_top1_accuracy" if data == "mnist" else "test_accuracy"
    lines = [f"lr,ckpt_epoch,ckpt_file,{column},optimizer"]
    (root / data).mkdir(parents=True)
    (root / "metadata").mkdir(exist_ok=True)
    for run in range(RUNS):
        for epoch in ("50", "75", "best"):
            name = f"run{run}_{epoch}_{int(accuracy_of(run) * 10_000)}.pt"
            lines.append(f"0.00{run + 1},{epoch},{data}/{name},{accuracy_of(run)},adam")
            if epoch == "75":
                torch.save(state_of(data, run), root / data / name)
    (root / "metadata" / f"{data}.csv").write_text("\n".join(lines) + "\n")


def published(runs: list[int]) -> dict[int, str]:
    """The published procedure, written down plainly."""
    shuffled = list(runs)
    random.Random(3).shuffle(shuffled)
    train, validation = int(len(runs) * 0.7), int(len(runs) * 0.15)
    names = ["train"] * train + ["validation"] * validation + ["test"] * (len(runs) - train - validation)
    return dict(zip(shuffled, names, strict=True))


def runs_of(zoo: Any) -> list[int]:
    return [int(Path(name).name.split("_")[0].removeprefix("run")) for name in zoo.metadata["ckpt_file"]]


def forward(state: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """The published network behind its embedding: two heads, no residual connections, norms without gains."""
    x = tokens
    for i in range(2):
        y = F.layer_norm(x, (32,))
        q, k, v = (
            (y @ state[f"encoder.{i}.attention.{name}.weight"].T).reshape(*y.shape[:2], 2, 16).permute(0, 2, 1, 3)
            for name in ("queries", "keys", "values")
        )
        attention = torch.softmax(q @ k.permute(0, 1, 3, 2) / 4.0, dim=-1)
        x = (attention @ v).permute(0, 2, 1, 3).reshape(y.shape)
        x = x @ state[f"encoder.{i}.attention.out_projection.weight"].T
        y = F.linear(F.layer_norm(x, (32,)), state[f"encoder.{i}.fc1.weight"], state[f"encoder.{i}.fc1.bias"])
        x = F.linear(y.relu(), state[f"encoder.{i}.fc2.weight"], state[f"encoder.{i}.fc2.bias"])
    x = F.layer_norm(x, (32,)).mean(1)
    x = F.linear(x, state["classifier.fc1.weight"], state["classifier.fc1.bias"]).relu()
    return F.linear(x, state["classifier.fc2.weight"], state["classifier.fc2.bias"])


def positions(length: int) -> torch.Tensor:
    rates = torch.exp(torch.arange(0, 32, 2) * (-math.log(10000.0) / 32))
    found = torch.zeros(length, 32)
    found[:, 0::2] = torch.sin(torch.arange(length)[:, None] * rates)
    found[:, 1::2] = torch.cos(torch.arange(length)[:, None] * rates)
    return found


def test_transformers_compute_what_they_did(tmp_path: Path) -> None:
    transformer_zoo(tmp_path)
    (zoo,) = read_published("small-transformer-zoo", tmp_path)
    assert zoo.space.num_parameters == 18_506
    images = torch.randn(3, 1, 28, 28)
    computed = zoo.space.realize(zoo.weights[:3], images)
    for run, found in zip(runs_of(zoo)[:3], computed, strict=True):
        state = state_of("mnist", run)
        patches = F.conv2d(images, state["embedding.conv1.weight"], state["embedding.conv1.bias"], stride=4)
        tokens = patches.reshape(3, 32, -1).permute(0, 2, 1) + positions(49)
        assert torch.allclose(found, forward(state, tokens), atol=1e-4)
    assert [accuracy_of(run) for run in runs_of(zoo)] == pytest.approx(zoo.metadata["test_accuracy"].tolist())
    assert set(zoo.metadata["ckpt_epoch"]) == {"75"}
    assert set(zoo.metadata["optimizer"]) == {"adam"}
    space, shape = traced(zoo)
    assert (space, shape) == (zoo.space, (1, 28, 28))


def test_text_transformers_take_word_vectors(tmp_path: Path) -> None:
    transformer_zoo(tmp_path, "ag_news")
    (zoo,) = read_published("small-transformer-zoo", tmp_path, data="ag_news")
    words = torch.randn(3, 7, 32)
    computed = zoo.space.realize(zoo.weights[:2], words)
    for run, found in zip(runs_of(zoo)[:2], computed, strict=True):
        assert torch.allclose(found, forward(state_of("ag_news", run), words + positions(7)), atol=1e-4)
    assert found.shape == (3, 4)
    space, shape = traced(zoo)
    assert shape == (64, 32)
    theta = space.features(dict(zoo.weights.items()))
    assert torch.equal(space.realize(theta, words), zoo.space.realize(zoo.weights, words))


@pytest.mark.parametrize("cut_off", [0.0, 0.4])
def test_the_published_split_is_drawn_from_seed_3_behind_the_threshold(tmp_path: Path, cut_off: float) -> None:
    transformer_zoo(tmp_path)
    (zoo,) = read_published("small-transformer-zoo", tmp_path, cut_off=cut_off)
    expected = published([run for run in range(RUNS) if accuracy_of(run) >= cut_off])
    assert dict(zip(runs_of(zoo), zoo.metadata["split"].tolist(), strict=True)) == expected


def test_the_corrected_split_is_the_same_at_every_threshold(tmp_path: Path) -> None:
    transformer_zoo(tmp_path)

    def split(**options: Any) -> dict[int, str]:
        (zoo,) = read_published("small-transformer-zoo", tmp_path, split="corrected", **options)
        return dict(zip(runs_of(zoo), zoo.metadata["split"].tolist(), strict=True))

    everything, some = split(), split(cut_off=0.4)
    assert [list(everything.values()).count(name) for name in ("train", "validation", "test")] == [14, 3, 3]
    assert some == {run: name for run, name in everything.items() if accuracy_of(run) >= 0.4}
    assert split(seed=1) != everything


def cache(root: Path, runs: dict[str, list[int]], cut_off: float = 0.1) -> None:
    """The files that the published code makes, tensor by tensor as it does."""
    heads = {"queries": "W_q", "keys": "W_k", "values": "W_v"}
    for split, members in runs.items():
        states = [state_of("mnist", run) for run in members]

        def stacked(name: str, change: Any = lambda t: t, states: Any = states) -> torch.Tensor:
            return torch.stack([change(state[name]) for state in states])[:, None]

        encoder: dict[str, list[torch.Tensor]] = {}
        for i in range(2):
            block = f"encoder.{i}"
            for name, short in heads.items():
                part = stacked(f"{block}.attention.{name}.weight", lambda t: t.reshape(2, 16, 32).transpose(-1, -2))
                encoder.setdefault(short, []).append(part)
            part = stacked(f"{block}.attention.out_projection.weight", lambda t: t.T.reshape(2, 16, 32))
            encoder.setdefault("W_o", []).append(part)
            for name, short in (("fc1", "A"), ("fc2", "B")):
                encoder.setdefault(f"W_{short}", []).append(stacked(f"{block}.{name}.weight", lambda t: t.T))
                encoder.setdefault(f"b_{short}", []).append(stacked(f"{block}.{name}.bias"))
        content = {
            "embedding": {kind: [stacked(f"embedding.conv1.{kind}")] for kind in ("weight", "bias")},
            "encoder": encoder,
            "classifier": {
                kind: [stacked(f"classifier.{layer}.{kind}") for layer in ("fc1", "fc2")] for kind in ("weight", "bias")
            },
            "accuracy": torch.tensor([[accuracy_of(run)] for run in members]),
        }
        torch.save(content, root / f"mnist_{split}_{cut_off}.pt")


def test_the_files_of_the_published_code_are_taken_where_they_are(tmp_path: Path) -> None:
    runs = {"train": [4, 2, 7], "val": [3], "test": [1, 0]}
    cache(tmp_path, runs)
    (zoo,) = read_published("small-transformer-zoo", tmp_path, cut_off=0.1)
    assert zoo.metadata["split"].tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    members = [run for part in runs.values() for run in part]
    assert [accuracy_of(run) for run in members] == pytest.approx(zoo.metadata["test_accuracy"].tolist())
    for run, state in zip(members, zoo.space.unstack(zoo.weights), strict=True):
        original = state_of("mnist", run)
        assert sorted(state) == sorted(original.keys() - {"embedding.pos_embedding"})
        assert all(torch.equal(tensor, original[name]) for name, tensor in state.items())
    torch.save({"embedding": {}}, tmp_path / "mnist_val_0.1.pt")
    with pytest.raises(ZooError, match=r"mnist_val_0.1.pt: expected the networks of a split"):
        read_published("small-transformer-zoo", tmp_path, cut_off=0.1)
    with pytest.raises(ZooError, match=r"metadata/mnist.csv cannot be read"):  # no other threshold was kept
        read_published("small-transformer-zoo", tmp_path, cut_off=0.2)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    transformer_zoo(tmp_path)

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(ZooError, match=message):
            read_published("small-transformer-zoo", tmp_path, **options)

    refused("data: expected 'mnist' or 'ag_news', found 'cifar'", data="cifar")
    refused(r"metadata/ag_news.csv cannot be read", data="ag_news")
    refused("no mnist network of epoch 80 has an accuracy of at least 0.0", epoch=80)
    refused("no mnist network of epoch 75 has an accuracy of at least 1.5", cut_off=1.5)
    refused(r"run\d+_50_\d+.pt is missing, as are 19 others", epoch=50)
    (file,) = (tmp_path / "mnist").glob("run7_75_*.pt")
    state = state_of("mnist", 7)
    torch.save(state | {"encoder.0.fc1.bias": torch.zeros(63)}, file)
    refused(r"run7_75_\d+.pt: not a network of the Small Transformer Zoo: .*encoder.0.fc1.bias")
    torch.save({key: tensor for key, tensor in state.items() if key != "classifier.fc2.bias"}, file)
    refused(r"run7_75_\d+.pt: not a network of the Small Transformer Zoo")
    file.write_bytes(b"nothing")
    refused(r"run7_75_\d+.pt: a pickle that holds more than tensors, or is damaged")
    table = tmp_path / "metadata" / "mnist.csv"
    table.write_text(table.read_text().replace("test_top1_accuracy", "accuracy"))
    refused("mnist.csv lacks the columns test_top1_accuracy and test_accuracy")


def test_the_network_is_the_one_of_the_library(tmp_path: Path) -> None:
    transformer_zoo(tmp_path)
    (zoo,) = read_published("small-transformer-zoo", tmp_path)
    module = SmallViT()
    module.load_state_dict(zoo.space.unstack(zoo.weights[:1])[0])
    images = torch.randn(2, 1, 28, 28)
    assert torch.allclose(zoo.space.realize(zoo.weights[:1], images)[0], module.eval()(images), atol=1e-5)
