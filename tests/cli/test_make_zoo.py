import pytest

from weightspace import zoo
from weightspace.cli import main


def test_make_zoo_trains_networks(bars, tmp_path, capsys, monkeypatch):
    out = tmp_path / "zoo"
    options = ["--networks", "5", "--epochs", "2", "--seed", "1", "--activation", "tanh", "--train-count", "40"]
    assert main(["make-zoo", "cnn", "--images", str(bars), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert f"5 networks, 10 checkpoints in {out} after" in printed
    assert "deciles of their test accuracy: 0." in printed
    monkeypatch.setenv("RANK", "1")
    assert main(["make-zoo", "cnn", "--images", str(bars), "--out", str(out), *options]) == 0
    assert capsys.readouterr().out == ""
    made = zoo.load(out)
    assert made.manifest["recipe"]["activation"] == "tanh"
    assert made.space.groups[1].symmetry.name == "signed_permutation"
    assert set(made.metadata["step"]) == {1, 2}


def test_make_zoo_trains_on_texts(tmp_path, capsys):
    words = [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
    for part, count in (("train", 40), ("test", 20)):
        rows = [
            f'"{1 + i % 4}","{words[i % 7]}, {words[i % 36]}","{" ".join(words[i % 4 :: 4])}"' for i in range(count)
        ]
        (tmp_path / f"{part}.csv").write_text("\n".join(rows))
    out, options = tmp_path / "zoo", ["--networks", "2", "--epochs", "1", "--texts", str(tmp_path)]
    assert main(["make-zoo", "transformer", "--out", str(out), *options]) == 0
    assert zoo.load(out).manifest["recipe"]["classes"] == 4
    assert main(["make-zoo", "cnn", "--out", str(out), *options]) == 2
    assert "texts are for transformers" in capsys.readouterr().err


def test_what_cannot_be_made_is_refused(bars, idx_folder, tmp_path, capsys):
    out = ["--out", str(tmp_path / "zoo")]
    assert main(["make-zoo", "transformer", "--images", str(bars), *out, "--activation", "tanh"]) == 2
    assert "expected relu, found 'tanh'" in capsys.readouterr().err
    assert main(["make-zoo", "cnn", "--images", str(idx_folder), *out]) == 2
    assert "t10k" in capsys.readouterr().err
    for option, value, message in (
        ("--epochs", "0", "at least 1 network, 1 epoch and a seed of 0, found 1000, 0 and 0"),
        ("--train-count", "0", "train_count: expected from 1 to all 60 training examples, found 0"),
        ("--train-count", "61", "train_count: expected from 1 to all 60 training examples, found 61"),
    ):
        assert main(["make-zoo", "cnn", "--images", str(bars), *out, option, value]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


@pytest.mark.slow
def test_ctrl_c_while_training_keeps_finished_shards(bars, tmp_path, interrupt):
    out = tmp_path / "zoo"
    arguments = ["make-zoo", "cnn", "--images", bars, "--out", out, "--networks", "400", "--epochs", "3"]
    done = interrupt(arguments, ready=(out / "shard-00000.json").exists)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert " of 400 networks are in " in done.stderr.splitlines()[-1]
