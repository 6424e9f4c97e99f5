import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save

import weightspace as ws
from weightspace import tasks, zoo
from weightspace.engine import TrainConfig
from weightspace.tasks import Recipe, Variant

GOOD = """
name = "tiny"
title = "a tiny table"
seeds = [3]
[train]
epochs = 2
batch_size = 8
learning_rate = 1e-3
[[variants]]
name = "dws-k2"
architecture = "dws"
k = 2
[variants.options]
hidden = 4
depth = 2
"""


def write(folder, text):
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_as_it_stands(tmp_path):
    recipe = tasks.load_recipe(write(tmp_path, GOOD))
    variant = Variant("dws-k2", "dws", 2, options={"hidden": 4, "depth": 2})
    assert recipe == Recipe("tiny", "a tiny table", TrainConfig(epochs=2, batch_size=8), (variant,), seeds=(3,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 2", "epoch = 2"), r"extra fields found \(epoch\) @ recipe.train"),
        (("epochs = 2", "epochs = 2.5"), "expected int, found .* @ recipe.train.epochs"),
        (("epochs = 2", 'epochs = "2"'), "expected int, found .* @ recipe.train.epochs"),
        (("epochs = 2", "epochs = 0"), "epochs=0: expected at least 1"),
        (("k = 2", "k = 0"), "'dws-k2': k: expected a positive number of networks, found 0"),
        (("seeds = [3]", "seeds = []"), "needs at least one variant and one seed"),
        (('name = "tiny"', 'name = "../tiny"'), "recipe name '../tiny': expected letters"),
        (('title = "a tiny table"', ""), "required field missing @ recipe.title"),
        (("k = 2", "k = 2\ncolour = 1"), r"extra fields found \(colour\) @ recipe.variants\[0\]"),
        (("[train]", "[published]\ndws-k2 = []\n[train]"), r"expected \[mean\] or \[mean, spread\] of dws-k2"),
        (("[train]", "[train"), "is not TOML"),
        (("[train]", '[task]\nkind = "cnn"\n[train]'), "unknown kind of task 'cnn'; known: inr-editing, cnn-generaliz"),
        (("[train]", '[task]\nedit = "dilate"\nloss = "bce"\n[train]'), r"extra fields found \(loss\) @ recipe.task"),
        (
            ("[train]", '[task]\nkind = "cnn-generalization"\nedit = "dilate"\n[train]'),
            r"extra fields found \(edit\) @ recipe.task",
        ),
        (
            ("[train]", '[task]\nkind = "cnn-generalization"\nloss = "l2"\n[train]'),
            "expected one of 'bce', 'mse', found 'l2' @ recipe.task.loss",
        ),
        (
            ("[train]", '[zoo]\nnetworks = "mlp"\n[train]'),
            "expected one of 'inr', 'cnn', .*, found 'mlp' @ recipe.zoo.n",
        ),
        (("[train]", "[zoo]\nepochs = 3\n[train]"), "zoo: epochs: not for networks = 'inr'"),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nrecipe = "fast-300"\n[train]'),
            "zoo: recipe: not for .* 'cnn'",
        ),
        (("[train]", '[zoo]\nnetworks = "cnn"\n[train]'), "networks = 'cnn' needs a count"),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nactivation = "sine"\n[train]'),
            "'sine' is for INRs, found networks = 'cnn'",
        ),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nepochs = 0\n[train]'),
            "expected positive numbers, found {'epo",
        ),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nsplits = [4, 2, 2]\n[train]'),
            r"zoo: splits: expected 9 networks in all, found \[4, 2, 2\]",
        ),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nsplits = 9\n[train]'),
            r"tiny\.toml: splits: expected a list of 3, found 9 @ recipe\.zoo",
        ),
        (
            ("[train]", '[zoo]\nnetworks = "cnn"\ncount = 9\nsplits = [4, 5]\n[train]'),
            r"splits: expected a list of 3, found \[4, 5\] @ recipe\.zoo",
        ),
        *[
            (("[train]", f'[task]\nkind = "{kind}"\n{line}\n[train]'), rf"tiny\.toml: {message}")
            for kind, line, message in (
                ("cnn-generalization", 'scales = ["1"]', r"expected int, found '1' @ recipe\.task\.scales\[0\]"),
                ("cnn-generalization", "scales = 4", r"scales: expected a list, found 4 @ recipe\.task"),
                ("cnn-generalization", "scales = [0.5]", r"expected int, found 0\.5 @ recipe\.task\.scales\[0\]"),
                ("cnn-generalization", "scales = [-1]", r"scales: expected powers of ten from 0 to 30, found \[-1\] @"),
                ("cnn-generalization", "scales = [1, 1]", r"scales: expected none of them twice, found \[1, 1\] @"),
                (
                    "transformer-generalization",
                    "thresholds = [2.0]",
                    r"minimum, thresholds: expected accuracies, found",
                ),
                ("transformer-generalization", "minimum = -0.5", r"minimum, thresholds: expected accuracies, found -0"),
                ("inr-classification", "smoothing = 1.5", r"smoothing: expected a number from 0 to 1, found 1\.5 @"),
                (
                    "inr-classification",
                    'augment = "rotate"',
                    r"expected a section with keys, found 'rotate' @ .*augment",
                ),
                (
                    "inr-classification",
                    'mixup = "on"',
                    r"expected a section with keys, found 'on' @ recipe\.task\.mixup",
                ),
                (
                    "inr-classification",
                    "augment = {rotate = true}",
                    r"expected float, found True @ .*\.augment\.rotate",
                ),
                ("inr-classification", "augment = {noise = inf}", r"GaussianNoise: relative: expected a finite number"),
            )
        ],
    ],
)
def test_a_wrong_key_is_named(tmp_path, change, message):
    with pytest.raises(ws.RecipeError, match=message):
        tasks.load_recipe(write(tmp_path, GOOD.replace(*change)))


