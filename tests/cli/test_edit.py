import numpy as np
import pytest
import torch
from PIL import Image

from weightspace import tasks, zoo
from weightspace.cli import _edit, main
from weightspace.engine import TrainConfig


@pytest.fixture
def editor(trained):
    return trained / "dws-k2" / "seed0"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def expected(editor, fitted):
    """Test networks of the zoo, their edits, and what these show."""
    loaded = zoo.load(fitted)
    theta = loaded.weights[loaded.splits["test"]]
    with torch.no_grad():
        edited = tasks.load_model(editor)(theta)
    return theta, edited, zoo.render(loaded.space, edited, 28, 28).mean(-1)


@pytest.mark.parametrize("networks", ["separate", "merged"])
def test_edit_a_zoo(networks, editor, fitted, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["edit", str(editor), "--zoo", str(fitted), "--out", str(out), "--networks", networks]
    assert main(arguments) == 0
    assert f"4 edited networks, with pictures, in {out}" in capsys.readouterr().out
    _, edited, shown = expected(editor, fitted)
    written = zoo.load(out / "networks")
    rendered = zoo.render(written.space, written.weights, 28, 28)
    if networks == "merged":
        assert written.space.summary() == "2-64-64-1"
        torch.testing.assert_close(rendered, shown, atol=1e-5, rtol=0)
    else:
        assert written.metadata["index"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert written.metadata["network"].tolist() == [0, 1] * 4
        torch.testing.assert_close(rendered.unflatten(0, (4, 2)).mean(1), shown, atol=1e-5, rtol=0)
        torch.testing.assert_close(written.weights["2.weight"][3, ..., 0], edited["2.weight"][1, ..., 1])
    np.testing.assert_allclose(pixels(out / "0002-edited.png"), 255 * shown[2].clamp(0, 1), atol=1)
    assert len(list(out.glob("*-before.png"))) == 4
    assert main(arguments) == 2
    assert "is there already; choose another --out" in capsys.readouterr().err


def test_edit_some_networks_at_another_size(editor, fitted, tmp_path):
    out = tmp_path / "out"
    options = ["--split", "train", "--count", "3", "--size", "50"]
    assert main(["edit", str(editor), "--zoo", str(fitted), "--out", str(out), *options]) == 0
    assert sorted(path.name for path in out.glob("*.png"))[-1] == "0002-edited.png"
    assert pixels(out / "0000-before.png").shape == (50, 50)


def test_edit_a_picture(editor, tmp_path, capsys):
    picture, out = tmp_path / "mine.png", tmp_path / "out"
    columns = np.linspace(0, 255, 60).astype(np.uint8)
    Image.fromarray(np.broadcast_to(columns, (40, 60)).copy()).convert("RGB").save(picture)
    assert main(["edit", str(editor), "--image", str(picture), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "dB" in printed.splitlines()[0]
    assert len(zoo.load(out / "networks")) == 2
    assert zoo.load(out / "inr").manifest["recipe"]["name"] == "short", "fitted as the editor's zoo was"
    before = pixels(out / "0000-before.png").astype(float)
    assert before.shape == (28, 28)
    assert before[:, -5:].mean() > before[:, :5].mean() + 50


def test_what_cannot_be_edited_is_refused(editor, fitted, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["edit", str(editor), *out]) == 2
    assert "give --zoo or --image" in capsys.readouterr().err
    assert main(["edit", str(editor), "--zoo", str(fitted), "--image", "x.png", *out]) == 2
    assert "give --zoo or --image" in capsys.readouterr().err
    for option in ("--count", "--size"):
        assert main(["edit", str(editor), "--zoo", str(fitted), option, "0", *out]) == 2
        assert "--size and --count: expected at least 1" in capsys.readouterr().err
    (tmp_path / "text.png").write_text("no picture")
    assert main(["edit", str(editor), "--image", str(tmp_path / "text.png"), *out]) == 2
    assert "cannot be read as a picture" in capsys.readouterr().err
    assert not (tmp_path / "out" / "networks").exists()


def test_ctrl_c_while_editing(editor, fitted, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_edit, "_write_networks", interrupted)
    assert main(["edit", str(editor), "--zoo", str(fitted), "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.endswith("out is not complete; run the command again.\n")


def test_batches_do_not_change_the_edits(editor, fitted, tmp_path, monkeypatch):
    for folder, batch in (("whole", 64), ("parts", 3)):
        monkeypatch.setattr(_edit, "_BATCH", batch)
        assert main(["edit", str(editor), "--zoo", str(fitted), "--out", str(tmp_path / folder)]) == 0
    whole, parts = (zoo.load(tmp_path / folder / "networks") for folder in ("whole", "parts"))
    torch.testing.assert_close(parts.weights["2.weight"], whole.weights["2.weight"])
    assert len(list((tmp_path / "parts").glob("*-edited.png"))) == 4


def test_a_run_that_edits_nothing_is_refused(fitted, tmp_path, capsys):
    variant = tasks.Variant("statnet", "statnet", options={"hidden": 8})
    config = TrainConfig(epochs=1, batch_size=8)
    settings = tasks.InrClassificationSettings()
    recipe = tasks.Recipe("classes", "classes", config, (variant,), task=settings, seeds=(0,))
    (folder,) = tasks.run_recipe(recipe, zoo.load(fitted), tmp_path, progress=False)
    assert main(["edit", str(folder), "--zoo", str(fitted), "--out", str(tmp_path / "out")]) == 2
    assert "predicts something about networks and does not edit them" in " ".join(capsys.readouterr().err.split())
