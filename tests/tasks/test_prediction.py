"""Tasks that predict something about networks: accuracies of CNNs and transformers, classes of INRs."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import r2_score
from torch import nn

import weightspace as ws
from weightspace import tasks, zoo
from weightspace.engine import TrainConfig
from weightspace.tasks import Generalization, InrClassification, Recipe, Variant


def cnn(activation):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), activation(), nn.Conv2d(4, 4, 3), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip


def write_cnns(folder, activation=nn.ReLU, count=120):
    """CNNs whose "accuracy" is a function of their outputs' weights' size that no symmetry changes."""
    space = ws.from_module(cnn(activation), torch.zeros(1, 1, 8, 8))
    theta = space.sample(count, torch.Generator().manual_seed(0))
    growth = torch.linspace(0.2, 3, count)[torch.randperm(count, generator=torch.Generator().manual_seed(1))]
    theta = theta.map(lambda t: t * growth.view(-1, *[1] * (t.dim() - 1)))
    accuracy = (growth / 3.5).double().numpy()
    splits = (count - 40, 20, 20)
    return zoo.write_zoo(
        folder, theta, columns={"test_accuracy": accuracy, "step": np.arange(count) % 3}, splits=splits
    )


@pytest.fixture(scope="module")
def cnns(tmp_path_factory):
    return zoo.load(write_cnns(tmp_path_factory.mktemp("cnns") / "zoo").path)


class Fixed(nn.Module):
    """The same outputs for any networks."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, theta):
        return self.outputs


