import pytest
import torch
from _orbits import error, networks
from torch import nn

import weightspace as ws


def moved(group, theta, seed=0):
    return group.act(group.sample(len(theta), torch.Generator().manual_seed(seed), dtype=theta.dtype), theta)


class Net(nn.Module):
    """Batch norms of one and of two dimensions, one of them in two places, and dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(4, 6)
        self.last = nn.Sequential(nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.relu(self.norm(self.again(x)))
        return self.last(self.linear(self.dropout(x.mean((2, 3)))))


def traced(batch):
    torch.manual_seed(0)
    modules = [Net() for _ in range(batch)]
    for module in modules:
        for p in module.parameters():
            p.data += 0.3 * torch.randn_like(p)
    return ws.from_module(modules[0], torch.randn(4, 2, 6, 6)).stack(modules).to(torch.float64)


def test_the_ends_and_the_middle_of_the_line():
    space = ws.mlp([2, 8, 8, 1])
    a, b = networks(space, 3), networks(space, 3, seed=1)
    aligned = ws.align(a, b).theta
    assert error(ws.merge(a, b, 0.0), a) == 0
    assert error(ws.merge(a, b, 1.0), aligned) == 0
    assert error(ws.merge(a, b), 0.5 * (a + aligned)) <= 1e-15
    assert error(ws.merge(a, b, 1.0, align=False), b) == 0
    line = ws.merge(a, b, torch.tensor([0.0, 0.25, 1.0]))
    assert len(line) == 9
    assert error(line[3:6], ws.merge(a[1], b[1], torch.tensor([0.0, 0.25, 1.0]))) <= 1e-12
    assert error(line[[1, 4, 7]], 0.75 * a + 0.25 * aligned) <= 1e-12


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_a_network_merged_with_itself_moved_is_itself(activation):
    space = ws.mlp([3, 16, 16, 2], activation=activation)
    theta, x = networks(space, 4), torch.randn(50, 3, dtype=torch.float64)
    other = moved(space.symmetry(), theta)
    expected = space.realize(theta, x)
    assert (space.realize(ws.merge(theta, other), x) - expected).abs().max() < 1e-9 * expected.abs().max()
    apart = space.realize(ws.merge(theta, other, align=False), x)  # negative control
    assert (apart - expected).abs().max() > 0.1 * expected.abs().max()


def test_one_network_with_many():
    space = ws.mlp([2, 8, 8, 1])
    a, b = networks(space, 1), networks(space, 3, seed=1)
    assert error(ws.merge(a, b)[2], ws.merge(a, b[2])) <= 1e-12
    assert error(ws.merge(b, a, align=False)[2], 0.5 * (a + b[2])) <= 1e-15


def test_running_statistics_are_those_that_training_mode_gives():
    theta = traced(4)
    batches = [torch.randn(n, 2, 6, 6, dtype=torch.float64) * n for n in (3, 5)]
    merged = ws.merge(theta[:2], theta[2:], torch.tensor([0.3, 0.6]), data=batches)
    plain = ws.merge(theta[:2], theta[2:], torch.tensor([0.3, 0.6]))
    assert len(merged) == 4
    for i in range(4):
        module = theta.space.to_module(plain[i])
        module.eval()
        for norm in (module.norm, module.last[0]):
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
        with torch.no_grad():
            for x in batches:
                module(x)
        found = theta.space.to_module(merged[i]).state_dict()
        expected = module.state_dict()
        for name in expected:
            if "num_batches" not in name:
                torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)
    assert error(plain, merged) > 0.1


def test_one_batch_and_data_for_each_network():
    theta = traced(2)
    x = torch.randn(2, 5, 2, 6, 6, dtype=torch.float64)
    own = ws.merge(theta, theta[[1, 0]], data=x)
    for i in range(2):
        alone = ws.merge(theta[i], theta[1 - i], data=x[i])
        assert error(own[i], alone) <= 1e-9


def test_without_data_statistics_are_interpolated():
    theta = traced(2)
    merged = ws.merge(theta[0], theta[1], 0.25, align=False)
    expected = 0.75 * theta["norm.running_var"][:1] + 0.25 * theta["norm.running_var"][1:]
    torch.testing.assert_close(merged["norm.running_var"], expected)


def test_the_space_is_as_before_and_data_is_no_matter_without_batch_norms():
    theta = traced(2)
    x = torch.randn(5, 2, 6, 6, dtype=torch.float64)
    before = theta.space.realize(theta, x)
    ws.merge(theta[0], theta[1], data=x)
    assert torch.equal(theta.space.realize(theta, x), before)
    space = ws.mlp([2, 4, 1])
    a, b = networks(space, 1), networks(space, 1, seed=1)
    assert error(ws.merge(a, b, data=torch.randn(3, 2)), ws.merge(a, b)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: ws.merge(a, a[:2]), "5 networks cannot be paired with 2"),
        (lambda a: ws.merge(a, a[:2], align=False), r"merge takes pairs .* found WeightFeatures\(batch=5"),
        (lambda a: ws.merge(a, networks(ws.mlp([2, 4, 1])), align=False), "merge takes pairs of networks of one space"),
        (
            lambda a: ws.merge(a, a, torch.ones(2, 2)),
            r"t: expected a number or a vector of numbers, found shape \(2, 2",
        ),
        (lambda a: ws.merge(a, a, torch.ones(0)), r"found shape \(0,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.SymmetryError, match=message):
        call(networks(ws.mlp([2, 5, 1])))


def test_data_without_a_batch():
    theta = traced(1)
    with pytest.raises(ws.SymmetryError, match="data: expected at least one batch, found none"):
        ws.merge(theta, theta, data=[])
