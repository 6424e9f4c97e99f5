from pathlib import Path

from weightspace import zoo
from weightspace.cli import main


def test_the_demo_ends_with_the_path_of_its_report(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--recipe", str(recipe())]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])
    assert page == tmp_path / "runs" / "tiny.html"
    assert "A tiny recipe" in page.read_text()
    assert (tmp_path / "runs" / "tiny.png").exists()
    assert len(zoo.load(tmp_path / "zoos" / "tiny")) == 24
    assert (tmp_path / "runs" / "tiny" / "dws-k2" / "seed0" / "result.json").exists()


PREDICTIONS = """
name = "tiny-predictions"
title = "Tiny predictions"
seeds = [0]

[zoo]
networks = "cnn"
images = "{images}"
count = 12
epochs = 1
train_count = 40
splits = [6, 3, 3]

[task]
kind = "cnn-generalization"
step = 1
scales = [1]

[train]
epochs = 1
batch_size = 4

[[variants]]
name = "statnet"
architecture = "statnet"
options = {{ hidden = 8 }}
"""


def test_the_demo_makes_the_zoo_that_the_recipe_asks_for(bars, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(PREDICTIONS.format(images=bars))
    assert main(["demo", "--recipe", str(recipe)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"1/3 training 12 CNNs on {bars}" in printed
    assert "2/3 training the predictors of recipe tiny-predictions" in printed
    page = Path(printed[-1])
    assert "Tiny predictions" in page.read_text()
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    made = zoo.load(tmp_path / "zoos" / "tiny-predictions")
    assert made.manifest["recipe"]["epochs"] == 1
    assert sorted(made.metadata["split"]) == sorted(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)


def test_ctrl_c_in_the_demo(recipe, tmp_path, interrupt):
    folders = ["--zoo", tmp_path / "zoo", "--out", tmp_path / "runs"]
    path = recipe()
    path.write_text(path.read_text().replace("count = 24", "count = 60").replace("fast-300", "mnist-inrs"))
    done = interrupt(["demo", "--recipe", path, *folders], ready=(tmp_path / "zoo" / "manifest.json").exists)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Interrupted: ")
    assert f" in {tmp_path / 'zoo'}; the same c" in done.stderr.splitlines()[-1]