class Norm(nn.Module):
    """Logits that follow the size of the weights, which permutations and signs leave as it is."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, theta):
        return self.sign * sum(t.square().flatten(1).sum(1) for t in theta.tensors)[:, None].sqrt() / 10 - 1


def test_tau_is_that_of_scipy_with_ties_and_zero_without_order():
    generator = np.random.default_rng(0)
    for digits in (0, 1, 6):
        x, y = generator.normal(size=(2, 300)).round(digits)
        found = tasks.kendall_tau(torch.from_numpy(x), torch.from_numpy(y))
        assert found == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
    x = torch.arange(5.0)
    assert tasks.kendall_tau(torch.zeros(5), x) == 0
    assert np.isnan(tasks.kendall_tau(x[:1], x[:1]))
    assert np.isnan(tasks.kendall_tau(torch.tensor([0.0, np.nan, 1, 2, 3]), x))


def test_tau_beyond_one_block_of_pairs():
    x, y = torch.randn(2, 1500, generator=torch.Generator().manual_seed(0))
    assert tasks.kendall_tau(x, y + x) == pytest.approx(scipy.stats.kendalltau(x, y + x).statistic, abs=1e-12)


def test_the_interval_is_the_bootstrap():
    x, y = np.random.default_rng(1).normal(size=(2, 60)).round(1)
    y = y + x
    found = tasks.tau_interval(torch.from_numpy(x), torch.from_numpy(y), draws=200, seed=5)
    chosen = torch.randint(60, (200, 60), generator=torch.Generator().manual_seed(5)).numpy()
    values = [scipy.stats.kendalltau(x[i], y[i]).statistic for i in chosen]
    np.testing.assert_allclose(found, np.quantile(values, [0.025, 0.975]), atol=1e-12)


def test_r_squared_is_that_of_scikit_learn():
    x, y = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    assert tasks.r_squared(x, y) == pytest.approx(r2_score(y, x), rel=1e-6)


def test_metrics_of_generalization(cnns):
    task = Generalization(cnns, scales=(0, 3), thresholds=(0.0, 0.5))
    model = Norm().eval()
    found = task.evaluate(model, "test", 7)
    members = cnns.splits["test"]
    accuracy = cnns.metadata["test_accuracy"][members]
    predicted = model(cnns.weights[members])[:, 0].detach().double().sigmoid().numpy()
    tau = scipy.stats.kendalltau(predicted, accuracy).statistic
    assert found["tau"] == pytest.approx(tau)
    assert found["tau_above_0"] == pytest.approx(tau)
    above = accuracy >= 0.5
    assert found["tau_above_0.5"] == pytest.approx(scipy.stats.kendalltau(predicted[above], accuracy[above]).statistic)
    assert found["r2"] == pytest.approx(r2_score(accuracy, predicted), rel=1e-5)
    assert found["l1"] == pytest.approx(np.abs(accuracy - predicted).mean(), rel=1e-5)
    assert found["tau_scale_1e0"] == pytest.approx(tau, abs=0.02), "permutations change nothing but rounding"
    assert found["tau_scale_1e3"] < tau - 0.1, "the size of weights is no invariant of scales"
    assert found == task.evaluate(model, "test", 20), "the moved networks are the same each time"
    assert set(task.evaluate(model, "validation", 7)) == {"tau", "r2", "l1"}


def test_losses_of_generalization(cnns):
    index = torch.tensor([3, 1])
    logits = torch.tensor([0.5, -2.0])
    accuracy = Generalization(cnns).targets["validation"][index]

    model = Fixed(logits[:, None])
    p = logits.sigmoid()
    cross = -(accuracy * p.log() + (1 - accuracy) * (1 - p).log())
    torch.testing.assert_close(Generalization(cnns, loss="bce").losses(model, "validation", index), cross)
    squared = Generalization(cnns, loss="mse").losses(model, "validation", index)
    torch.testing.assert_close(squared, (p - accuracy).square())


def test_networks_below_the_minimum_do_not_count(cnns):
    task = Generalization(cnns, minimum=0.4)
    expected = (cnns.metadata["test_accuracy"][cnns.splits["train"]] >= 0.4).sum()
    assert 0 < task.size("train") == expected < Generalization(cnns).size("train")
    assert min(float(targets.min()) for targets in task.targets.values()) >= 0.4


def test_the_networks_of_one_epoch(cnns):
    task = Generalization(cnns, step=2)
    members = cnns.splits["test"]
    members = members[cnns.metadata["step"][members] == 2]
    assert 0 < len(members) < 20
    np.testing.assert_allclose(task.targets["test"], cnns.metadata["test_accuracy"][members], rtol=1e-6)
    assert torch.equal(task.theta["test"].flatten(), cnns.weights[members].flatten())


def test_training_on_all_epochs_and_testing_on_one(cnns):
    task, one, every = (
        Generalization(cnns, step=2, train_on_all_steps=True),
        Generalization(cnns, step=2),
        Generalization(cnns),
    )
    assert torch.equal(task.theta["train"].flatten(), every.theta["train"].flatten())
    for split in ("validation", "test"):
        assert torch.equal(task.theta[split].flatten(), one.theta[split].flatten())
        assert torch.equal(task.targets[split], one.targets[split])
    with pytest.raises(ws.RecipeError, match="train_on_all_steps: expected a step"):
        Generalization(cnns, train_on_all_steps=True)


@pytest.mark.parametrize("column", ["index", "run"])
def test_a_network_in_two_splits_is_refused_when_all_its_epochs_train(cnns, tmp_path, column):
    """Twelve networks stored after epochs 0, 1 and 2, divided by rows and by networks."""
    names = np.arange(36) // 3
    names = names if column == "index" else np.array([f"network {n}" for n in names])
    columns = {"test_accuracy": np.arange(36) / 36, "step": np.arange(36) % 3, column: names}
    for divided in (True, False):
        rows = np.arange(36) // 12 if divided else np.arange(36) % 5 % 3
        split = np.array(["train", "validation", "test"])[rows]
        cut = zoo.write_zoo(tmp_path / str(divided), cnns.weights[:36], columns=columns | {"split": split})
        if divided:
            assert Generalization(cut, step=1, train_on_all_steps=True).size("train") == 12
        else:
            with pytest.raises(ws.ZooError, match=f"train_on_all_steps: .* by its column '{column}'"):
                Generalization(cut, step=1, train_on_all_steps=True)


def test_validation_on_networks_of_one_accuracy_is_refused(cnns, tmp_path):
    columns = {"test_accuracy": np.where(np.arange(30) < 20, 0.5, np.arange(30) / 30)}
    for sizes, found in (((10, 10, 10), "10 of accuracy 0.5"), ((10, 1, 19), "1 of accuracy 0.5")):
        split = np.repeat(["train", "validation", "test"], sizes)
        cut = zoo.write_zoo(tmp_path / found, cnns.weights[:30], columns=columns | {"split": split})
        table = recipe("cnn-generalization", [Variant("mlp", "mlp")])
        with pytest.raises(ws.ZooError, match=f"validation split: expected networks of several accuracies.*{found}"):
            tasks.run_recipe(table, cut, tmp_path / "runs", progress=False)
        assert Generalization(cut).size("validation") == sizes[1]  # which evaluation of a finished run may read


def test_a_split_that_the_settings_empty_is_named(cnns, tmp_path):
    columns = {"test_accuracy": np.arange(30) / 30, "step": np.arange(30) // 20}
    split = np.repeat(["train", "validation", "test"], 10)
    cut = zoo.write_zoo(tmp_path / "zoo", cnns.weights[:30], columns=columns | {"split": split})
    table = recipe("cnn-generalization", [Variant("mlp", "mlp")], step=0)
    with pytest.raises(ws.ZooError, match="the test split is empty; none of its 10 networks counts, by the settings"):
        tasks.run_recipe(table, cut, tmp_path / "runs", progress=False)


def test_what_cannot_be_predicted_is_refused(cnns, digits):
    with pytest.raises(ws.ZooError, match="no column 'accuracy' in its metadata; it has index, split, step"):
        Generalization(cnns, column="accuracy")
    with pytest.raises(ws.ZooError, match="'step' holds no accuracies"):
        Generalization(cnns, column="step")
    with pytest.raises(ws.ZooError, match="no network is left of 120"):
        Generalization(cnns, minimum=1.0)
    with pytest.raises(ws.ZooError, match=r"step: expected one of [\d, ]+, after which .* were stored, found 7777"):
        Generalization(cnns, step=7777)
    for options in ({"loss": "l1"}, {"scales": (-1,)}, {"thresholds": (2.0,)}):
        with pytest.raises(ws.RecipeError, match=next(iter(options))):
            Generalization(cnns, **options)


def test_changes_that_the_networks_do_not_take_are_refused_before_training(cnns, digits):
    settings = tasks.CnnGeneralizationSettings
    with pytest.raises(ws.SpaceError, match="RotateInputs turns the plane: expected networks with 2 inputs, found 1"):
        settings(augment=tasks.AugmentSettings(rotate=30)).task(cnns)
    for how in ({"one_of": True}, {"self_mixup": 1.0}, {"one_of": True, "self_mixup": 1.0}):
        with pytest.raises(ws.SymmetryError, match="sine"):
            settings(augment=tasks.AugmentSettings(element=0, noise=0.1, drop=0.1, sine_shifts=1, **how)).task(cnns)
    for changes in ({"aligned": True}, {"shuffled": True}, {}):
        with pytest.raises(ws.WeightspaceError, match="group"):
            tasks.InrClassificationSettings(mixup=ws.augment.Mixup(group="foo", **changes)).task(digits)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augment = tasks.AugmentSettings(rotate=30, noise=0.1, one_of=True, self_mixup=1.0)
    tasks.InrClassificationSettings(augment=augment, mixup=ws.augment.Mixup(aligned=True)).task(digits)
    assert torch.equal(torch.get_rng_state(), before)


class InTurn(nn.Module):
    """One class after the other."""

    def forward(self, theta):
        return torch.eye(10)[torch.arange(len(theta)) % 10]


def test_accuracy_of_classification(digits):
    task = InrClassification(digits)
    assert task.outputs == 10
    labels = torch.from_numpy(digits.metadata["label"][digits.splits["test"]])
    assert torch.equal(task.targets["test"], labels)
    found = task.evaluate(InTurn(), "test", 8)["accuracy"]
    assert found == pytest.approx(float((labels == torch.arange(8)).double().mean()))
    loss = task.losses(Fixed(torch.zeros(2, 10)), "train", torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.full((2,), 10.0).log())


def test_numbers_that_are_no_classes_are_refused(digits, tmp_path):
    def task(name, values):
        return InrClassification(zoo.write_zoo(tmp_path / name, digits.weights[:4], columns={"label": values}))

    assert task("whole", [0.0, 2.0, 2.0, -1.0]).classes.tolist() == [-1, 0, 2]
    assert task("texts", ["b", "a", "b", "b"]).outputs == 2
    assert task("truth", [True, False, True, True]).outputs == 2
    for name, values, found in (
        ("nan", [0.0, 1.0, np.nan, np.nan], r"found nan at network 2 \(2 such\)"),
        ("infinite", [0.0, np.inf, 1.0, 1.0], "found inf at network 1"),
        ("accuracies", [0.1, 0.2, 0.3, 0.4], r"found 0.1 at network 0 \(4 such\)"),
    ):
        with pytest.raises(ws.ZooError, match=rf"{name}: column 'label': expected whole numbers or texts .*{found}"):
            task(name, values)


def test_training_steps_may_change_the_networks(digits, cnns):
    """In training alone: the loss then varies from draw to draw, where the model sees what is changed."""
    index = torch.arange(4)
    for settings, zoo_, changed in (
        (tasks.InrClassificationSettings(augment=tasks.AugmentSettings(rotate=45, noise=0.1)), digits, True),
        (tasks.CnnGeneralizationSettings(augment=tasks.AugmentSettings(element=0)), cnns, False),
        (tasks.CnnGeneralizationSettings(augment=tasks.AugmentSettings(element=2)), cnns, True),
    ):
        task = settings.task(zoo_)
        model = nn.Sequential(Norm(), nn.Linear(1, task.outputs))
        as_they_are = task.losses(model.eval(), "train", index)
        torch.testing.assert_close(task.losses(model.eval(), "train", index), as_they_are)
        assert torch.allclose(task.losses(model.train(), "train", index), as_they_are, atol=1e-5) != changed


def test_every_augmentation_of_a_recipe(digits):
    theta = digits.weights[:4]
    names = set(dataclasses.asdict(tasks.AugmentSettings())) - {"one_of", "self_mixup"}
    for name in names:
        value = {"sine_signs": True, "sine_shifts": 1}.get(name, 0.5)
        chain = tasks.AugmentSettings(**{name: value}).chain()
        assert not torch.equal(chain(theta).flatten(), theta.flatten()), name
        assert len(chain.augmentations) == 1
        for more in ({"one_of": True}, {"self_mixup": 1.0}, {"one_of": True, "self_mixup": 0.3}):
            assert tasks.AugmentSettings(**{name: value}, **more).chain()(theta).space == theta.space
    assert tasks.AugmentSettings().chain() is None
    both = {"rotate": 20.0, "noise": 0.1}
    assert repr(tasks.AugmentSettings(**both, one_of=True, self_mixup=0.5).chain()) == (
        "SelfMixup(change=OneOf(RotateInputs(degrees=20.0), GaussianNoise(relative=0.1)), alpha=0.5)"
    )
    for alone in ({"one_of": True}, {"self_mixup": 1.0}):
        with pytest.raises(ws.RecipeError, match="one_of and self_mixup need augmentations"):
            tasks.AugmentSettings(**alone)


def test_training_targets_are_smoothed_and_mixed(digits, cnns):
    """In training alone; the loss of mixed classes is the mixture of the losses."""
    index = torch.arange(6)
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = InrClassification(digits).targets["train"][index]
    plain = nn.functional.cross_entropy(logits, classes, reduction="none")
    smooth = nn.functional.cross_entropy(logits, classes, reduction="none", label_smoothing=0.1)
    task = InrClassification(digits, smoothing=0.1)
    torch.testing.assert_close(task.losses(Fixed(logits).train(), "train", index), smooth, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(task.losses(Fixed(logits).eval(), "train", index), plain)
    torch.testing.assert_close(InrClassification(digits).losses(Fixed(logits).train(), "train", index), plain)

    torch.manual_seed(3)
    mixed = ws.augment.Mixup()(digits.weights[:6])
    partner = nn.functional.cross_entropy(logits, classes[mixed.partner], reduction="none")
    torch.manual_seed(3)
    found = InrClassification(digits, mixup=ws.augment.Mixup()).losses(Fixed(logits).train(), "train", index)
    torch.testing.assert_close(found, mixed.share * plain + (1 - mixed.share) * partner, rtol=1e-6, atol=1e-6)

    torch.manual_seed(3)
    task = Generalization(cnns, loss="mse", mixup=ws.augment.Mixup())
    found = task.losses(Norm().train(), "train", index)
    torch.manual_seed(3)
    mixed = task.mixup(task.theta["train"][index])
    accuracy = mixed.targets(task.targets["train"][index])
    expected = (Norm()(mixed.theta)[:, 0].sigmoid() - accuracy).square()
    torch.testing.assert_close(found, expected)
    with pytest.raises(ws.RecipeError, match="smoothing: expected a number from 0 to 1, found 2"):
        InrClassification(digits, smoothing=2)


def test_mixup_and_smoothing_in_a_recipe(tmp_path, digits):
    (tmp_path / "tiny.toml").write_text(
        """name = "tiny"
