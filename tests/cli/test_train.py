import json
import shutil

import pytest

from weightspace import tasks, zoo
from weightspace.cli import _train, main


def command(recipe, fitted, out):
    return ["train", str(recipe), "--zoo", str(fitted), "--out", str(out)]


def test_train_makes_the_runs_that_were_asked_for(recipe, fitted, tmp_path, capsys):
    arguments = command(recipe(), fitted, tmp_path)
    assert main([*arguments, "--variants", "dws-k2", "--seeds", "3", "4"]) == 0
    folders = [tmp_path / "tiny" / "dws-k2" / f"seed{seed}" for seed in (3, 4)]
    assert capsys.readouterr().out.splitlines()[-2:] == list(map(str, folders))
    for folder in folders:
        assert json.loads((folder / "result.json").read_text())["epochs"] == 2
    assert not (tmp_path / "tiny" / "dws-k1").exists()
    assert main([*arguments, "--variants", "dws-k2", "--seeds", "3", "--no-resume"]) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = ", "epochz = "), "epochz"),
        (("k = 2", 'k = "two"'), "k"),
        (('architecture = "dws"', 'architecture = "dsw"'), "unknown architecture 'dsw'"),
        (("[train]", "[train"), "is not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_key(change, message, recipe, fitted, tmp_path, capsys):
    path = tmp_path / "wrong.toml"
    path.write_text(recipe().read_text().replace(*change))
    assert main(command(path, fitted, tmp_path / "runs")) == 2
    refusal = capsys.readouterr().err
    assert message in refusal
    assert "Traceback" not in refusal


def test_what_is_not_there_is_named(recipe, fitted, trained, tmp_path, capsys):
    assert main(command("nonsense", fitted, tmp_path)) == 2
    assert "no recipe 'nonsense'" in capsys.readouterr().err
    assert main(command(recipe(), tmp_path / "none", tmp_path)) == 2
    assert f"{tmp_path / 'none'}" in capsys.readouterr().err
    assert main([*command(recipe(), fitted, tmp_path), "--variants", "gmn"]) == 2
    assert "has no variant 'gmn'; it has dws-k1, dws-k2" in capsys.readouterr().err
    assert main(["evaluate", str(trained / "dws-k9"), "--zoo", str(fitted)]) == 2
    assert "dws-k9 is not the folder of a run" in capsys.readouterr().err


def test_ctrl_c_while_training_and_going_on(recipe, fitted, tmp_path, interrupt):
    run = tmp_path / "tiny" / "dws-k1" / "seed0"
    arguments = [*command(recipe(epochs=40), fitted, tmp_path), "--variants", "dws-k1"]
    records = run / "records.jsonl"
    done = interrupt(arguments, ready=lambda: records.exists() and records.stat().st_size > 0)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"the checkpoint is in {run}: run the same command again to go on")
    trained = records.read_text()
    assert 0 < trained.count("\n") < 40
    assert main(arguments) == 0
    assert records.read_text().startswith(trained)
    assert (run / "result.json").exists()


def test_evaluate_finds_what_the_run_recorded(trained, fitted, capsys):
    folder = trained / "dws-k2" / "seed0"
    recorded = json.loads((folder / "result.json").read_text())["metrics"]
    for split in ("validation", "test"):
        assert main(["evaluate", str(folder), "--zoo", str(fitted), "--split", split]) == 0
        measured, shown = map(float, capsys.readouterr().out.split()[-2:])
        assert measured == pytest.approx(recorded[split]["mse"], rel=1e-5)
        assert shown == pytest.approx(recorded[split]["mse"], rel=1e-5)
    assert main(["evaluate", str(folder), "--zoo", str(fitted), "--split", "train"]) == 0
    assert "recorded" not in capsys.readouterr().out


def test_an_untrained_run_cannot_be_evaluated(trained, fitted, tmp_path, capsys):
    folder = shutil.copytree(trained / "dws-k1" / "seed0", tmp_path / "run")
    (folder / "best.safetensors").unlink()
    assert main(["evaluate", str(folder), "--zoo", str(fitted)]) == 2
    assert "has no best.safetensors" in capsys.readouterr().err


def test_ctrl_c_while_evaluating(trained, fitted, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_train.tasks, "evaluate_run", interrupted)
    assert main(["evaluate", str(trained / "dws-k1" / "seed0"), "--zoo", str(fitted)]) == 130
    assert "Nothing is written by this command" in capsys.readouterr().err


def test_recipes_of_the_package_load():
    assert {"demo", "dilation-mnist", "dilation-mnist5k"} <= set(tasks.recipe_names())
    for name in tasks.recipe_names():
        recipe = tasks.load_recipe(name)
        assert recipe.zoo.recipe in zoo.INR_RECIPES
        assert set(recipe.published) <= {variant.name for variant in recipe.variants}
