import numpy as np
import pytest
import torch

import weightspace as ws
from weightspace import tasks, zoo
from weightspace.tasks import InrEditing, dilate


class Constant(torch.nn.Module):
    """An editor that gives back k copies of its input."""

    def __init__(self, k):
        super().__init__()
        self.k = k
        self.p = torch.nn.Parameter(torch.zeros(()))

    def forward(self, theta):
        return theta.map(lambda t: t.expand(*t.shape[:-1], self.k) + self.p)


def test_dilation_is_the_maximum_of_each_neighbourhood():
    images = torch.rand(3, 7, 5)
    found = dilate(images)
    for i in range(7):
        for j in range(5):
            square = images[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            assert torch.equal(found[:, i, j], square.amax((1, 2)))


@pytest.mark.parametrize("k", [1, 3])
def test_loss_is_the_error_against_the_edited_true_image(digits, k):
    task = InrEditing(digits)
    index = torch.tensor([5, 0, 2])
    members = digits.splits["validation"][index]
    rendered = zoo.render(digits.space, digits.weights[members], 9, 9)
    target = dilate(digits.images[members] / 255)
    expected = (rendered - target).square().mean((1, 2))
    torch.testing.assert_close(task.losses(Constant(k), "validation", index), expected)
    whole = task.losses(Constant(k), "test", torch.arange(8)).mean().detach()
    assert task.evaluate(Constant(k), "test", batch_size=3)["mse"] == pytest.approx(float(whole), rel=1e-5)


def test_a_training_step_may_compare_a_part_of_the_pixels(digits):
    whole, part = InrEditing(digits), InrEditing(digits, pixels=20)
    model, index = Constant(2), torch.tensor([5, 0, 2])
    torch.testing.assert_close(part.losses(model.eval(), "train", index), whole.losses(model, "train", index))
    torch.manual_seed(0)
    draws = torch.stack([part.losses(model.train(), "train", index).detach() for _ in range(400)])
    assert draws.std(0).min() > 0
    torch.testing.assert_close(draws.mean(0), whole.losses(model, "train", index).detach(), rtol=0.1, atol=0)
    with pytest.raises(ws.RecipeError, match="pixels: expected 1 to 81"):
        InrEditing(digits, pixels=82)


def test_references_are_the_errors_of_ignorant_editors(digits):
    task = InrEditing(digits)
    found = task.references()
    assert found["doing nothing"] == pytest.approx(task.evaluate(Constant(1), "test", 8)["mse"], rel=1e-5)
    train, test = (dilate(digits.images[digits.splits[split]] / 255) for split in ("train", "test"))
    assert found["mean training target"] == pytest.approx(float((train.mean(0) - test).square().mean()), rel=1e-5)


def test_any_function_of_images_is_an_edit(digits):
    task = InrEditing(digits, lambda images: 1 - images)
    shown = task.samples(Constant(2))
    torch.testing.assert_close(shown["target"], 1 - digits.images[digits.splits["test"]].float()[:8] / 255)
    assert shown["before"].shape == (8, 9, 9)
    assert shown["edited"].shape == (8, 9, 9, 2)


def test_what_cannot_be_edited_is_refused(digits, tmp_path):
    with pytest.raises(ws.RecipeError, match="unknown edit 'erase'; known: dilate"):
        InrEditing(digits, "erase")
    bare = zoo.write_zoo(tmp_path / "bare", digits.weights[:10])
    with pytest.raises(ws.ZooError, match="this zoo has none"):
        InrEditing(bare)


def test_a_zoo_for_testing_alone_can_be_measured_but_not_trained_on(digits, tmp_path):
    images = digits.images[:10].numpy()
    only = zoo.write_zoo(tmp_path / "only", digits.weights[:10], images=images, splits=np.array(["test"] * 10))
    assert InrEditing(only).evaluate(Constant(1), "test", 4)["mse"] > 0
    with pytest.raises(ws.ZooError, match="the train split is empty"):
        tasks.run_recipe(tasks.load_recipe("demo"), only, tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", ["demo", "dilation-mnist", "dilation-mnist5k"])
def test_shipped_recipes_match_their_parameters(name):
    """Every k of an architecture has at most the parameters of k = 1, and not many fewer."""
    recipe = tasks.load_recipe(name)
    space = ws.siren([2, 32, 32, 1])
    counts = {
        v.name: sum(p.numel() for p in tasks.build_variant(v, space, seed=0).parameters()) for v in recipe.variants
    }
    for variant in recipe.variants:
        (single,) = [v for v in recipe.variants if v.architecture == variant.architecture and v.k == 1]
        assert 0.88 <= counts[variant.name] / counts[single.name] <= 1.0
    if recipe.reduced is None:
        assert {(v.architecture, v.k) for v in recipe.variants} == {
            (a, k) for a in ("dws", "gmn") for k in (1, 2, 4, 8)
        }
