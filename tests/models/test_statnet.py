import sys

import pytest
import torch

import weightspace as ws
from weightspace.group import PERMUTATION, TRIVIAL
from weightspace.models import StatisticsPredictor, weight_statistics
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_invariant, equivariance_error

SPACE = ws.mlp([2, 6, 5, 1])
EVERYTHING = SymmetryGroup(SPACE, (PERMUTATION,) * len(SPACE.groups))


def normal(batch, channels=1, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tensors = {p.name: torch.randn(batch, *p.shape, channels, generator=generator) for p in SPACE.parameters}
    return SPACE.features(tensors).to(dtype)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_torch(channels):
    theta = normal(4, channels)
    found = weight_statistics(theta)
    assert found.shape == (4, 7 * channels * len(SPACE.parameters))
    levels = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
    for network in range(4):
        expected = []
        for tensor in theta.tensors:
            for channel in range(channels):
                entries = tensor[network, ..., channel].flatten()
                variance = entries.var() if len(entries) > 1 else torch.zeros((), dtype=torch.float64)
                expected += [entries.mean(), variance, *entries.quantile(levels)]
        torch.testing.assert_close(found[network], torch.stack(expected))


def test_more_entries_than_torch_quantile_takes_and_other_dtypes():
    space = ws.mlp([4096, 4097])
    entries = torch.arange(4096.0 * 4097).view(1, 4097, 4096, 1)
    assert entries.numel() > 2**24
    theta = space.features({"0.weight": entries, "0.bias": torch.zeros(1, 4097, 1)})
    assert weight_statistics(theta)[0, 6] == entries.max()
    low = weight_statistics(normal(3, dtype=torch.bfloat16))
    assert low.dtype == torch.bfloat16
    assert (low.double() - weight_statistics(normal(3))).abs().max() < 0.05


def test_invariance_under_permutations_of_all_neurons():
    net = ws.build("statnet", SPACE, task="invariant", out_features=3, hidden=32)
    assert net.symmetry == EVERYTHING
    assert assert_invariant(net, SPACE) < 1e-12


def test_scales_and_signs_change_it():
    net = ws.build("statnet", SPACE, task="invariant", hidden=32)
    assert equivariance_error(net, SPACE, SPACE.symmetry()) > 1e-2
    tanh = ws.mlp([2, 6, 5, 1], activation="tanh")
    assert equivariance_error(ws.build("statnet", tanh, task="invariant", hidden=32), tanh, tanh.symmetry()) > 1e-2


def test_statistics_by_input_neuron_take_the_claim_back():
    net = ws.build("statnet", SPACE, task="invariant", hidden=32, standardize="orbit")
    assert net.symmetry.factors == (TRIVIAL, PERMUTATION, PERMUTATION, TRIVIAL)


def test_the_published_configuration():
    net = ws.build("statnet", SPACE, task="invariant", out_features=4)
    widths = [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [(42, 1000), (1000, 1000), (1000, 4)]
    net(SPACE.sample(5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    net.eval()
    theta = SPACE.sample(5)
    torch.testing.assert_close(torch.cat([net(theta[i]) for i in range(5)]), net(theta))


def test_only_invariant_tasks():
    with pytest.raises(ws.ModelError, match=r"statnet serves invariant tasks only; for an equivariant one: .*dws"):
        ws.build("statnet", SPACE)
    assert "statnet" not in ws.architectures("equivariant")
    assert "statnet" in ws.architectures("invariant")


def labelled(batch, seed):
    theta = normal(batch, seed=seed)
    return theta, theta["2.weight"].flatten(1).std(dim=1)


@pytest.mark.parametrize("kind", ["boosting", "forest"])
def test_trees_regress(kind):
    theta, y = labelled(300, 0)
    test, expected = labelled(100, 1)
    trees = StatisticsPredictor(kind, seed=1).fit(theta, y)
    found = trees.predict(test)
    assert found.shape == (100,)
    assert (found - expected).square().mean() < 0.2 * expected.var()
    moved = EVERYTHING.act(EVERYTHING.sample(100, torch.Generator().manual_seed(0)), test)
    torch.testing.assert_close(trees.predict(moved), found)


@pytest.mark.parametrize("kind", ["boosting", "forest"])
def test_trees_classify(kind):
    theta, y = labelled(300, 0)
    test, expected = labelled(100, 1)
    median = y.median()
    found = StatisticsPredictor(kind, "classification").fit(theta, (y > median).long()).predict(test)
    assert found.dtype == torch.int64
    assert (found == (expected > median)).double().mean() > 0.85


def test_the_seed_matters_to_a_forest():
    theta, y = labelled(60, 0)
    first, second, again = (StatisticsPredictor("forest", seed=s).fit(theta, y).predict(theta) for s in (0, 1, 0))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_bad_input(monkeypatch):
    with pytest.raises(ws.ModelError, match=r"expected kind 'boosting' or 'forest' .* found 'tree' and 'regression'"):
        StatisticsPredictor("tree")
    with pytest.raises(ws.ModelError, match=r"one target for each of 3 networks, found shape \(3, 2\)"):
        StatisticsPredictor().fit(normal(3), torch.zeros(3, 2))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ws.ModelError, match=r"pip install 'weightspace\[baselines\]'"):
        StatisticsPredictor()
