"""Zoos of classifiers: what is stored, interruption, several processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import weightspace as ws
from weightspace import ZooError
from weightspace.zoo import load, make_zoo
from weightspace.zoo.networks import _make, _shards


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of two blocks of two networks, trained by one core."""
    monkeypatch.setattr(_make, "_TOGETHER", {"cnn": 2, "transformer": 2, "text-transformer": 2})
    monkeypatch.setattr(_shards, "_BLOCKS", 2)


def images(count, seed=0, size=16):
    """Bars, upright or not."""
    stream = np.random.default_rng(seed)
    labels = stream.integers(2, size=count)
    pixels = stream.integers(0, 60, (count, size, size), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        (image if label else image.T)[:, 6:10] += 180
    return pixels, labels


TRAIN, TEST = images(60), images(30, seed=1)


def make(out, architecture="cnn", **options):
    settings = {"networks": 7, "epochs": 4, "checkpoints": (1, 4), "batch_size": 8, "progress": False, **options}
    return make_zoo(architecture, TRAIN, TEST, out, **settings)


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize("architecture", ["cnn", "transformer"])
def test_what_is_stored_is_what_was_measured(tmp_path, architecture):
    zoo = make(tmp_path / "zoo", architecture, image_set="bars", seed=5)
    assert len(zoo) == 14
    assert zoo.manifest["image_set"], zoo.manifest["seed"] == ("bars", 5)
    data = zoo.metadata
    assert data["index"].tolist() == np.arange(7).repeat(2).tolist()
    assert data["step"].tolist() == [1, 4] * 7
    assert all(len(set(data["split"][data["index"] == i])) == 1 for i in range(7))
    assert len(set(data["config.learning_rate"])) > 2
    assert data["config.train_fraction"][[0, 4, 8, 12]].tolist() == sorted(data["config.train_fraction"][::4])[::-1]
    module = ws.zoo.SmallCNN(classes=2) if architecture == "cnn" else ws.zoo.SmallViT(2)
    space = ws.from_module(module, torch.zeros(2, 1, 16, 16))
    assert zoo.space == space or zoo.space.describe() == space.describe()
    runs, shape = ws.zoo.traced(zoo)
    assert (runs, shape) == (space, (1, 16, 16))
    pixels = torch.from_numpy(TEST[0])[:, None] / 255
    inputs, labels = (pixels if architecture == "cnn" else pixels * 2 - 1), torch.from_numpy(TEST[1])
    with torch.no_grad():
        logits = space.realize(ws.space.WeightFeatures(space, zoo.weights.tensors), inputs)
    accuracy = (logits.argmax(-1) == labels).double().mean(1)
    np.testing.assert_allclose(data["test_accuracy"], accuracy, atol=1e-6)
    losses = [F.cross_entropy(part, labels).item() for part in logits]
    np.testing.assert_allclose(data["test_loss"], losses, rtol=1e-4)


def texts(count, seed=0):
    """Sentences about one of two things."""
    stream = np.random.default_rng(seed)
    labels = stream.integers(2, size=count)
    common, things = (
        [f"{a}{chr(97 + i)}" for a in "cd" for i in range(26)],
        [["sun", "moon", "star"], ["cat", "dog", "cow"]],
    )
    sentences = [stream.choice([*common, *9 * things[label]], 20).tolist() for label in labels]
    return [" ".join(sentence).title() for sentence in sentences], labels


def test_texts(tmp_path):
    train, test = texts(200), texts(40, seed=1)
    options = {"networks": 8, "epochs": 8, "checkpoints": (8,), "progress": False, "seed": 2}
    zoo = make_zoo("text-transformer", train, test, tmp_path / "zoo", **options)
    assert zoo.metadata["test_accuracy"].max() > 0.75
    space, shape = ws.zoo.traced(zoo)
    assert shape == (64, 32)
    assert space.realize(zoo.weights, torch.rand(2, *shape)).shape == (8, 2, 2)
    assert (
        zoo.space.num_parameters
        == ws.from_module(ws.zoo.SmallTextTransformer(2), torch.randn(2, 64, 32)).num_parameters
    )
    with pytest.raises(ZooError, match="more than 32 different words, found 2"):
        make_zoo("text-transformer", (["a b", "a"], [0, 1]), test, tmp_path / "few", **options)
    with pytest.raises(ZooError, match="a list of strings"):
        make_zoo("text-transformer", ([1, 2], [0, 1]), test, tmp_path / "none", **options)


def test_networks_learn(tmp_path):
    zoo = make(tmp_path / "zoo", networks=4, epochs=30, checkpoints=(30,))
    assert zoo.metadata["test_accuracy"].max() > 0.9
    assert zoo.metadata["train_loss"].min() < 0.3


def test_an_interrupted_call_goes_on_with_the_same_result(tmp_path, monkeypatch):
    expected = make(tmp_path / "whole")
    calls, train = [], _shards.train_block

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(_shards, "train_block", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted: 4 of 7 networks are in .*; the same call continues"):
        make(tmp_path / "zoo")
    with pytest.raises(ZooError, match="call what made it again"):
        load(tmp_path / "zoo")
    first = (tmp_path / "zoo" / "shard-00000.safetensors").stat().st_mtime_ns
    found = make(tmp_path / "zoo")
    assert (tmp_path / "zoo" / "shard-00000.safetensors").stat().st_mtime_ns == first
    assert contents(tmp_path / "zoo") == contents(tmp_path / "whole")
    assert sorted(contents(tmp_path / "zoo")) == [
        "manifest.json", "metadata.parquet", "shard-00000.safetensors", "shard-00001.safetensors"
    ]  # fmt: skip
    assert len(make(tmp_path / "zoo")) == len(found) == len(expected)  # nothing is trained again


def test_a_shard_that_was_damaged_before_the_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(_shards.ZooFolder, "finish", lambda *_: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):
        make(tmp_path / "zoo")
    monkeypatch.undo()
    monkeypatch.setattr(_make, "_TOGETHER", {"cnn": 2})
    monkeypatch.setattr(_shards, "_BLOCKS", 2)
    (tmp_path / "zoo" / "shard-00000.json").rename(tmp_path / "note")
    with pytest.raises(ZooError, match="holds 6 of 14 networks; call what made it again"):
        load(tmp_path / "zoo")
    (tmp_path / "note").rename(tmp_path / "zoo" / "shard-00000.json")
    shard = tmp_path / "zoo" / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(ZooError, match=r"shard-00001\.safetensors is truncated"):
        make(tmp_path / "zoo")


@pytest.mark.slow
def test_processes_share_the_shards(tmp_path):
    code = (
        "import bars\n"
        "bars._make._TOGETHER, bars._shards._BLOCKS = {'cnn': 2}, 2\n"
        f"assert len(bars.make({str(tmp_path / 'zoo')!r})) == 14\n"
    )
    (tmp_path / "bars.py").write_text(Path(__file__).read_text())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
        )
        for rank in (1, 0)
    ]
    assert [process.wait(100) for process in processes] == [0, 0]
    make(tmp_path / "whole")
    assert contents(tmp_path / "zoo") == contents(tmp_path / "whole")


