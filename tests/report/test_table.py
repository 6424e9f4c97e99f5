import shutil
import statistics

import pytest

from weightspace.report import find_runs
from weightspace.report._table import Estimate, group_runs


def rows(root):
    (group,) = group_runs(find_runs([root]))
    return {row.name: row for row in group.rows}


def test_mean_and_spread_are_those_of_the_seeds(tmp_path, folders):
    table = rows(folders.write_all(tmp_path))
    values = [0.040, 0.0405, 0.041]
    assert list(table) == ["dws-k1", "dws-k8", "gmn-k1", "gmn-k8"]
    assert table["dws-k1"].test.mean == pytest.approx(statistics.fmean(values))
    assert table["dws-k1"].test.spread == pytest.approx(statistics.stdev(values))
    assert table["dws-k1"].validation.mean == pytest.approx(0.98 * statistics.fmean(values))
    assert table["dws-k1"].published == Estimate(2.29, 0.01, 0)
    assert table["dws-k1"].parameters == 120_345
    assert table["dws-k1"].test.text(100) == "4.05 ± 0.05"


def test_the_gain_pairs_seeds_of_one_architecture(tmp_path, folders):
    root = folders.write_all(tmp_path)
    shutil.rmtree(root / "gmn-k1" / "seed2")
    table = rows(root)
    gains = [1 - 0.024 / 0.034, 1 - 0.0245 / 0.0345]
    assert table["gmn-k8"].gain.mean == pytest.approx(statistics.fmean(gains))
    assert table["gmn-k8"].gain.count == 2
    assert table["gmn-k8"].published_gain == pytest.approx(1 - 1.06 / 1.96)
    assert table["dws-k1"].gain is None


def test_one_seed_has_no_spread(tmp_path, folders):
    folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    test = rows(tmp_path)["dws-k1"].test
    assert (test.spread, test.count, test.text(100)) == (None, 1, "4.00")


def test_missing_and_unfinished_runs_are_named(tmp_path, folders):
    root = folders.write_all(tmp_path)
    shutil.rmtree(root / "gmn-k8")
    shutil.rmtree(root / "dws-k1" / "seed0")
    (root / "dws-k1" / "seed1" / "result.json").unlink()
    table = rows(root)
    assert table["gmn-k8"].missing == "seed 0, 1, 2: no run"
    assert table["gmn-k8"].test is None
    assert table["gmn-k8"].k == 8
    assert table["dws-k1"].missing == "seed 1: unfinished, 40 of 40 epochs; seed 0: no run"
    assert table["dws-k1"].test.count == 1
    assert table["dws-k8"].missing == ""


def test_recipes_make_groups(tmp_path, folders):
    other = {**folders.RECIPE, "name": "another"}
    folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    folders.write_run(tmp_path / "b", folders.VARIANTS[0], 0, 0.04, recipe=other)
    assert [group.name for group in group_runs(find_runs([tmp_path]))] == ["another", "mnist-editing-reduced"]


def test_runs_of_one_recipe_with_other_settings_are_told(tmp_path, folders):
    other = {**folders.RECIPE, "zoo": {"fit": "fast-300", "networks": 5000}}
    folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    folders.write_run(tmp_path / "b", folders.VARIANTS[1], 1, 0.03)
    assert group_runs(find_runs([tmp_path]))[0].differing == ()
    folders.write_run(tmp_path / "c", folders.VARIANTS[0], 2, 0.04, recipe=other)
    folders.write_run(tmp_path / "d", folders.VARIANTS[0], 3, 0.04, epochs=50)
    assert group_runs(find_runs([tmp_path]))[0].differing == ("train.epochs", "recipe.zoo.fit")
