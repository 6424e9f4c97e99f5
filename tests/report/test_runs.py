import pytest

from weightspace import ReportError
from weightspace.report import find_runs


def test_runs_below_a_folder_are_found_once_and_in_order(tmp_path, folders):
    root = folders.write_all(tmp_path)
    runs = find_runs([root, root / "gmn-k8", root / "dws-k1" / "seed0"])
    assert [run.folder.relative_to(root).as_posix() for run in runs] == [
        f"{variant['name']}/seed{seed}" for variant in folders.VARIANTS for seed in range(3)
    ]
    assert {run.status for run in runs} == {"finished"}
    assert runs[4].measured("test") == pytest.approx(0.0285)
    assert runs[4].variant["k"] == 8
    assert runs[4].seed == 1


def test_what_is_wrong_with_a_run_is_its_status(tmp_path, folders):
    variant = folders.VARIANTS[0]
    folders.write_run(tmp_path / "a", variant, 0, 0.04, done=7)
    (folders.write_run(tmp_path / "b", variant, 1, 0.04) / "result.json").write_text('{"metrics": ')
    (folders.write_run(tmp_path / "c", variant, 2, 0.04) / "recipe.json").write_text("[]")
    d = folders.write_run(tmp_path / "d", variant, 3, 0.04)
    (d / "result.json").write_text((d / "result.json").read_text().replace("mse", "accuracy"))
    a, b, c, d = find_runs([tmp_path])
    assert (a.status, a.note) == ("unfinished", "7 of 40 epochs")
    assert b.status == c.status == d.status == "damaged"
    assert "recipe.json cannot be read: it holds no JSON object" in c.note
    assert "result.json cannot be read" in b.note
    assert d.note == "result.json has no validation mse"
    assert len(b.records) == 40, "the readable part of a damaged run is kept"


def test_a_folder_without_runs_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"empty holds no run: .*recipe\.json"):
        find_runs([tmp_path / "empty"])
    with pytest.raises(ReportError, match="absent is no folder"):
        find_runs([tmp_path / "absent"])
    with pytest.raises(ReportError, match="no folder was given"):
        find_runs([])


def test_an_unfinished_run_has_no_metric(tmp_path, folders):
    folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04, done=1)
    with pytest.raises(ReportError, match="is not finished"):
        find_runs([tmp_path])[0].measured("test")
