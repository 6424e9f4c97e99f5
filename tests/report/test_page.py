import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from weightspace import ReportError
from weightspace.report import figure_demo, write_report


class Page(HTMLParser):
    """Text, links and images of a page; refuses tags that are not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.images, self.tags = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def read(path):
    html = path.read_text()
    page = Page(html)
    page.words = " ".join(" ".join(page.text).split())
    return page


def pixels(image):
    assert image["src"].startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).convert("RGB"))


@pytest.fixture(scope="module")
def full(tmp_path_factory, folders):
    root = folders.write_all(tmp_path_factory.mktemp("runs"))
    return write_report([root], tmp_path_factory.mktemp("out") / "new" / "report.html")


def test_the_page_shows_measured_beside_published(full):
    words = read(full).words
    assert "dws-k8 8 120 345 2.79 ± 0.05 2.85 ± 0.05 3 of 3 1.36 ± 0.03 29.6 ± 0.4 % 40.6 % 2 min" in words
    assert "doing nothing 8.85" in words
    assert "reduced: 4000 training INRs of 55 000, 40 epochs of 150" in words
    for entry in (
        "views per sample 1",
        "probe features no",
        "zoo: networks 5000",
        "4000 train / 500 validation / 500 test",
    ):
        assert entry in words
    assert "selection lowest validation mse, every 1 epoch(s)" in words
    assert "by eye" not in words.split("Runs folder")[0], "what the run did counts, not what the recipe says"


def test_the_page_needs_nothing_else(full):
    for tag, attributes in read(full).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "url(http" not in full.read_text()


def test_pictures_are_the_samples(full, folders):
    images = {image["alt"]: pixels(image) for image in reversed(read(full).images)}  # a name's first picture counts
    before, target = folders.digits()
    np.testing.assert_array_equal(images["before 3"][..., 0] > 127, before[2] > 0.5)
    np.testing.assert_array_equal(images["target 8"][..., 0] > 127, target[7] > 0.5)
    edited = folders.samples(8, 3 * 0.028**0.5)["edited"][0]
    shown = np.clip(edited.mean(-1), 0, 1) * 255
    assert np.abs(images["dws, k = 8 1"][..., 0] - shown).max() < 2
    error = f"{100 * ((edited.mean(-1) - target[0]) ** 2).mean():.2f}"
    assert f" {error} " in read(full).words
    assert "gmn, k = 8 10" in images, "8 networks, their mean, the target"


def test_charts_take_their_colours_from_the_page(full):
    charts = re.findall(r"<svg.*?</svg>", full.read_text(), flags=re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        assert "var(--ink)" in chart
        assert "var(--series-" in chart
        assert not re.search(r"(stroke|fill): #", chart)


def test_incomplete_runs_are_on_the_page(tmp_path, folders):
    root = folders.write_all(tmp_path / "runs")
    (root / "dws-k1" / "seed0" / "result.json").write_text("{")
    (root / "dws-k8" / "seed0" / "result.json").unlink()
    (root / "gmn-k1" / "seed1" / "samples.safetensors").write_bytes(b"\x00" * 40)
    (root / "gmn-k8" / "seed1" / "recipe.json").write_text("no json")
    words = read(write_report([root], tmp_path / "report.html")).words
    assert "seed 0: damaged, result.json cannot be read" in words
    assert "seed 0: unfinished, 40 of 40 epochs" in words
    assert "recipe.json cannot be read" in words
    assert "seed 1: no run" in words


def test_runs_that_do_not_compare_are_marked(tmp_path, folders):
    for seed, epochs in enumerate((40, 50)):
        folders.write_run(tmp_path / f"{seed}", folders.VARIANTS[0], seed, 0.04, epochs=epochs)
    words = read(write_report([tmp_path], tmp_path / "report.html")).words
    assert "These runs do not compare as they stand: they differ in train.epochs." in words


def test_runs_without_pictures_records_or_recipe(tmp_path, folders):
    run = folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04, done=0, recipe={"name": "x"}, pictures=False)
    (run / "records.jsonl").unlink()
    (run / "environment.json").unlink()
    page = read(write_report([run], tmp_path / "report.html"))
    assert "0 of 40 epochs" in page.words
    assert page.images == []
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_a_diverged_run_is_shown_as_nan(tmp_path, folders):
    run = folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    result = json.loads((run / "result.json").read_text())
    result["metrics"]["test"]["mse"] = None
    (run / "result.json").write_text(json.dumps(result))
    record = {
        "epoch": 1,
        "step": 1,
        "train_loss": None,
        "validation": {"mse": None},
        "learning_rate": 1e-3,
        "seconds": 1.0,
    }
    (run / "records.jsonl").write_text(json.dumps(record) + "\n")
    assert " nan " in read(write_report([run], tmp_path / "report.html")).words


def test_names_are_escaped(tmp_path, folders):
    variant = {**folders.VARIANTS[0], "name": "<script>alert(1)</script>"}
    folders.write_run(tmp_path / "a", variant, 0, 0.04, recipe={"name": "<b>x", "title": "a & b"})
    page = read(write_report([tmp_path], tmp_path / "report.html"))
    assert "<script>alert(1)</script>" in page.words
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_pictures_in_colour(tmp_path, folders):
    run = folders.write_run(tmp_path / "runs", folders.VARIANTS[1], 0, 0.04, pictures=False)
    target = np.random.default_rng(0).random((2, 5, 5, 3)).astype(np.float32)
    red = np.array([0.2, 0, 0], np.float32)
    edited = np.stack([target, target + red], -1)
    save_file({"before": target, "target": target, "edited": edited}, run / "samples.safetensors")
    page = read(write_report([run], tmp_path / "report.html"))
    images = {image["alt"]: pixels(image) for image in reversed(page.images)}
    assert np.abs(images["target 2"] - 255 * target[1]).max() < 2
    assert " 0.33 " in page.words, "0.1 squared, over three colours"
    assert figure_demo([run], tmp_path / "figure.png").exists()


def test_the_demo_figure(tmp_path, folders):
    root = folders.write_all(tmp_path / "runs")
    image = Image.open(figure_demo([root], tmp_path / "figure.png"))
    assert image.size[0] > 600
    assert np.asarray(image.convert("L")).std() > 20


def test_no_pictures_no_figure(tmp_path, folders):
    run = folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04, pictures=False)
    with pytest.raises(ReportError, match="none of these runs has pictures"):
        figure_demo([run], tmp_path / "figure.png")
    save_file(
        {"before": np.zeros((2, 3, 3)), "target": np.zeros((2, 3, 3)), "edited": np.zeros((3, 3, 3, 1))},
        run / "samples.safetensors",
    )
    with pytest.raises(ReportError, match="none of these runs has pictures"):
        figure_demo([run], tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


def test_a_folder_is_not_written_over(tmp_path, folders):
    run = folders.write_run(tmp_path / "a", folders.VARIANTS[0], 0, 0.04)
    for write in (write_report, figure_demo):
        with pytest.raises(ReportError, match="is a folder; give the file to write, for example"):
            write([run], tmp_path)


def test_many_families_are_ranked_and_the_best_ones_shown(tmp_path, folders):
    """Nine families of one architecture: a ranking instead of lines, no curves of single epochs, four in pictures."""
    variants = [{"name": f"net{i}-k{k}", "architecture": "dws", "k": k} for i in range(9) for k in (1, 8)]
    recipe = {**folders.RECIPE, "variants": variants, "published": {"net3-k1": [2.55]}}
    for i, variant in enumerate(variants):
        folders.write_run(tmp_path / variant["name"], variant, 0, 0.09 - 0.004 * i, epochs=1, recipe=recipe)
    html = write_report([tmp_path], tmp_path / "report.html").read_text()
    page = read(tmp_path / "report.html")
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(charts) == 1
    names = re.findall(r"net\d", charts[0])
    assert names == [f"net{i}" for i in range(9)]  # worst first: from the bottom
    assert "2.55" in page.words
    assert "Of the four families with the smallest errors." in page.words
    assert len(set(re.findall(r"net\d, k = ", page.words))) == 4