def test_the_kind_of_task_chooses_its_settings(tmp_path):
    section = '[task]\nkind = "cnn-generalization"\nloss = "mse"\nscales = [0, 2]\naugment = { element = 1 }\n[train]'
    recipe = tasks.load_recipe(write(tmp_path, GOOD.replace("[train]", section)))
    augment = tasks.AugmentSettings(element=1.0)
    assert recipe.task == tasks.CnnGeneralizationSettings(loss="mse", scales=(0, 2), augment=augment)
    assert tasks.load_recipe(write(tmp_path, GOOD)).task == tasks.EditingSettings()
    for kind, settings in tasks.KINDS.items():
        section = f'[task]\nkind = "{kind}"\n[train]'
        assert tasks.load_recipe(write(tmp_path, GOOD.replace("[train]", section))).task == settings()


def test_the_kind_of_zoo_is_read(tmp_path):
    section = '[zoo]\nnetworks = "transformer"\ncount = 9\ntrain_count = 50\nepochs = 2\nsplits = [6, 2, 1]\n[train]'
    recipe = tasks.load_recipe(write(tmp_path, GOOD.replace("[train]", section)))
    assert recipe.zoo == tasks.ZooSettings("transformer", count=9, train_count=50, epochs=2, splits=(6, 2, 1))
    assert tasks.load_recipe(write(tmp_path, GOOD)).zoo == tasks.ZooSettings("inr")


def test_recipes_ask_for_the_zoo_of_their_task():
    for name in tasks.recipe_names():
        recipe = tasks.load_recipe(name)
        assert recipe.zoo.networks == recipe.task.kind.partition("-")[0]


SPACES = {
    "inr-editing": (lambda: ws.siren([2, 32, 32, 1]), None),
    "inr-classification": (lambda: ws.siren([2, 32, 32, 1]), 10),
    "inr-classification-relu": (lambda: ws.mlp([2, 32, 32, 1], "relu"), 10),
    "cnn-generalization": (lambda: ws.from_module(ws.zoo.SmallCNN("relu"), torch.zeros(2, 1, 28, 28)), 1),
    "transformer-generalization": (lambda: ws.from_module(ws.zoo.SmallViT(), torch.zeros(2, 1, 28, 28)), 1),
}


@pytest.mark.parametrize(
    "name", ["cnn-generalization", "inr-classification", "inr-classification-relu", "transformer-generalization"]
)
def test_every_table_of_predictions_has_the_baselines(name):
    recipe = tasks.load_recipe(name)
    baselines = {"statistics-boosting", "probes-boosting", "statnet", "mlp"}
    assert baselines < {variant.architecture for variant in recipe.variants}
    assert recipe.reduced


@pytest.mark.parametrize("name", tasks.recipe_names())
def test_every_recipe_of_the_package_can_be_built(name):
    recipe = tasks.load_recipe(name)
    make, outputs = SPACES.get(name) or SPACES[recipe.task.kind]
    space = make()
    for variant in recipe.variants:
        if variant.architecture not in tasks.TREES:
            tasks.build_variant(variant, space, seed=0, outputs=outputs)
    assert set(recipe.published) <= {variant.name for variant in recipe.variants}


def test_the_comparison_of_architectures_is_fair():
    """All equivariant architectures for INRs, with one budget of parameters, nearly used up."""
    recipe, space = tasks.load_recipe("dilation-architectures"), ws.siren([2, 32, 32, 1])
    assert {v.architecture for v in recipe.variants} == set(ws.architectures("equivariant")) - {
        "mlp",
        "transformer-nfn",
    }
    for variant in recipe.variants:
        editor = tasks.build_variant(variant, space, seed=0)
        assert 30_000 <= sum(p.numel() for p in editor.parameters()) <= 40_000
        assert variant.name.endswith(f"-k{variant.k}")


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ws.RecipeError, match=r"no recipe 'nothing': give a .toml file or one of .*dilation-mnist"):
        tasks.load_recipe("nothing")
    with pytest.raises(ws.RecipeError, match="has no variant 'gmn'; it has dws-k2"):
        tasks.load_recipe(write(tmp_path, GOOD)).variant("gmn")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    recipe = tasks.load_recipe(write(folder, GOOD))
    (path,) = tasks.run_recipe(recipe, digits, folder / "out", progress=False)
    return recipe, folder / "out", path


