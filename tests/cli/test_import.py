"""`weightspace import-zoo`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from weightspace import zoo
from weightspace.cli import main
from weightspace.space import siren


def sirens(root: Path) -> Any:
    layers = ["net.0.linear", "net.1.linear", "net.2"]
    space = siren([2, 8, 8, 1], output_offset=0.0, layer_names=layers)
    theta = space.sample(4)
    for name, state in zip(("7s/net0", "3s/net1", "1s/net2", "aug0_7s/net0"), space.unstack(theta), strict=True):
        path = root / f"randinit_smaller_{name}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
    return theta


def test_a_published_data_set_becomes_a_zoo(tmp_path: Path, capsys: Any) -> None:
    theta = sirens(tmp_path / "data")
    out = tmp_path / "zoo"
    arguments = [
        "import-zoo",
        "nfn-sirens",
        str(tmp_path / "data"),
        "--out",
        str(out),
        "--split",
        "corrected",
        "--split-points",
    ]
    arguments += ["1", "2"]
    assert main(arguments) == 0
    assert f"3 networks 2-8-8-1 in {out}" in capsys.readouterr().out
    stored = zoo.load(out)
    assert torch.equal(stored.weights.flatten(), theta[:3].flatten())
    assert stored.metadata["label"].tolist() == [7, 3, 1]
    assert stored.metadata["split"].tolist() == ["train", "validation", "test"]
    assert stored.manifest["published"] == "nfn-sirens"
    assert main(arguments) == 2
    assert "is not empty; choose another --out" in capsys.readouterr().err
    assert main([*arguments[:4], str(tmp_path / "more"), *arguments[5:], "--copies"]) == 0
    assert len(zoo.load(tmp_path / "more")) == 4
    assert main([*arguments[:4], str(tmp_path / "default")]) == 2
    assert "expected two increasing numbers between 0 and 3" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist"], "unknown data set 'mnist'; known: small-cnn-zoo, cnn-wild-park"),
        (["mnist-inrs"], "holds no mnist-inrs"),
        (["nfn-sirens", "--activation", "relu"], "nfn-sirens has no option activation"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path: Path, capsys: Any, arguments: list[str], message: str) -> None:
    kind, *options = arguments
    assert main(["import-zoo", kind, str(tmp_path), "--out", str(tmp_path / "zoo"), *options]) == 2
    assert message in capsys.readouterr().err
