"""CIFAR-10 from both of its versions, and image sets by name."""

import pickle
from typing import ClassVar

import numpy as np
import pytest

from weightspace import ZooError
from weightspace.zoo import cifar10, image_set

NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def batch(seed, count=3):
    stream = np.random.default_rng(seed)
    return stream.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), stream.integers(0, 10, count)


class _Python2(pickle._Pickler):
    """Writes text as Python 2 wrote its strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


@pytest.fixture(params=["bin", "py"])
def folder(request, tmp_path):
    for seed, name in enumerate(NAMES):
        pixels, labels = batch(seed)
        if request.param == "bin":
            records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(3, -1)], axis=1)
            (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
        else:
            content = {b"batch_label": name.encode(), b"labels": labels.tolist(), b"data": pixels.reshape(3, -1)}
            with (tmp_path / name).open("wb") as file:
                _Python2(file, protocol=2).dump(content)
    return tmp_path


def test_both_versions_are_read(folder):
    pixels, labels = (np.concatenate(column) for column in zip(*map(batch, range(5)), strict=True))
    found = cifar10(folder)
    np.testing.assert_array_equal(found[0], pixels.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(found[1], labels)
    assert found[0].shape == (15, 32, 32, 3)
    np.testing.assert_array_equal(image_set(str(folder), "test")[1], batch(5)[1])


def test_damaged_files_are_named(folder):
    file = next(file for file in folder.iterdir() if file.name.startswith("data_batch_3"))
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ZooError, match=file.name):
        cifar10(folder)
    file.unlink()
    with pytest.raises(ZooError, match=f"{file.name} cannot be read"):
        cifar10(folder)
    with pytest.raises(ZooError, match="expected 'train' or 'test', found 'all'"):
        cifar10(folder, "all")


class _Trap:
    def __reduce__(self):
        return print, ("never",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_Trap(), "it would run builtins.print"),
        ({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, "found float64"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "shape .1, 3072."),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "is no batch of CIFAR-10"),
    ],
)
def test_pickles_with_something_else_are_refused(tmp_path, content, message, capsys):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(ZooError, match=message):
        cifar10(tmp_path, "test")
    assert capsys.readouterr().out == ""


def test_sets_by_name(tmp_path):
    assert image_set("mnist5k")[0].shape == (5000, 28, 28)
    with pytest.raises(ZooError, match="training images only"):
        image_set("mnist5k", "test")
    with pytest.raises(ZooError, match="has none of the files"):
        image_set(str(tmp_path))
