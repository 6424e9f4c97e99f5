import shutil

import numpy as np

from weightspace import zoo
from weightspace.cli import main


def test_fit_inrs_makes_a_zoo(idx_folder, tmp_path, capsys):
    arguments = ["fit-inrs", str(idx_folder), "--out", str(tmp_path / "zoo"), "--recipe", "fast-300", "--count", "12"]
    assert main([*arguments, "--seed", "3"]) == 0
    assert f"12 INRs in {tmp_path / 'zoo'}" in capsys.readouterr().out
    fitted = zoo.load(tmp_path / "zoo")
    images, labels = zoo.idx(idx_folder)
    np.testing.assert_array_equal(fitted.images, images[:12])
    np.testing.assert_array_equal(fitted.metadata["label"], labels[:12])
    assert fitted.manifest["recipe"]["name"] == "fast-300"
    assert fitted.manifest["seed"] == 3
    assert zoo.round_trip(fitted).min() > 15


def test_inrs_with_another_activation(idx_folder, tmp_path):
    arguments = ["fit-inrs", str(idx_folder), "--out", str(tmp_path / "zoo"), "--recipe", "fast-300", "--count", "6"]
    assert main([*arguments, "--activation", "relu"]) == 0
    fitted = zoo.load(tmp_path / "zoo")
    assert [group.activation.name for group in fitted.space.groups[1:-1]] == ["relu", "relu"]
    assert {factor.scales for factor in fitted.space.symmetry().factors[1:-1]} == {"positive"}
    assert zoo.round_trip(fitted).min() > 12


def test_official_test_images_stay_the_test_split(idx_folder, tmp_path):
    folder = tmp_path / "idx"
    for file in list(shutil.copytree(idx_folder, folder).iterdir()):
        shutil.copy(file, folder / file.name.replace("train", "t10k"))
    recipe = ["--recipe", "fast-300", "--split", "all"]
    assert main(["fit-inrs", str(folder), "--out", str(tmp_path / "zoo"), *recipe]) == 0
    splits = zoo.load(tmp_path / "zoo").splits
    assert {name: len(index) for name, index in splits.items()} == {"train": 55, "validation": 5, "test": 60}
    assert splits["test"].tolist() == list(range(60, 120))
    assert main(["fit-inrs", "mnist5k", "--out", str(tmp_path / "other"), "--split", "all"]) == 2


def test_what_cannot_be_fitted_is_refused(idx_folder, tmp_path, capsys):
    out = ["--out", str(tmp_path / "zoo")]
    assert main(["fit-inrs", str(tmp_path / "absent"), *out]) == 2
    assert "has none of the files" in capsys.readouterr().err
    assert main(["fit-inrs", str(idx_folder), *out, "--count", "61"]) == 2
    assert "has 60 images, 61 were asked for" in capsys.readouterr().err
    assert main(["fit-inrs", str(idx_folder), *out, "--recipe", "slow"]) == 2
    assert "unknown fit recipe 'slow'; known: mnist-inrs" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


def test_ctrl_c_while_fitting_keeps_what_is_fitted(idx_folder, tmp_path, interrupt):
    out = tmp_path / "zoo"
    done = interrupt(["fit-inrs", idx_folder, "--out", out], ready=(out / "manifest.json").exists)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Interrupted: ")
    assert f" in {out}; the same c" in done.stderr.splitlines()[-1]
    assert main(["fit-inrs", str(idx_folder), "--out", str(out), "--recipe", "fast-300"]) == 2, "another zoo"
