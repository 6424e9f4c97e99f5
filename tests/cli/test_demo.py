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
    assert len(zoo.load(tmp_path / "zoos" / "demo")) == 24
    assert (tmp_path / "runs" / "tiny" / "dws-k2" / "seed0" / "result.json").exists()


def test_ctrl_c_in_the_demo(recipe, tmp_path, interrupt):
    folders = ["--zoo", tmp_path / "zoo", "--out", tmp_path / "runs"]
    path = recipe()
    path.write_text(path.read_text().replace("count = 24", "count = 60").replace("fast-300", "mnist-inrs"))
    done = interrupt(["demo", "--recipe", path, *folders], ready=(tmp_path / "zoo" / "manifest.json").exists)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Interrupted: ")
    assert f" in {tmp_path / 'zoo'}; the same c" in done.stderr.splitlines()[-1]