def test_a_run_can_be_loaded_measured_and_applied(run, digits):
    _, out, path = run
    assert path == out / "tiny" / "dws-k2" / "seed3"
    stored = json.loads((path / "result.json").read_text())["metrics"]["test"]["mse"]
    assert tasks.evaluate_run(path, digits)["mse"] == pytest.approx(stored, rel=1e-5)
    editor = tasks.load_model(path, digits.space)
    assert not editor.training
    assert editor(digits.weights[:3]).channels == 2
    assert tasks.fit_recipe_of(path).name == "none"


def test_the_run_says_what_it_was_trained_on(run, digits):
    stored = json.loads((run[2] / "recipe.json").read_text())["recipe"]
    assert stored["zoo"]["networks"] == 40
    assert stored["zoo"]["image_set"] == "blobs"
    assert stored["seed"] == 3
    assert stored["task"] == {"edit": "dilate", "pixels": None}, "as it was before there were other kinds of tasks"
    assert "outputs" not in stored
    assert stored["variant"]["name"] == "dws-k2"
    assert ws.space.from_description(stored["space"]) == digits.space


def test_a_finished_run_is_kept_and_seeds_differ(run, digits):
    recipe, out, path = run
    before = (path / "best.safetensors").stat().st_mtime_ns
    tasks.run_recipe(recipe, digits, out, progress=False)
    assert (path / "best.safetensors").stat().st_mtime_ns == before
    one, other = (tasks.build_variant(recipe.variants[0], digits.space, seed) for seed in (3, 4))
    same = tasks.build_variant(recipe.variants[0], digits.space, 3)
    pairs = list(zip(one.parameters(), other.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, c) for a, _, c in pairs)
    assert any(not torch.equal(a, b) for a, b, _ in pairs)


def test_a_later_variant_that_cannot_be_built_is_refused_before_any_training(digits, tmp_path):
    text = (
        GOOD
        + """[[variants]]
name = "typo"
architecture = "gmm"
"""
    )
    with pytest.raises(ws.ModelError, match="unknown architecture 'gmm'"):
        tasks.run_recipe(tasks.load_recipe(write(tmp_path, text)), digits, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused(run, digits, tmp_path):
    with pytest.raises(ws.RecipeError, match="is not the folder of a run"):
        tasks.load_model(tmp_path)
    with pytest.raises(ws.RecipeError, match="widths: expected 2-6-6-1, found 2-7-1"):
        tasks.load_model(run[2], ws.siren([2, 7, 1]))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "recipe.json").write_text((run[2] / "recipe.json").read_text())
    with pytest.raises(ws.RecipeError, match=r"no best\.safetensors"):
        tasks.load_model(unfinished)


def test_weights_that_are_damaged_or_of_another_model_are_refused_by_name(run, digits, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[2], folder)
    file = folder / "best.safetensors"
    whole = file.read_bytes()
    state = load_file(file)
    name = next(iter(state))
    for content, message in (
        (b"nothing", "cannot be read"),
        (whole[:-100], "cannot be read"),
        (save({"x": torch.zeros(2)}), "holds another model than recipe.json says"),
        (save(state | {"x": torch.zeros(2)}), r"\(1 differences\): x: expected none, found \[2\]; take that version"),
        (save(state | {name: torch.zeros(1, 2, 9)}), rf"{name}: expected .*, found \[1, 2, 9\]"),
    ):
        file.write_bytes(content)
        for use in (lambda: tasks.load_model(folder), lambda: tasks.evaluate_run(folder, digits)):
            with pytest.raises(ws.EngineError, match=rf"best\.safetensors.*{message}") as caught:
                use()
            assert "\n" not in str(caught.value)
    file.write_bytes(whole)
    tasks.load_model(folder)


def test_an_editor_learns(digits, tmp_path):
    """On its training set a small editor gets far below doing nothing."""
    recipe = tasks.load_recipe(write(tmp_path, GOOD))
    recipe = dataclasses.replace(
        recipe,
        train=TrainConfig(epochs=40, batch_size=24, learning_rate=1e-2, validate_every=40),
        variants=(Variant("dws", "dws", 2, 0.3, {"hidden": 16, "depth": 3, "dropout": 0.0}),),
    )
    (path,) = tasks.run_recipe(recipe, digits, tmp_path / "out", progress=False)
    records = [json.loads(line)["train_loss"] for line in (path / "records.jsonl").read_text().splitlines()]
    assert records[-1] < 0.6 * records[0]


def test_zoo_of_a_recipe_can_be_made(tmp_path):
    assert tasks.load_recipe("dilation-mnist5k").zoo.recipe in zoo.INR_RECIPES
