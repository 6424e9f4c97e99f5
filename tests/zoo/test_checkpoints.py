"""Checkpoints: every layout is read, every defect has a sentence, what is written comes back bit for bit."""

import copy
import json
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_file, save_model
from torch import nn

import weightspace as ws
from weightspace import ZooError
from weightspace.zoo import load_state_dicts, read_checkpoints, write_checkpoints

SPACE = ws.mlp([2, 4, 1])


class Language(nn.Module):
    """Tied weights, a packed projection, a mask, and a norm with a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.triu(torch.full((5, 5), -torch.inf), 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embedding(x)
        h = h + self.attention(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        return self.head(self.norm(h.mT).mT)


@pytest.fixture(scope="module")
def language() -> Any:
    """The space of `Language`."""
    return ws.from_module(Language(), torch.randint(0, 11, (2, 5)))


def networks(count: int = 3, seed: int = 0, space: Any = SPACE) -> Any:
    return space.sample(count, torch.Generator().manual_seed(seed))


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    return SPACE.unstack(networks(1, seed))[0]


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a.tensors, b.tensors, strict=True))


def read(path: Any, space: Any = SPACE, **options: Any) -> Any:
    return read_checkpoints(path, space, progress=False, **options)


# --------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("format", ["safetensors", "pt", "huggingface"])
def test_round_trip_is_exact(tmp_path: Path, format: Any, dtype: torch.dtype) -> None:
    theta = networks(12).to(dtype)
    paths = write_checkpoints(theta, tmp_path / "new" / "folder", format)
    back = read(tmp_path / "new" / "folder")
    assert same(back.theta, theta)
    assert back.names == tuple(f"network-{i:03d}" for i in range(12)) == tuple(p.stem for p in paths)
    assert not back.skipped
    assert len(back) == 12
    assert repr(back) == "Checkpoints(12 networks 2-4-1)"
    assert same(read(paths[4]).theta, theta[4])
    assert read(paths[4]).names == ("network-004",)


@pytest.mark.parametrize("format", ["safetensors", "pt", "huggingface"])
def test_modules_with_tied_and_packed_weights_and_counters(tmp_path: Path, language: Any, format: Any) -> None:
    modules = [Language() for _ in range(3)]
    theta = language.stack(modules)
    paths = write_checkpoints(theta, tmp_path, format, names=["c", "a", "b"])
    assert same(read(paths, language).theta, theta)
    assert read(tmp_path, language).names == ("a", "b", "c")
    for path, module in zip(paths, modules, strict=True):
        file = path / "model.safetensors" if format == "huggingface" else path
        (found,) = load_state_dicts([path])
        expected = module.state_dict()
        kept = set(expected) - ({"head.weight"} if format != "pt" else set())
        assert set(found) == kept
        assert all(torch.equal(found[key], expected[key]) and found[key].dtype == expected[key].dtype for key in kept)
        assert found["norm.num_batches_tracked"].dtype == torch.int64
        other = Language()
        if format == "pt":
            other.load_state_dict(torch.load(file, weights_only=True))
            assert found["head.weight"].data_ptr() == found["embedding.weight"].data_ptr()
        else:
            load_model(other, file)  # strict: the metadata must explain the key that is not there
            with safe_open(file, "pt") as content:
                assert content.metadata() == {"format": "pt", "head.weight": "embedding.weight"}
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in expected.items())


def test_files_of_others_with_tied_weights(tmp_path: Path, language: Any) -> None:
    modules = [Language(), Language()]
    save_model(modules[0], str(tmp_path / "a.safetensors"))
    torch.save(modules[1].state_dict(), tmp_path / "b.pt")
    assert same(read(tmp_path, language).theta, language.stack(modules))
    untied = modules[1].state_dict() | {"head.weight": torch.zeros(11, 8)}
    torch.save(untied, tmp_path / "b.pt")
    with pytest.raises(ZooError, match=r"b\.pt: 'embedding.weight' and 'head.weight' are one tensor .* they differ"):
        read(tmp_path, language)


def test_buffers_that_are_no_weights_must_be_those_of_the_space(tmp_path: Path, language: Any) -> None:
    module = Language()
    module.norm.num_batches_tracked += 7
    torch.save(module.state_dict(), tmp_path / "a.pt")
    assert same(read(tmp_path, language).theta, language.stack([module]))
    module.mask.zero_()
    torch.save(module.state_dict(), tmp_path / "b.pt")
    with pytest.raises(ZooError, match=r"1 of 2 .*b\.pt: the buffer 'mask' is no weight"):
        read(tmp_path, language)


def test_huggingface_config(tmp_path: Path) -> None:
    write_checkpoints(networks(1), tmp_path, "huggingface", ["run"], config={"width": 4})
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"width": 4}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "model.safetensors"]


# ------------------------------------------------------------------------------------------------------------- layouts


def test_formats_mix_in_one_folder_and_other_files_do_not_count(tmp_path: Path) -> None:
    states = [state(i) for i in range(6)]
    save_file(states[0], tmp_path / "a.safetensors")
    for i, name in enumerate(("b.pt", "c.PTH", "d.bin", "e.ckpt"), 1):
        torch.save(states[i], tmp_path / name)
    write_checkpoints(SPACE.stack(states[5:]), tmp_path, "huggingface", ["f"])
    for name in (
        "optimizer.pt",
        "scheduler_1.bin",
        "training_args.bin",
        "rng_state_0.pth",
        ".a.safetensors",
        "log.txt",
    ):
        (tmp_path / name).write_bytes(b"no network")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "g.pt").write_bytes(b"no network")
    found = read(tmp_path)
    assert found.names == ("a", "b", "c", "d", "e", "f")
    assert same(found.theta, SPACE.stack(states))


def test_names_of_networks_deeper_down(tmp_path: Path) -> None:
    for run in ("run-2", "run-1"):
        write_checkpoints(networks(2), tmp_path / run, names=["step.10", "step.5"])
    deep = read(tmp_path)
    assert deep.names == ("run-1/step.10", "run-1/step.5", "run-2/step.10", "run-2/step.5")
    assert same(deep.theta[:2], networks(2))
    files = [tmp_path / run / "step.5.safetensors" for run in ("run-2", "run-1")]
    assert read(files).names == ("run-2/step.5", "run-1/step.5")
    assert read([str(files[0])]).names == ("step.5",)
    assert read([tmp_path / "run-2", files[1]]).names == ("run-2/step.10", "run-2/step.5", "run-1/step.5")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoints(networks(1), tmp_path, "huggingface", ["run"])
    monkeypatch.chdir(tmp_path / "run")
    assert read(".").names == ("run",)
    assert read("model.safetensors").names == ("model",)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_folder_in_parts(tmp_path: Path, kind: str) -> None:
    whole, stem = state(), "model" if kind == "safetensors" else "pytorch_model"
    places = {key: f"{stem}-0000{1 + i % 2}-of-00002.{kind}" for i, key in enumerate(whole)}
    folder = tmp_path / "net"
    folder.mkdir()
    for file in set(places.values()):
        part = {key: whole[key] for key in whole if places[key] == file}
        save_file(part, folder / file) if kind == "safetensors" else torch.save(part, folder / file)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for path in (folder, tmp_path):
        assert read(path).names == ("net",)
        assert same(read(path).theta, SPACE.stack([whole]))
    index.write_text(json.dumps({"weight_map": {**places, "ghost": places["0.bias"]}}))
    with pytest.raises(ZooError, match=r"index\.json: the parts lack tensors of the index: ghost"):
        read(folder)
    for damage, message in (
        ('{"weight_map": {"a": "../elsewhere.bin"}}', r"a file outside the folder: '\.\./elsewhere\.bin'"),
        ('{"weight_map": 5}', "expected JSON with a weight_map"),
        ("{", "expected JSON with a weight_map"),
        ('{"weight_map": {"a": "absent.bin"}}', r"part absent\.bin: cannot be read: .*No such file"),
    ):
        index.write_text(damage)
        with pytest.raises(ZooError, match=rf"net: {re.escape(index.name)}: .*{message}"):
            read(folder)


def test_whole_file_comes_before_parts_as_others_have_it(tmp_path: Path) -> None:
    (path,) = write_checkpoints(networks(1), tmp_path, "huggingface")
    torch.save(state(5), path / "pytorch_model.bin")
    (path / "model.safetensors.index.json").write_text("{")
    assert same(read(path).theta, networks(1))
    with pytest.raises(ZooError, match=r"holds no network: expected one of model\.safetensors"):
        load_state_dicts([tmp_path])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": s, "optimizer_state": {"state": {0: {"step": torch.ones(())}}}},
        lambda s: {"model_state_dict": s, "loss": 0.5},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"model": {f"module._orig_mod.{key}": value for key, value in s.items()}},
        lambda s: {f"_orig_mod.module.{key}": nn.Parameter(value) for key, value in s.items()},
    ],
)
def test_wrapped_state_dicts(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(state()), tmp_path / "a.pt")
    found = read(tmp_path)
    assert same(found.theta, networks(1))
    assert not any(tensor.requires_grad for tensor in found.theta.tensors)


def test_a_module_may_have_a_child_called_module(tmp_path: Path) -> None:
    space = ws.mlp([2, 4, 1], layer_names=["module.0", "module.2"])
    (states,) = space.unstack(networks(1, space=space))
    torch.save(states, tmp_path / "a.pt")
    torch.save({f"module.{key}": value for key, value in states.items()}, tmp_path / "b.pt")
    assert same(read(tmp_path, space).theta, space.stack([states, states]))
    torch.save({f"model.{key}": value for key, value in states.items()}, tmp_path / "b.pt")
    with pytest.raises(
        ZooError, match=r"b\.pt: the keys .* missing \['module\.0\.weight'.*\['model\.module\.0\.weight'"
    ):
        read(tmp_path, space)


# ------------------------------------------------------------------------------------------------------------- defects


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("import sys; sys.evil_checkpoint_ran = True",)


def damaged(folder: Path) -> dict[str, str]:
    """Writes files with one defect each; returns what must be said of them."""
    good = state()
    write_checkpoints(networks(2), folder, names=["good-1", "good-2"])
    whole = (folder / "good-1.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-7])
    (folder / "empty.safetensors").touch()
    torch.save(good, folder / "cut.pt")
    os.truncate(folder / "cut.pt", 900)
    (folder / "cut.pt").rename(folder / "cut-2.pt")
    (folder / "empty-2.pt").touch()
    torch.save(good | {"evil": Evil()}, folder / "evil.pt")
    torch.save({"model": nn.Linear(2, 2)}, folder / "pickled.pth")
    save_file(good | {"0.weight": torch.zeros(4, 3)}, folder / "shape.safetensors")
    save_file({key: value for key, value in good.items() if key != "0.bias"}, folder / "missing.safetensors")
    save_file(good | {"more": torch.zeros(1)}, folder / "more.safetensors")
    save_file(good | {"2.bias": torch.full((1,), torch.nan)}, folder / "diverged.safetensors")
    save_file(good | {"2.bias": torch.zeros(1, dtype=torch.int64)}, folder / "integers.safetensors")
    torch.save({"model": good, "state_dict": good}, folder / "two.pt")
    torch.save({"net": good}, folder / "unknown.pt")
    torch.save([good], folder / "list.pt")
    torch.save(good | {"2.bias": good["2.bias"].to_sparse()}, folder / "sparse.pt")
    torch.save({key: value.to("meta") for key, value in good.items()}, folder / "meta.pt")
    return {
        "cut.safetensors": "cannot be read: .*",
        "empty.safetensors": "cannot be read: .*",
        "cut-2.pt": "cannot be read: .*",
        "empty-2.pt": "cannot be read: it is damaged, or no file that torch.save wrote .EOFError",
        "evil.pt": r"a pickle that holds more than tensors \(exec\), and may run any code .* refused",
        "pickled.pth": r"a pickle that holds more than tensors \(torch\.nn\.modules\.linear\.Linear\).* refused",
        "shape.safetensors": r"tensor '0\.weight': expected shape \(4, 2\), found \(4, 3\)",
        "missing.safetensors": r"the keys are .* missing \['0\.bias'\], unexpected none",
        "more.safetensors": r"the keys are .* missing none, unexpected \['more'\]",
        "diverged.safetensors": r"tensor '2\.bias' has non-finite entries; drop",
        "integers.safetensors": r"tensor '2\.bias' is torch\.int64",
        "two.pt": r"holds several state dicts \(state_dict, model\); save the one",
        "unknown.pt": "expected a state dict, .*, found 'net' with dict",
        "list.pt": "expected a state dict, names with tensors, found list",
        "sparse.pt": r"'2\.bias' is a sparse tensor, or one without entries",
        "meta.pt": r"'0\.weight' is a sparse tensor, or one without entries",
    }


def test_every_defect_is_named(tmp_path: Path) -> None:
    expected = damaged(tmp_path)
    for name, reason in expected.items():
        with pytest.raises(ZooError, match=rf"cannot use 1 of 1 checkpoints: {tmp_path}/{re.escape(name)}: {reason}"):
            read(tmp_path / name)
    with pytest.raises(ZooError) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"cannot use {len(expected)} of {len(expected) + 2} checkpoints (skip_damaged=True")
    for name, reason in expected.items():
        assert re.search(rf"\n  [^\n]*{re.escape(name)}[^\n]*: {reason}", text), name
    assert "good" not in text
    assert "network 0" not in text
    assert not hasattr(sys, "evil_checkpoint_ran")


def test_damaged_checkpoints_are_left_out_on_demand(tmp_path: Path) -> None:
    expected = damaged(tmp_path)
    with pytest.warns(UserWarning, match=f"left out {len(expected)} of {len(expected) + 2} checkpoints") as caught:
        found = read(tmp_path, skip_damaged=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__.replace(".pyc", ".py")
    assert found.names == ("good-1", "good-2")
    assert same(found.theta, networks(2))
    assert {name.rpartition(".")[0] for name in expected} == set(found.skipped)
    assert repr(found) == f"Checkpoints(2 networks 2-4-1, {len(expected)} left out)"
    with warnings.catch_warnings():  # nothing to leave out, nothing to say
        warnings.simplefilter("error")
        assert read(tmp_path / "good-1.safetensors", skip_damaged=True).skipped == {}
    with pytest.raises(ZooError, match=r"cannot use 2 of 2 checkpoints: \n  .*shape.*\n  .*more"):
        read([tmp_path / "shape.safetensors", tmp_path / "more.safetensors"], skip_damaged=True)


def test_the_same_reason_is_given_once(tmp_path: Path) -> None:
    write_checkpoints(networks(3), tmp_path)
    with pytest.raises(ZooError) as caught:
        read(tmp_path, ws.mlp([2, 5, 1]))
    assert str(caught.value).count("expected shape") == 1
    assert all(f"network-00{i}.safetensors" in str(caught.value) for i in range(3))


def test_any_damage_is_a_zoo_error(tmp_path: Path) -> None:
    draw = random.Random(0)
    save_file(state(), tmp_path / "a.safetensors")
    torch.save({"model": state()}, tmp_path / "b.pt")
    torch.save(state(), tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    refused = 0
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        for _ in range(80):
            content = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.2 else whole)
            for _ in range(draw.choice([1, 4, 16])):
                content[draw.randrange(max(1, len(content))) :][:1] = b""
                if content:
                    content[draw.randrange(len(content))] = draw.randrange(256)
            file.write_bytes(content)
            try:
                read(file)
            except ZooError:
                refused += 1
    assert 60 < refused < 240


def test_nothing_to_read_and_ambiguous_names(tmp_path: Path) -> None:
    for nothing in (tmp_path, []):
        with pytest.raises(ZooError, match=r"holds no checkpoints: no \.safetensors, \.pt"):
            read(nothing)
    with pytest.raises(ZooError, match="absent does not exist"):
        read([tmp_path / "absent"])
    write_checkpoints(networks(1), tmp_path, names=["a"])
    write_checkpoints(networks(1), tmp_path, "pt", names=["a"])
    with pytest.raises(ZooError, match=r"a\.pt and .*a\.safetensors would both be network 'a'"):
        read(tmp_path)
    assert read([tmp_path / "a.pt"]).names == ("a",)
    with pytest.raises(ZooError, match="would both be network 'a'"):
        read([tmp_path / "a.pt", tmp_path / "a.pt"])


# -------------------------------------------------------------------------------------------------------------- dtypes


def test_mixed_dtypes_need_a_cast(tmp_path: Path) -> None:
    theta = networks(3)
    write_checkpoints(theta[:2], tmp_path, names=["a", "b"])
    write_checkpoints(theta[2].to(torch.float16), tmp_path, names=["c"])
    with pytest.raises(ZooError, match=r"c\.safetensors: the weights are torch.float16, .* torch.float32; dtype="):
        read(tmp_path)
    cast = read(tmp_path, dtype=torch.float64)
    assert same(cast.theta[:2], theta[:2].to(torch.float64))
    assert same(cast.theta[2], theta[2].to(torch.float16).to(torch.float64))
    save_file(state() | {"0.bias": torch.zeros(4, dtype=torch.float16)}, tmp_path / "c.safetensors")
    with pytest.raises(ZooError, match=r"c\.safetensors: the weights are torch.float16 and torch.float32; dtype="):
        read(tmp_path / "c.safetensors")
    assert read(tmp_path, dtype=torch.float32).theta["0.bias"][2].abs().sum() == 0
    for wrong in (torch.int64, "float32"):
        with pytest.raises(ZooError, match="dtype: expected a floating dtype"):
            read(tmp_path, dtype=wrong)
    save_file(state() | {"0.bias": torch.full((4,), 1e6)}, tmp_path / "c.safetensors")
    with pytest.raises(ZooError, match="non-finite"):
        read(tmp_path / "c.safetensors", dtype=torch.float16)


# ------------------------------------------------------------------------------------------------------------- writing


def test_writer_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    theta, out = networks(2), tmp_path / "out"
    for options, message in (
        ({"format": "onnx"}, "format: expected one of safetensors, pt, huggingface, found 'onnx'"),
        ({"names": ["a"]}, "names: expected 2 different names, found 1 in 1"),
        ({"names": ["a", "a"]}, "expected 2 different names, found 1 in 2"),
        ({"names": "ab"}, "expected 2 different names"),
        ({"names": ["a", "b/c"]}, "'b/c' is no plain file name"),
        ({"names": ["a", "../b"]}, r"'\.\./b' is no plain file name"),
        ({"names": ["a", "b\\c"]}, "is no plain file name"),
        ({"names": ["a", ".b"]}, r"'\.b' is no plain file name"),
        ({"names": ["a", ""]}, "'' is no plain file name"),
        ({"names": ["a", 3]}, "3 is no plain file name"),
        ({"names": ["a", "optimizer"]}, "'optimizer' is what trainers call other files"),
        ({"config": {}}, "config goes with format 'huggingface' only"),
        ({"format": "huggingface", "config": {"a": torch.nn}}, "config: expected a mapping that JSON can hold"),
    ):
        with pytest.raises(ZooError, match=message):
            write_checkpoints(theta, out, **options)
    with pytest.raises(ZooError, match=r"non-finite weights in 0\.weight"):
        write_checkpoints(theta.map(lambda t: t / 0), out)
    with pytest.raises(ZooError, match="1 channel, found 2"):
        write_checkpoints(theta.concatenate(theta), out)
    with pytest.raises(ZooError, match="at least 1 network, found 0"):
        write_checkpoints(theta[:0], out)
    assert not out.exists()
    out.touch()
    with pytest.raises(ZooError, match="cannot be used as a folder"):
        write_checkpoints(theta, out)


@pytest.mark.parametrize("format", ["safetensors", "pt", "huggingface"])
def test_overwriting_is_explicit(tmp_path: Path, format: Any) -> None:
    write_checkpoints(networks(1, seed=1), tmp_path, format, names=["b"])
    with pytest.raises(ZooError, match=r"1 of 2 exist \(.*/b.*\); overwrite=True replaces them"):
        write_checkpoints(networks(2), tmp_path, format, names=["a", "b"])
    assert read(tmp_path).names == ("b",)
    assert same(read(tmp_path).theta, networks(1, seed=1))
    write_checkpoints(networks(2), tmp_path, format, names=["a", "b"], overwrite=True)
    assert same(read(tmp_path).theta, networks(2))


@pytest.mark.parametrize("format", ["safetensors", "pt", "huggingface"])
def test_interrupted_writing_leaves_whole_checkpoints(
    tmp_path: Path, format: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weightspace.zoo import _write_checkpoints

    real = {"save_file": _write_checkpoints.save_file, "save": torch.save}
    written = []

    def third_fails(kind: str) -> Any:
        def write(tensors: Any, file: Any, **options: Any) -> None:
            real[kind](tensors, file, **options)
            written.append(file)
            if len(written) == 3:
                raise KeyboardInterrupt

        return write

    monkeypatch.setattr(_write_checkpoints, "save_file", third_fails("save_file"))
    monkeypatch.setattr(torch, "save", third_fails("save"))
    with pytest.raises(KeyboardInterrupt):
        write_checkpoints(networks(5), tmp_path, format)
    assert read(tmp_path).names == ("network-000", "network-001")
    assert same(read(tmp_path).theta, networks(5)[:2])
    assert not list(tmp_path.rglob("*.part"))


def test_weights_in_an_odd_memory_layout(tmp_path: Path) -> None:
    theta = networks(2)
    odd = theta.map(lambda t: t.transpose(0, -2).contiguous().transpose(0, -2))
    assert not odd["0.weight"].is_contiguous()
    write_checkpoints(odd, tmp_path / "a")
    write_checkpoints(odd, tmp_path / "b", "pt")
    assert same(read(tmp_path / "a").theta, theta)
    assert same(read(tmp_path / "b").theta, theta)
    assert (tmp_path / "b" / "network-000.pt").stat().st_size < 4096  # one network, not the batch
    assert copy.deepcopy(read(tmp_path / "a")).names == ("network-000", "network-001")


# -------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.parametrize("format", ["safetensors", "pt"])
def test_memory_of_reading_is_that_of_the_batch(tmp_path: Path, format: Any) -> None:
    """In the space of 1.25 batches a batch of 40 can be read, and cannot be stacked from all its state dicts."""
    space = ws.mlp([1000, 500, 1000])
    write_checkpoints(space.sample(1), tmp_path, format, names=["0"])
    for i in range(1, 40):
        os.link(tmp_path / f"0.{format}", tmp_path / f"{i}.{format}")
    script = """
