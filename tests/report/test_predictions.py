"""Pages about runs that predict something: further metrics, charts of what they predict."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from weightspace import ReportError
from weightspace.report import figure_demo, figure_predictions, find_runs, write_figure, write_report
from weightspace.report._predictions import prediction_parts
from weightspace.report._said import all_said
from weightspace.report._table import group_runs

NAMES = ("hnp-nfn", "monomial-nfn", "statnet")
RECIPE = {
    "name": "cnn",
    "title": "The accuracy of CNNs",
    "reduced": "in everything",
    "seeds": [0, 1],
    "variants": [{"name": name, "architecture": name} for name in NAMES],
    "published": {"hnp-nfn": [0.926]},
}


def write(folders, folder, name, seed, metrics, samples, selection, direction="max"):
    """A finished run with these test metrics; the selection metric is the first."""
    variant = {"name": name, "architecture": name, "k": 1}
    folders.write_run(folder, variant, seed, 0.04, epochs=3, recipe=RECIPE, pictures=False)
    description = json.loads((folder / "recipe.json").read_text())
    description["task"] |= {"name": "a task", "selection": selection, "direction": direction}
    (folder / "recipe.json").write_text(json.dumps(description))
    result = json.loads((folder / "result.json").read_text())
    result["metrics"] = {"validation": {selection: metrics[selection]}, "test": metrics}
    (folder / "result.json").write_text(json.dumps(result))
    records = [{"epoch": e, "step": e, "train_loss": 0.5, "validation": {selection: 0.3 * e}} for e in (1, 2, 3)]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    save_file(samples, folder / "samples.safetensors")


def accuracies(noise, moves, seed, n=90):
    generator = np.random.default_rng(seed)
    true = generator.random(n).astype(np.float32)
    predicted = (true + noise * generator.normal(size=n)).clip(0, 1)
    orbit = predicted[:16, None] + moves * generator.normal(size=(16, 8))
    return {"true": true, "predicted": predicted, "orbit": orbit}


@pytest.fixture(scope="module")
def generalization(tmp_path_factory, folders):
    root = tmp_path_factory.mktemp("runs")
    for name, (tau, fall, moves) in zip(NAMES, ((0.9, 0.1, 0.01), (0.88, 0.0, 0.0), (0.8, 0.2, 0.1)), strict=True):
        for seed in (0, 1):
            metrics = {"tau": tau + 0.002 * seed, "r2": 0.9, "l1": 0.0512, "tau_above_0.2": tau - 0.1}
            metrics |= {f"tau_scale_1e{k}": tau - fall * k for k in range(5)}
            write(folders, root / name / f"{seed}", name, seed, metrics, accuracies(1 - tau, moves, seed), "tau")
    return root


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<(svg|style).*?</\1>", "", html, flags=re.DOTALL)).split())


def group_of(root):
    (group,) = group_runs(find_runs([root]))
    return group


def test_the_table_has_the_metric_and_its_direction(generalization, tmp_path):
    html = write_report([generalization], tmp_path / "report.html").read_text()
    words = text(html)
    assert "test, Kendall&#39;s τ" in words
    assert "hnp-nfn 120 345 0.901 ± 0.001 0.901 ± 0.001 2 of 2 0.926 9 s" in words
    assert "highest validation tau" in words
    assert "networks k" not in words, "every model predicts for one network"
    assert "gain over k" not in words
    (best,) = re.findall(r'<tr class="best">\s*<td class="name">(.*?)</td>', html)
    assert best == "hnp-nfn"


def test_all_metrics_have_a_table(generalization, tmp_path):
    words = text(write_report([generalization], tmp_path / "report.html").read_text())
    assert "R² L1 τ, accuracy ≥ 0.2 τ, scales to 10⁰" in words
    found = "statnet 0.801 ± 0.001 0.900 ± 0.000 0.0512 ± 0.0000 0.700 ± 0.000 0.800 ± 0.000 0.600 ± 0.000 0.400"
    assert found in words


def test_every_chart_is_on_the_page(generalization, tmp_path):
    titles = [part.title for part in prediction_parts(group_of(generalization))]
    assert titles == [
        "Kendall's τ with its uncertainty",
        "Predicted against true accuracy",
        "Robustness to scale augmentation",
        "Networks that learnt something",
        "Spread over the symmetry orbit",
    ]
    html = write_report([generalization], tmp_path / "report.html").read_text()
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(charts) == 3 + 1 + 3 + 1 + 1 + 1, "curves, intervals, scatter plots, robustness, thresholds, orbits"
    for chart in charts:
        assert "var(--series-" in chart
        assert not re.search(r"(stroke|fill): #", chart)
    named = [chart for chart in charts if all(name in chart for name in NAMES)]
    assert len(named) == 4, "those that compare the models name them all"


def test_the_scatter_plot_has_a_point_for_each_network(generalization):
    part = prediction_parts(group_of(generalization))[1]
    assert len(part.charts) == 3
    assert part.charts[0].count("<use") >= 90


def test_the_spread_is_the_deviation_along_the_orbit(generalization):
    group = group_of(generalization)
    spreads = {said.row.name: said.spread for said in reversed(all_said(group))}
    orbit = accuracies(0.1, 0.01, 0)["orbit"]
    assert spreads["hnp-nfn"] == pytest.approx(orbit.std(1).mean(), rel=0.01)
    assert spreads["monomial-nfn"] < 1e-8


def test_classes_have_a_confusion_matrix(tmp_path, folders):
    generator = np.random.default_rng(0)
    for name, right in (("dws", 0.9), ("statnet", 0.4)):
        true = generator.integers(0, 10, 200)
        predicted = np.where(generator.random(200) < right, true, (true + 1) % 10)
        orbit = np.repeat(predicted[:16, None], 8, axis=1)
        orbit[:, 0] = (orbit[:, 0] + (name == "statnet")) % 10
        samples = {"true": true, "predicted": predicted, "orbit": orbit}
        accuracy = float((true == predicted).mean())
        write(folders, tmp_path / "runs" / name, name, 0, {"accuracy": accuracy}, samples, "accuracy")
    group = group_of(tmp_path / "runs")
    spreads = {said.row.name: said.spread for said in all_said(group)}
    assert (spreads["dws"], spreads["statnet"]) == (0, 1 / 8)
    parts = {part.title: part for part in prediction_parts(group)}
    assert list(parts) == ["Spread over the symmetry orbit", "Which classes are taken for which"]
    confusion = parts["Which classes are taken for which"].charts
    assert "dws" in confusion[0], "the best model is first"
    assert len(confusion) == 2
    assert figure_predictions([tmp_path / "runs"], tmp_path / "figure.png").exists()
    words = text(write_report([tmp_path / "runs"], tmp_path / "report.html").read_text())
    assert "accuracy in %" in words
    assert "All test metrics" not in words, "there is one alone"


def test_the_picture_has_a_panel_for_each_model_and_one_for_the_curves(generalization, tmp_path):
    paths = [figure_predictions([generalization], tmp_path / f"{models}.png", models) for models in (1, 3)]
    one, three = (np.asarray(Image.open(path).convert("RGB")) for path in paths)
    assert three.shape[1] - one.shape[1] == 2 * 3.0 * 160
    pixels = three.reshape(-1, 3)
    for colour in ((0x25, 0x63, 0xC9), (0xD0, 0x62, 0x1A), (0x1F, 0x8A, 0x5F)):
        assert (pixels == colour).all(1).any(), "the colours of the light page"
    assert not (pixels < 8).all(1).any(), "none that stands for a variable of the style sheet"


def test_what_cannot_be_drawn_is_refused(tmp_path, folders):
    folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    with pytest.raises(ReportError, match="none of these runs has predictions"):
        figure_predictions([tmp_path], tmp_path / "figure.png")
    with pytest.raises(ReportError, match="is a folder"):
        figure_predictions([tmp_path], tmp_path)


def test_samples_that_do_not_fit_are_left_out(generalization, tmp_path, folders):
    samples = accuracies(0.1, 0.1, 0) | {"predicted": np.zeros(3)}
    write(folders, tmp_path / "a", "statnet", 0, {"tau": 0.5}, samples, "tau")
    assert prediction_parts(group_of(tmp_path)) == []


def test_runs_whose_validation_was_never_finite(tmp_path, folders):
    write(folders, tmp_path / "a", "statnet", 0, {"tau": float("nan")}, accuracies(0.1, 0.1, 0), "tau")
    records = [{"epoch": e, "step": e, "train_loss": 0.5, "validation": {"tau": None}} for e in (1, 2, 3)]
    (tmp_path / "a" / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert "statnet" in text(write_report([tmp_path], tmp_path / "report.html").read_text())


def test_models_without_a_finished_run_have_no_charts(tmp_path, folders):
    write(folders, tmp_path / "a", "statnet", 0, {"tau": 0.5}, accuracies(0.1, 0.1, 0), "tau")
    (tmp_path / "a" / "result.json").unlink()
    assert prediction_parts(group_of(tmp_path)) == []
    assert "unfinished" in text(write_report([tmp_path], tmp_path / "report.html").read_text())


def test_the_figure_is_the_one_that_the_runs_call_for(tmp_path, generalization, folders):
    edits = folders.write_all(tmp_path / "runs")
    for runs, draw in ((generalization, figure_predictions), (edits, figure_demo)):
        same = [each([runs], tmp_path / f"{each.__name__}.png") for each in (write_figure, draw)]
        assert same[0].read_bytes() == same[1].read_bytes()
