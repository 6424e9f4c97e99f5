"""Zoos on disk: damage is named, nothing is half written."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightspace import SpaceError, WeightspaceError, ZooError
from weightspace._files import atomic_write, sha256
from weightspace.space import siren
from weightspace.zoo import Zoo, _store, fit_inrs, load, render, round_trip, write_zoo

SPACE = siren([2, 4, 1])


@pytest.fixture
def theta() -> Any:
    return SPACE.sample(10, torch.Generator().manual_seed(0))


@pytest.fixture
def zoo(theta: Any, tmp_path: Path) -> Zoo:
    images = torch.arange(10 * 6, dtype=torch.uint8).view(10, 2, 3)
    return write_zoo(tmp_path / "zoo", theta, images=images, columns={"label": np.arange(10) % 3}, shard_size=4)


def test_round_trip_on_disk(zoo: Zoo, theta: Any) -> None:
    assert len(zoo) == len(zoo.weights) == 10
    assert zoo.space == SPACE
    for name, tensor in theta.items():
        assert torch.equal(zoo.weights[name], tensor)
    assert torch.equal(zoo.images, torch.arange(60, dtype=torch.uint8).view(10, 2, 3))  # type: ignore[arg-type]
    assert zoo.metadata["label"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert [len(zoo.splits[name]) for name in ("train", "validation", "test")] == [8, 1, 1]
    assert sorted(torch.cat(list(zoo.splits.values())).tolist()) == list(range(10))
    assert [shard["networks"] for shard in zoo.manifest["shards"]] == [4, 4, 2]
    zoo.verify()
    assert repr(zoo) == f"Zoo(10 networks 2-4-1 in {str(zoo.path)!r})"


def test_zoo_without_images_of_any_space(tmp_path: Path) -> None:
    from weightspace.space import mlp

    space = mlp([3, 5, 2], activation="tanh")
    zoo = write_zoo(tmp_path / "zoo", space.sample(3), about={"note": "no images"})
    assert zoo.images is None
    assert zoo.space == space
    assert zoo.manifest["note"] == "no images"
    with pytest.raises(ZooError, match="needs images and a column 'psnr'"):
        round_trip(zoo)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_one_shard_is_mapped_into_memory(theta: Any, tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path / "zoo", theta)
    assert torch.equal(zoo.weights["0.weight"], theta["0.weight"])
    assert str(zoo.path / "shard-00000.safetensors") in Path("/proc/self/maps").read_text()


def test_splits(theta: Any, tmp_path: Path) -> None:
    names = ["train"] * 5 + ["test"] * 5
    given = write_zoo(tmp_path / "given", theta, splits=np.array(names))
    assert given.splits["train"].tolist() == [0, 1, 2, 3, 4]
    assert len(given.splits["validation"]) == 0
    sized = write_zoo(tmp_path / "sized", theta, splits=(4, 3, 3), seed=1)
    again = write_zoo(tmp_path / "again", theta, splits=(4, 3, 3), seed=1)
    other = write_zoo(tmp_path / "other", theta, splits=(4, 3, 3), seed=2)
    assert [len(x) for x in sized.splits.values()] == [4, 3, 3]
    assert all(torch.equal(sized.splits[k], again.splits[k]) for k in sized.splits)
    assert any(not torch.equal(sized.splits[k], other.splits[k]) for k in sized.splits)
    for number, bad in enumerate([(4, 3, 4), (4, 6), ["train"] * 9, ["dev"] * 10, (12, -1, -1)]):
        with pytest.raises(ZooError, match="splits: expected"):
            write_zoo(tmp_path / f"bad{number}", theta, splits=bad)


def test_truncated_shard_is_named_and_the_others_stay_usable(zoo: Zoo, theta: Any) -> None:
    shard = zoo.path / "shard-00001.safetensors"
    expected, size = sha256(shard), shard.stat().st_size
    os.truncate(shard, size - 7)
    pattern = (
        rf"shard-00001.safetensors is truncated: expected {size} bytes with SHA-256 {expected}, "
        rf"found {size - 7} bytes with {sha256(shard)}"
    )
    for checksums in (True, False):
        with pytest.raises(ZooError, match=pattern):
            load(zoo.path, checksums=checksums)
    with pytest.warns(UserWarning, match=r"left out 4 networks: .*shard-00001") as caught:
        rest = load(zoo.path, skip_damaged=True)
    assert "skip_damaged" not in str(caught[0].message)
    keep = [0, 1, 2, 3, 8, 9]
    assert rest.metadata["index"].tolist() == keep
    assert torch.equal(rest.weights["2.weight"], theta["2.weight"][keep])
    assert rest.images is not None
    assert rest.images[-1].flatten().tolist() == list(range(54, 60))


def test_altered_byte_is_found(zoo: Zoo) -> None:
    shard = zoo.path / "shard-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    unchecked = load(zoo.path, checksums=False)
    for look in (lambda: load(zoo.path), unchecked.verify):
        with pytest.raises(ZooError, match=r"shard-00002.safetensors is altered: expected .* SHA-256 .* found"):
            look()
    with pytest.warns(UserWarning, match="left out 2 networks"):
        assert len(load(zoo.path, skip_damaged=True)) == 8


def test_missing_and_damaged_files(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"is not a zoo: there is no manifest\.json"):
        load(tmp_path)
    (zoo.path / "metadata.parquet").write_bytes(b"nonsense")
    with pytest.raises(ZooError, match=r"metadata\.parquet is truncated"):
        load(zoo.path)
    (zoo.path / "shard-00000.safetensors").unlink()
    with pytest.raises(ZooError, match=r"shard-00000\.safetensors is missing"):
        load(zoo.path)
    manifest = zoo.path / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**whole, "version": 99}))
    with pytest.raises(ZooError, match="expected format weightspace-zoo version 1, found weightspace-zoo version 99"):
        load(zoo.path)
    manifest.write_text(json.dumps({**whole, "shards": [{"file": "shard-00000.safetensors", "bytes": 1}]}))
    with pytest.raises(ZooError, match=r"lacks the key 'shards\[0\]\.sha256'"):
        load(zoo.path)
    for key in whole:
        manifest.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        with pytest.raises(ZooError, match=rf"manifest\.json is damaged: it lacks the key '{key}'"):
            load(zoo.path)
    manifest.write_text("{")
    with pytest.raises(ZooError, match=r"manifest\.json is damaged"):
        load(zoo.path)


def test_writer_refuses_what_does_not_fit(zoo: Zoo, theta: Any, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"expected one entry for each of 10 networks, found \{'label': 9\}"):
        write_zoo(tmp_path / "new", theta, columns={"label": np.arange(9)})
    with pytest.raises(ZooError, match="1 channel, found 2"):
        write_zoo(tmp_path / "new", theta.map(lambda t: t.expand(*t.shape[:-1], 2)))
    with pytest.raises(ZooError, match="non-finite"):
        write_zoo(tmp_path / "new", theta.map(lambda t: t * torch.nan))
    with pytest.raises(ZooError, match="is not empty"):
        write_zoo(zoo.path, theta)
    for options, message in (
        ({"columns": {"split": ["train"] * 9 + ["val"]}}, "column 'split': expected train, .*, found val"),
        ({"columns": {"label": 3}}, r"one entry for each network, found the shapes \{'label': \(\)\}"),
        ({"about": {"space": "mine", "note": ""}}, "the manifest has keys space of its own"),
        ({"shard_size": 0}, "shard_size at least 1, found 10 and 0"),
    ):
        with pytest.raises(ZooError, match=message):
            write_zoo(tmp_path / "new", theta, **options)
    with pytest.raises(ZooError, match=r"at least 1 network .* found 0"):
        write_zoo(tmp_path / "new", theta[:0])
    assert not (tmp_path / "new").exists()


def test_full_disk_while_a_shard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(4, 3, 3, dtype=torch.uint8)
    options: dict[str, Any] = {"recipe": "fast-300", "space": SPACE, "chunk": 2, "progress": False}
    real = _store.save_file

    def full(tensors: Any, file: Path) -> None:
        if "shard-00001" in file.name:
            file.write_bytes(b"part of a shard")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(tensors, file)

    monkeypatch.setattr(_store, "save_file", full)
    with pytest.raises(WeightspaceError, match=r"the disk is full: .*shard-00001.safetensors was not written"):
        fit_inrs(images, tmp_path / "zoo", **options)
    assert sorted(entry.name for entry in (tmp_path / "zoo").iterdir()) == ["manifest.json", "shard-00000.safetensors"]
    monkeypatch.setattr(_store, "save_file", real)
    assert len(fit_inrs(images, tmp_path / "zoo", **options)) == 4


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("No space left on device (os error 28)")]
)
def test_atomic_write_keeps_the_old_file(tmp_path: Path, error: Exception) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fail(cause: BaseException) -> None:
        with atomic_write(file) as temporary:
            temporary.write_text("half")
            raise cause

    with pytest.raises(WeightspaceError, match="the disk is full"):
        fail(error)
    for other in (KeyboardInterrupt(), PermissionError()):
        with pytest.raises(type(other)):
            fail(other)
    assert file.read_text() == "old"
    with atomic_write(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="needs a umask")
def test_files_may_be_read_by_others(theta: Any, tmp_path: Path) -> None:
    usual = os.umask(0o027)
    try:
        zoo = write_zoo(tmp_path / "zoo", theta)
    finally:
        os.umask(usual)
    assert {entry.stat().st_mode & 0o777 for entry in zoo.path.iterdir()} == {0o640}


def test_round_trip_finds_weights_of_other_images(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (4, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    zoo = fit_inrs(images, tmp_path / "zoo", recipe="fast-300", space=SPACE, progress=False)
    psnr = round_trip(zoo, batch_size=3)
    drawn = render(zoo.space, zoo.weights, 5, 5)
    expected = -10 * (drawn - images / 255).square().mean((1, 2)).log10()
    torch.testing.assert_close(psnr, expected)
    columns = {"psnr": zoo.metadata["psnr"]}
    wrong = write_zoo(tmp_path / "wrong", zoo.weights[torch.tensor([1, 0, 2, 3])], images=images, columns=columns)
    with pytest.raises(ZooError, match=r"network [01] renders at .* do not belong together"):
        round_trip(wrong)


def test_weights_fit_their_space(zoo: Zoo) -> None:
    with pytest.raises(SpaceError):
        zoo.weights["no such parameter"]