import resource, sys
from pathlib import Path
import weightspace as ws
folder, suffix = sys.argv[1:]
files, space = [f"{folder}/{i}.{suffix}" for i in range(40)], ws.mlp([1000, 500, 1000])
size = 40 * 4 * space.num_parameters
ws.zoo.read_checkpoints(files[0], space)
ws.zoo.load_state_dicts(files[:1])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (int(held + 1.25 * size),) * 2)
print(len(ws.zoo.read_checkpoints(files, space, progress=False)))
try:
    space.stack(ws.zoo.load_state_dicts(files))
except (RuntimeError, MemoryError, ws.ZooError) as error:
    print("out of memory" if "memory" in str(error) else error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, format],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.splitlines() == ["40", "out of memory"]


def test_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoints(networks(3), tmp_path)
    read_checkpoints(tmp_path, SPACE)
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    read_checkpoints(tmp_path, SPACE)
    assert "reading checkpoints" in capsys.readouterr().err
    read_checkpoints(tmp_path, SPACE, progress=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert len(read_checkpoints(tmp_path, SPACE)) == 3


def test_names_go_with_a_table_of_the_user(tmp_path: Path) -> None:
    theta = networks(4)
    accuracy = {"d": 0.4, "a": 0.1, "c": 0.3, "b": 0.2}
    write_checkpoints(theta, tmp_path, names=list(accuracy))
    found = read(tmp_path)
    assert np.allclose([accuracy[name] for name in found.names], [0.1, 0.2, 0.3, 0.4])
    assert same(found.theta, theta[[1, 3, 2, 0]])


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_dtypes_that_only_store(tmp_path: Path, dtype: torch.dtype) -> None:
    theta = networks(2)
    write_checkpoints(theta[0], tmp_path, names=["a"])
    save_file({key: value.to(dtype) for key, value in SPACE.unstack(theta[1])[0].items()}, tmp_path / "b.safetensors")
    with pytest.raises(
        ZooError, match=r"b\.safetensors: '0\.weight' is torch\.float8.* cast it, with dtype=torch.float32"
    ):
        read(tmp_path)
    with pytest.warns(UserWarning, match=r"left out 1 of 2 checkpoints: .*b\.safetensors"):
        assert read(tmp_path, skip_damaged=True).names == ("a",)
    assert len(read(tmp_path, dtype=torch.float32)) == 2


def test_a_text_file_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "b.pt").write_text("hello, this is text")
    with pytest.raises(ZooError, match=r"b\.pt: cannot be read: it is damaged, or no file that torch.save wrote"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: read(None), "path: expected a path, or a list of paths, found NoneType"),
        (lambda folder: read([None]), "path: expected a path, or a list of paths, found NoneType"),
        (lambda folder: write_checkpoints(None, folder), "expected weight features, .*; found NoneType"),
        (lambda folder: write_checkpoints(nn.Linear(2, 2), folder), "expected weight features, .*; found Linear"),
        (lambda folder: write_checkpoints(networks(), None), "path: expected the path of a folder, found NoneType"),
    ],
)
def test_arguments_of_other_types(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=message):
        call(tmp_path)