title = "a table"
seeds = [0]
[task]
kind = "inr-classification"
smoothing = 0.1
augment = { rotate = 30, noise = 0.1, sine_signs = true, one_of = true, self_mixup = 1 }
mixup = { aligned = true }
[train]
epochs = 1
batch_size = 8
learning_rate = 1e-3
[[variants]]
name = "statnet"
architecture = "statnet"
options = { hidden = 8 }
"""
    )
    table = tasks.load_recipe(tmp_path / "tiny.toml")
    assert table.task.mixup == ws.augment.Mixup(aligned=True)
    (folder,) = tasks.run_recipe(table, digits, tmp_path / "runs", progress=False)
    assert tasks.evaluate_run(folder, digits) == pytest.approx(metrics(folder))
    text = (tmp_path / "tiny.toml").read_text()
    for old, new, message in (
        ("aligned = true", "aligned = true, shuffled = true", "aligned or shuffled, not both"),
        ("rotate = 30,", "rotate = 300,", "RotateInputs: degrees"),
        ("aligned = true", "lined = true", "lined"),
    ):
        (tmp_path / "bad.toml").write_text(text.replace(old, new))
        with pytest.raises(ws.RecipeError, match=message):
            tasks.load_recipe(tmp_path / "bad.toml")


TINY = TrainConfig(epochs=2, batch_size=16, learning_rate=1e-2)
SMALL = {"hidden": 8, "depth": 2}


def recipe(kind, variants, **settings):
    return Recipe("tiny", "a table", TINY, tuple(variants), task=tasks.KINDS[kind](**settings), seeds=(0,))


@pytest.fixture(scope="module")
def runs(cnns, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    variants = [
        Variant("hnp-nfn", "hnp-nfn", options=SMALL),
        Variant("monomial", "monomial-nfn", options=SMALL),
        Variant("statnet", "statnet", options=SMALL),
        Variant("mlp", "mlp", options=SMALL),
        Variant("boosting", "statistics-boosting"),
        Variant("forest", "statistics-forest"),
        Variant("canonical", "canonical-boosting"),
    ]
    table = recipe("cnn-generalization", variants, scales=(0, 4))
    tasks.run_recipe(table, cnns, out, progress=False)
    return out / "tiny"


def metrics(folder, split="test"):
    return json.loads((folder / "result.json").read_text())["metrics"][split]


def test_every_baseline_goes_through_one_recipe(runs, cnns):
    for name in ("hnp-nfn", "monomial", "statnet", "mlp", "boosting", "forest", "canonical"):
        found = metrics(runs / name / "seed0")
        assert set(found) == {"tau", "r2", "l1", "tau_scale_1e0", "tau_scale_1e4"}, name
        described = json.loads((runs / name / "seed0" / "recipe.json").read_text())
        assert described["task"]["selection"] == "tau"
        assert described["task"]["direction"] == "max"
        assert described["recipe"]["task"]["kind"] == "cnn-generalization"
    assert metrics(runs / "forest" / "seed0")["tau"] > 0.8
    assert tasks.evaluate_run(runs / "hnp-nfn" / "seed0", cnns) == pytest.approx(metrics(runs / "hnp-nfn" / "seed0"))
    with pytest.raises(ws.RecipeError, match="trees are measured once and not stored"):
        tasks.load_model(runs / "boosting" / "seed0")


def made_by_make_zoo(folder, make):
    """A zoo of untrained classifiers that says how they are run."""
    space = ws.from_module(make, torch.zeros(2, 1, 16, 16))
    about = {"recipe": {"architecture": "cnn", "activation": "relu", "classes": 3}, "input_shape": [1, 16, 16]}
    theta = space.sample(70, torch.Generator().manual_seed(0))
    columns = {"test_accuracy": np.linspace(0, 1, 70)}
    return space, zoo.load(zoo.write_zoo(folder, theta, columns=columns, about=about).path)


def test_random_probes_are_outputs_that_no_symmetry_changes(tmp_path, digits):
    space, classifiers = made_by_make_zoo(tmp_path / "zoo", zoo.SmallCNN("relu", 3))
    assert classifiers.space.program is None
    found = tasks.random_probes(classifiers, points=5, seed=2)(classifiers.weights)
    inputs = 2 * torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(2)) - 1
    torch.testing.assert_close(
        found, space.realize(space.features(dict(classifiers.weights.items())), inputs).flatten(1)
    )
    moved = ws.augment.RandomElement(2)(classifiers.weights)
    torch.testing.assert_close(tasks.random_probes(classifiers, points=5, seed=2)(moved), found, rtol=1e-3, atol=1e-4)
    assert tasks.random_probes(digits, points=4)(digits.weights).shape == (40, 4)


def test_a_zoo_whose_networks_are_not_those_of_its_recipe_does_not_run(tmp_path):
    theta = ws.from_module(zoo.SmallCNN("relu", 3), torch.zeros(2, 1, 16, 16)).sample(2)
    recipe = {"architecture": "cnn", "activation": "relu", "classes": 3}
    for number, (change, shape, message) in enumerate((
        ({"classes": 4}, [1, 16, 16], "its networks are not those of its recipe"),
        ({"activation": "tanh"}, [1, 16, 16], "its networks are not those of its recipe"),
        ({"activation": "mish"}, [1, 16, 16], "does not say how to run"),
        ({"architecture": "rnn"}, [1, 16, 16], "does not say how to run"),
        ({"architecture": ["cnn"]}, [1, 16, 16], "does not say how to run"),
        ({"architecture": "park-cnn"}, [1, 16, 16], "does not say how to run"),
        ({}, [2, 16, 16], "does not say how to run"),
        ({}, [16], "does not say how to run"),
        ({}, None, "does not say how to run"),
    )):  # fmt: skip
        about = {"recipe": recipe | change, "input_shape": shape}
        written = zoo.write_zoo(tmp_path / str(number), theta, about=about)
        with pytest.raises(ws.ZooError, match=message):
            zoo.traced(written)


def test_probes_in_a_table(tmp_path, cnns, digits):
    table = recipe("inr-classification", [Variant("probes", "probes-boosting")])
    tasks.run_recipe(table, digits, tmp_path, progress=False)
    assert "accuracy" in metrics(tmp_path / "tiny" / "probes" / "seed0")
    table = recipe("cnn-generalization", [Variant("probes", "probes-boosting")])
    with pytest.raises(ws.ZooError, match=r"does not say how to run its networks, as the manifests"):
        tasks.run_recipe(table, cnns, tmp_path / "other", progress=False)


def test_the_best_epoch_has_the_highest_tau(runs):
    folder = runs / "statnet" / "seed0"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert metrics(folder, "validation")["tau"] == max(record["validation"]["tau"] for record in records)


def test_trees_are_kept_and_predict_what_they_say(runs, cnns):
    folder = runs / "forest" / "seed0"
    before = (folder / "result.json").stat().st_mtime_ns
    variants = [Variant("forest", "statistics-forest")]
    table = recipe("cnn-generalization", variants, scales=(0, 4))
    other = recipe("cnn-generalization", variants, scales=(0, 3))
    with pytest.raises(ws.EngineError, match="holds another run"):
        tasks.run_recipe(other, cnns, runs.parent, progress=False)
    more = dataclasses.replace(table, title="another", variants=(*table.variants, Variant("more", "mlp")))
    tasks.run_recipe(more, cnns, runs.parent, variants=["forest"], progress=False)
    stored = json.loads((folder / "recipe.json").read_text())["recipe"]
    assert (stored["title"], len(stored["variants"]), stored["variant"]["name"]) == ("another", 2, "forest")
    task = table.task.task(cnns)
    model = tasks.Trees("statistics-forest", task, 0)
    model.fit()
    expected = ws.models.StatisticsPredictor("forest").fit(task.theta["train"], task.targets["train"])
    found = task.predictions(model, task.theta["test"], 8)
    torch.testing.assert_close(found, expected.predict(task.theta["test"]), rtol=1e-4, atol=1e-6)
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_samples_hold_what_the_report_draws(runs, cnns):
    from safetensors.torch import load_file

    shown = load_file(runs / "hnp-nfn" / "seed0" / "samples.safetensors")
    assert shown["true"].shape == shown["predicted"].shape == (20,)
    assert shown["orbit"].shape == (20, 8)
    assert tasks.kendall_tau(shown["predicted"], shown["true"]) == pytest.approx(
        metrics(runs / "hnp-nfn" / "seed0")["tau"]
    )


def test_a_model_with_the_symmetry_does_not_move_along_orbits(runs):
    from safetensors.torch import load_file

    spread = {
        name: float(load_file(runs / name / "seed0" / "samples.safetensors")["orbit"].std(1).mean())
        for name in ("hnp-nfn", "monomial", "mlp", "forest", "canonical")
    }
    assert max(spread["monomial"], spread["canonical"]) < 1e-5
    assert min(spread["hnp-nfn"], spread["mlp"], spread["forest"]) > 1e-3
    for name in ("monomial", "canonical"):
        found = metrics(runs / name / "seed0")
        assert found["tau_scale_1e4"] == pytest.approx(found["tau"], abs=0.02)


def test_classes_through_a_recipe(digits, tmp_path):
    variants = [
        Variant("dws", "dws", options={"hidden": 4, "depth": 2}),
        Variant("forest", "statistics-forest"),
    ]
    tasks.run_recipe(recipe("inr-classification", variants), digits, tmp_path, progress=False)
    for name in ("dws", "forest"):
        assert 0 <= metrics(tmp_path / "tiny" / name / "seed0")["accuracy"] <= 1
    stored = json.loads((tmp_path / "tiny" / "dws" / "seed0" / "recipe.json").read_text())["recipe"]
    assert stored["outputs"] == 10
    assert stored["references"]["most frequent class"] <= 100
    assert tasks.evaluate_run(tmp_path / "tiny" / "dws" / "seed0", digits).keys() == {"accuracy"}


def test_a_run_keeps_its_classes_on_zoos_with_fewer_or_other_ones(digits, tmp_path):
    (folder,) = tasks.run_recipe(
        recipe("inr-classification", [Variant("dws", "dws", options=SMALL)]), digits, tmp_path, progress=False
    )
    file = folder / "recipe.json"
    stored = json.loads(file.read_text())
    assert stored["recipe"]["classes"] == list(range(10))
    few = torch.arange(4, 10)  # of the classes 4 to 9
    labels = digits.metadata["label"][few]

    def other(name, labels):
        return zoo.write_zoo(tmp_path / name, digits.weights[few], columns={"label": labels}, splits=(0, 0, 6))

    found = tasks.evaluate_run(folder, other("few", labels))["accuracy"]
    predicted = tasks.load_model(folder)(digits.weights[few]).argmax(1).numpy()
    assert found == pytest.approx((predicted == labels).mean())
    with pytest.raises(ws.ZooError, match=r"expected the classes 0, 1, .*9, found 11, 12 too; leave"):
        tasks.evaluate_run(folder, other("more", [4, 5, 11, 7, 8, 12]))
    with pytest.raises(ws.ZooError, match=r"expected the classes 0, 1, .* found '4', '5'"):
        tasks.evaluate_run(folder, other("texts", [str(label) for label in labels]))
    del stored["recipe"]["classes"]  # as former versions wrote it
    file.write_text(json.dumps(stored))
    assert tasks.evaluate_run(folder, digits) == pytest.approx(metrics(folder))
    with pytest.raises(ws.RecipeError, match=r"does not tell its 10 classes, and .*few has 6; measure it"):
        tasks.evaluate_run(folder, zoo.load(tmp_path / "few"))
    tasks.run_recipe(
        recipe("inr-classification", [Variant("dws", "dws", options=SMALL)]), digits, tmp_path, progress=False
    )
    assert json.loads(file.read_text())["recipe"]["classes"] == list(range(10))


def test_several_networks_and_options_of_trees_are_refused(cnns, digits, tmp_path):
    table = recipe("cnn-generalization", [Variant("dws", "dws", k=2)])
    with pytest.raises(ws.RecipeError, match="k = 2 networks, but the task asks for numbers"):
        tasks.run_recipe(table, cnns, tmp_path, progress=False)
    table = recipe("cnn-generalization", [Variant("trees", "statistics-forest", options={"depth": 3})])
    with pytest.raises(ws.RecipeError, match="statistics-forest has no options"):
        tasks.run_recipe(table, cnns, tmp_path, progress=False)
    table = recipe("inr-editing", [Variant("trees", "statistics-forest")])
    with pytest.raises(ws.RecipeError, match="predicts numbers and classes; task 'inr-editing' asks for networks"):
        tasks.run_recipe(table, digits, tmp_path, progress=False)