def test_colour_images_become_grey(tmp_path):
    colour = [(np.repeat(x[..., None], 3, axis=-1), y) for x, y in (TRAIN, TEST)]
    found = make_zoo("cnn", *colour, tmp_path / "colour", networks=1, epochs=1, progress=False)
    grey = make_zoo("cnn", TRAIN, TEST, tmp_path / "grey", networks=1, epochs=1, progress=False)
    assert found.metadata["test_loss"] == pytest.approx(grey.metadata["test_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "at least 1 network"),
        ({"epochs": 3}, "increasing epochs from 1 to 3, found .1, 4."),
        ({"checkpoints": (2, 1)}, "increasing epochs"),
        ({"batch_size": 0}, "batch_size: expected at least 1 example in a step, found 0"),
        ({"activation": "gelu"}, "expected relu or tanh, found 'gelu'"),
        ({"architecture": "transformer", "activation": "tanh"}, "expected relu, found 'tanh'"),
        ({"architecture": "mlp"}, "expected one of cnn, transformer, text-transformer, found 'mlp'"),
        ({"splits": (3, 3, 3)}, "three sizes that add up to 7"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, options, message):
    with pytest.raises(ZooError, match=message):
        make(tmp_path / "zoo", **options)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("architecture", "train", "message"),
    [
        ("cnn", (TRAIN[0][:, :14], TRAIN[1]), "at least 15 × 15 pixels, found 14 × 16"),
        ("transformer", (TRAIN[0][:, :15], TRAIN[1]), "multiples of 4, found 15 × 16"),
        ("cnn", (TRAIN[0][..., None], TRAIN[1]), "expected 3 channels"),
        ("cnn", (TRAIN[0][:, 1:], TRAIN[1]), "one size for training and test"),
        ("cnn", (TRAIN[0], TRAIN[1][:5]), "for each of 60 examples, found shape .5,."),
        ("cnn", (TRAIN[0], TRAIN[1] - 1), "labels: expected classes from 0 on, found -1"),
        (
            "cnn",
            (["a text"] * 60, TRAIN[1]),
            "images: expected uint8 .*, found list; texts are for .*'text-transformer'",
        ),
    ],
)
def test_unfit_images_are_refused(tmp_path, architecture, train, message):
    test = TEST if "one size" in message else (train[0][:30], TEST[1])
    with pytest.raises(ZooError, match=message):
        make_zoo(architecture, train, test, tmp_path / "zoo", networks=1)


def test_a_folder_with_another_zoo_is_refused(tmp_path):
    make(tmp_path / "zoo", networks=2)
    with pytest.raises(ZooError, match=r"holds another zoo: it differs in seed \(0, now 1\)"):
        make(tmp_path / "zoo", networks=2, seed=1)
