"""Many classifiers at once: each becomes what plain torch makes of it alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weightspace.zoo.networks._dropout import Dropout
from weightspace.zoo.networks._optimizer import Optimizer
from weightspace.zoo.networks._recipe import NetworkRecipe, initial_weights
from weightspace.zoo.networks._train import Examples, train_block

TORCH = {
    "adam": lambda groups, rate: torch.optim.Adam(groups, lr=rate),
    "rmsprop": lambda groups, rate: torch.optim.RMSprop(groups, lr=rate, alpha=0.9),
    "sgd": lambda groups, rate: torch.optim.SGD(groups, lr=rate),
    "sgd_momentum": lambda groups, rate: torch.optim.SGD(groups, lr=rate, momentum=0.9),
}


def recipe(architecture="cnn", activation="relu", **options):
    settings = {"classes": 4, "epochs": 2, "checkpoints": (1, 2), "batch_size": 8, "together": 6, **options}
    return NetworkRecipe(architecture, activation, **settings)


def labels(count, generator):
    return torch.randint(4, (count,), generator=generator)


def examples(how, count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 16, 16, generator=generator, dtype=torch.float64)
    if how.architecture == "text-transformer":
        vectors = torch.randn(30, 32, generator=generator, dtype=torch.float64)
        return Examples(torch.randint(30, (count, 9), generator=generator), labels(count, generator), vectors)
    return Examples(images[:, None], labels(count, generator))


class _Masks(torch.nn.Module):
    """The dropout of one network, from the stream that it has in the zoo."""

    def __init__(self, rate, stream):
        super().__init__()
        self.dropout = Dropout([rate], [stream])

    def forward(self, x):
        return self.dropout(x[None])[0]


def alone(how, train, seed, number):
    """The weights after each epoch, by modules and optimisers of torch."""
    settings, stream = how.settings(seed, number), np.random.default_rng([seed, number, 1])
    net = how.module().double()
    weights = initial_weights(net, settings, torch.Generator().manual_seed(int(stream.integers(2**63))))
    net.load_state_dict({name: tensor.double() for name, tensor in weights.items()})
    for module in [m for m in net.modules() if hasattr(m, "dropout")]:
        module.dropout = _Masks(settings["dropout"], stream)
    kernels, biases = ([p for p in net.parameters() if (p.dim() > 1) == wanted] for wanted in (True, False))
    groups = [{"params": kernels, "weight_decay": 2 * settings["l2reg"]}, {"params": biases}]
    optimizer = TORCH[settings["optimizer"]](groups, settings["learning_rate"])
    size = round(settings["train_fraction"] * len(train.labels))
    own, after = stream.permutation(len(train.labels))[:size], []
    batch = min(how.batch_size, size)
    for epoch in range(1, how.epochs + 1):
        order = own[stream.permutation(size)]
        for group in optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * how.rate(epoch)
        for start in range(0, size // batch * batch, batch):
            part = order[start : start + batch]
            optimizer.zero_grad()
            F.cross_entropy(net(train.take(part)), train.labels[part]).backward()
            optimizer.step()
        after.append({name: p.detach().clone() for name, p in net.named_parameters()})
    return after


@pytest.mark.parametrize(
    "how",
    [recipe(), recipe(activation="tanh"), recipe("transformer"), recipe("text-transformer")],
    ids=lambda how: f"{how.architecture}-{how.activation}",
)
def test_networks_become_what_torch_makes_of_each_alone(how):
    train, test = examples(how), examples(how, 7, seed=1)
    for first in (0, 6):  # the second block has another share of the examples
        numbers = range(first, first + 6)
        trained = train_block(how, train, test, 3, numbers)
        rules = {how.settings(3, number)["optimizer"] for number in numbers}
        assert len(rules) >= 2
        for i, number in enumerate(numbers):
            for epoch, weights in enumerate(alone(how, train, 3, number)):
                for name, wanted in weights.items():
                    found = trained.weights[name][2 * i + epoch]
                    assert (found - wanted).norm() <= 1e-10 * wanted.norm().clamp(min=1)


def test_measurements_are_those_of_the_module():
    how = recipe("transformer")
    train, test = examples(how), examples(how, 30, seed=1)
    trained = train_block(how, train, test, 0, range(3))
    for row in range(6):
        net = how.module().double()
        net.load_state_dict({name: tensor[row] for name, tensor in trained.weights.items()})
        logits = net(test.inputs)
        accuracy, loss = (logits.argmax(1) == test.labels).double().mean(), F.cross_entropy(logits, test.labels)
        assert trained.columns["test_accuracy"][row] == pytest.approx(accuracy.item(), abs=1e-6)
        assert trained.columns["test_loss"][row] == pytest.approx(loss.item(), rel=1e-5)
    assert not trained.columns["diverged"].any()


def test_a_network_does_not_depend_on_those_beside_it():
    how = recipe()
    train, test = examples(how), examples(how, 7, seed=1)
    together, apart = train_block(how, train, test, 0, range(4)), train_block(how, train, test, 0, range(2, 3))
    for name, tensor in apart.weights.items():
        torch.testing.assert_close(tensor, together.weights[name][4:6], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(TORCH))
def test_rules_are_those_of_torch(name):
    start, gradients = torch.randn(2, 5, dtype=torch.float64), torch.randn(20, 2, 5, dtype=torch.float64)
    mine, theirs = start.clone(), torch.nn.Parameter(start.clone())
    optimizer, reference = Optimizer([name, name], mine), TORCH[name]([theirs], 0.01)
    for gradient in gradients:
        optimizer.step(gradient, torch.full((2, 1), 0.01, dtype=torch.float64))
        theirs.grad = gradient
        reference.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_a_network_that_would_diverge_stays_as_it_is():
    weights = torch.ones(3, 2)
    optimizer = Optimizer(["sgd"] * 3, weights)
    rate = torch.ones(3, 1)
    optimizer.step(torch.tensor([[0.5, 0.5], [-2000.0, 0.0], [torch.nan, 0.0]]), rate)
    optimizer.step(torch.ones(3, 2) / 2, rate)
    assert weights.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    assert optimizer.alive.flatten().tolist() == [True, False, False]


def test_dropout_drops_the_rate_and_keeps_the_mean():
    streams = [np.random.default_rng(i) for i in range(3)]
    out = Dropout([0.0, 0.25, 0.7], streams)(torch.ones(200, 3, 500), axis=1)
    assert (out == 0).double().mean((0, 2)).tolist() == pytest.approx([0, 0.25, 0.7], abs=0.01)
    assert out.mean((0, 2)).tolist() == pytest.approx([1, 1, 1], abs=0.02)
    again = Dropout([0.7], [np.random.default_rng(2)])(torch.ones(1, 200, 500))
    assert torch.equal(again[0], out[:, 2])


def test_settings_are_drawn_from_the_published_ranges():
    how = recipe(together=8)
    drawn = [how.settings(0, number) for number in range(400)]
    assert drawn[17] == how.settings(0, 17) != how.settings(1, 17)
    rates, dropout = (np.array([s[name] for s in drawn]) for name in ("learning_rate", "dropout"))
    assert 5e-4 <= rates.min() < 6e-4 and 4e-2 < rates.max() <= 5e-2  # noqa: PT018
    assert np.median(rates) == pytest.approx(5e-3, rel=0.3)
    assert 0 <= dropout.min() < 0.02 and 0.68 < dropout.max() <= 0.7  # noqa: PT018
    fractions = [s["train_fraction"] for s in drawn]
    assert [fractions[i] for i in (0, 7, 8, 16, 24, 32)] == [1.0, 1.0, 0.5, 0.25, 0.1, 1.0]
    rules = {s["optimizer"] for s in (recipe("transformer").settings(0, i) for i in range(100))}
    assert rules == {"adam", "rmsprop", "sgd", "sgd_momentum"}


def test_transformers_warm_up_and_cool_down():
    how = recipe("transformer", epochs=20, checkpoints=(20,))
    rates = [how.rate(epoch) for epoch in range(1, 21)]
    assert rates[:2] == [0.5, 1.0]
    assert all(a > b for a, b in pairwise(rates[1:]))
    assert 0 < rates[-1] < 0.02
    assert {recipe().rate(epoch) for epoch in (1, 2)} == {1.0}
