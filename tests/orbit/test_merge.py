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


def trained_statistics(module, x):
    """The state dict after one step of training on a batch, when all norms in use start anew."""
    module.eval()
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
    with torch.no_grad():
        module(x)
    return module.state_dict()


def test_running_statistics_are_those_that_training_mode_gives():
    theta = traced(4)
    batches = [torch.randn(n, 2, 6, 6, dtype=torch.float64) * n for n in (2, 7)]
    merged = ws.merge(theta[:2], theta[2:], torch.tensor([0.3, 0.6]), data=batches)
    plain = ws.merge(theta[:2], theta[2:], torch.tensor([0.3, 0.6]))
    assert len(merged) == 4
    for i in range(4):
        found = theta.space.to_module(merged[i]).state_dict()
        small, large = (trained_statistics(theta.space.to_module(plain[i]), x) for x in batches)
        for name in found:
            if "num_batches" not in name:
                expected = (2 * small[name] + 7 * large[name]) / 9
                torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    assert error(plain, merged) > 0.1


class OwnNorm(nn.Module):
    """A batch norm that is not torch's class, with names of its own for its statistics."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.register_buffer("center", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        return nn.functional.batch_norm(x, self.center, self.running_var, self.gain)


class WrittenOut(OwnNorm):
    def forward(self, x):
        shape = (-1, 1, 1)
        return (x - self.center.view(shape)) / (self.running_var.view(shape) + 1e-5).sqrt() * self.gain.view(shape)


class Cast(OwnNorm):
    def forward(self, x):
        return nn.functional.batch_norm(x, self.center + 0, self.running_var + 0, self.gain)


def with_norm(norm):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return ws.from_module(net, torch.randn(2, 2, 6, 6)).stack([net, net]).to(torch.float64)


def test_norms_of_the_users_own_are_seen():
    own, usual = with_norm(OwnNorm(4)), with_norm(nn.BatchNorm2d(4))
    x = torch.randn(5, 2, 6, 6, dtype=torch.float64)
    found, expected = ws.merge(own[0], own[1], data=x), ws.merge(usual[0], usual[1], data=x)
    torch.testing.assert_close(found["1.center"], expected["1.running_mean"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found["1.running_var"], expected["1.running_var"], rtol=1e-12, atol=1e-14)


def test_norms_that_are_not_used_keep_what_they_have():
    class Spare(Net):
        def __init__(self):
            super().__init__()
            self.spare = nn.BatchNorm2d(4)

    torch.manual_seed(0)
    nets = [Spare(), Spare()]
    nets[1].spare.running_var.fill_(3.0)
    theta = ws.from_module(nets[0], torch.randn(4, 2, 6, 6)).stack(nets)
    merged = ws.merge(theta[0], theta[1], data=torch.randn(5, 2, 6, 6))
    torch.testing.assert_close(merged["spare.running_var"], torch.full((1, 4, 1), 2.0))
    assert (merged["norm.running_var"] - ws.merge(theta[0], theta[1])["norm.running_var"]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        (WrittenOut(4), "statistics of norm '1' cannot be renewed, because it does not give them to"),
        (nn.InstanceNorm2d(4, track_running_stats=True), "statistics of norm '1' cannot be renewed"),
        (Cast(4), "no buffers of the state dict as they stand"),
        (nn.GroupNorm(2, 4), "use no running statistics"),
    ],
)
def test_statistics_that_cannot_be_renewed(norm, message):
    theta = with_norm(norm)
    with pytest.raises(ws.SymmetryError, match=message):
        ws.merge(theta[0], theta[1], data=torch.randn(5, 2, 6, 6, dtype=torch.float64))


@pytest.mark.parametrize("rows", [0, 1])
def test_batches_without_a_variance(rows):
    theta = traced(2)
    batches = [torch.randn(n, 2, 6, 6, dtype=torch.float64) for n in (3, rows)]
    with pytest.raises(ws.SymmetryError, match=rf"gives 'last.0.running_var' {rows} values|gives 'norm.* 0 values"):
        ws.merge(theta[0], theta[1], data=batches)
    plain = with_norm(nn.BatchNorm2d(4))  # one image has many pixels
    if rows:
        assert ws.merge(plain[0], plain[1], data=batches[1]).flatten().isfinite().all()


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


def test_the_space_is_as_before():
    theta = traced(2)
    x = torch.randn(5, 2, 6, 6, dtype=torch.float64)
    before = theta.space.realize(theta, x)
    ws.merge(theta[0], theta[1], data=x)
    assert torch.equal(theta.space.realize(theta, x), before)


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
        (lambda a: ws.merge(a, a, "x"), "t: expected a number or a vector of numbers, found 'x'"),
        (lambda a: ws.merge(a, a, torch.nan), "t: expected finite numbers, found nan"),
        (lambda a: ws.merge(a, a, 0.5, "permutation"), "align: expected True or False, found 'permutation'; options"),
        (lambda a: ws.merge(a, a.to(torch.float32), align=False), "merge takes networks of one dtype and on one dev"),
        (lambda a: ws.merge(a, a, data=3), "data: expected a batch of inputs, or several, found int"),
        (lambda a: ws.merge(a, a, data=torch.ones(2, 2)), "data: .* found networks without batch norms"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.SymmetryError, match=message):
        call(networks(ws.mlp([2, 5, 1])))


def test_data_without_a_batch():
    theta = traced(1)
    with pytest.raises(ws.SymmetryError, match="data: expected at least one batch, found none"):
        ws.merge(theta, theta, data=[])
