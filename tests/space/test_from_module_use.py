"""What users do with traced spaces beside the mathematics: wrapped modules, descriptions, wrong input."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import weightspace as ws
from weightspace.space import from_description


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


@pytest.fixture(scope="module")
def space():
    return ws.from_module(network(), torch.randn(2, 1, 8, 8))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_wrapped_modules_are_the_module_inside(space):
    assert ws.from_module(nn.DataParallel(network()), torch.randn(2, 1, 8, 8)) == space
    net = network()
    assert torch.equal(space.stack([nn.DataParallel(net)]).flatten(), space.stack([net]).flatten())


def test_a_module_without_memory_has_a_space(space):
    with torch.device("meta"):
        net, x = network(), torch.randn(2, 1, 8, 8)
    assert ws.from_module(net, x) == space


def test_a_described_space_takes_networks_and_says_that_it_cannot_run_them(space):
    described = from_description(json.loads(json.dumps(space.describe())))
    net = network()
    theta = described.stack([net])
    assert torch.equal(theta.flatten(), space.stack([net]).flatten())
    network().load_state_dict(described.unstack(theta)[0])
    with pytest.raises(ws.SpaceError, match="does not say how to run its networks; trace the module again"):
        described.realize(theta, torch.randn(2, 1, 8, 8))
    with pytest.raises(ws.SpaceError, match="does not hold the module"):
        described.to_module(theta)


def test_a_chain_gives_modules_of_its_own_class_back():
    net = Named()
    space = ws.from_module(net, torch.randn(4, 3))
    assert space == ws.mlp([3, 6, 2], layer_names=["first", "last"])
    theta, x = space.stack([net]), torch.randn(5, 3)
    module = space.to_module(theta)
    assert isinstance(module, Named)
    assert torch.equal(module(x), net(x))
    torch.testing.assert_close(space.realize(theta, x)[0], net(x))


def test_state_dicts_come_back_in_their_order(space):
    assert list(space.unstack(space.sample(1))[0]) == list(network().state_dict())


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.randn(3), r"input 0 is one of shape \(3,\)"),
        ({"x": torch.randn(4, 3)}, "input 0 is a dict"),
        (torch.randn(4, 5), r"Named cannot be traced: .*\[4, 5\]"),
    ],
)
def test_a_wrong_example_is_refused(example, message):
    with pytest.raises(ws.SpaceError, match=message):
        ws.from_module(Named(), example)


def test_inputs_that_the_module_does_not_take_are_refused(space):
    with pytest.raises(ws.SpaceError, match=r"does not run on inputs of shape \(5, 2, 8, 8\)"):
        space.realize(space.sample(2), torch.randn(5, 2, 8, 8))


def test_another_mask_is_another_function():
    class Padded(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("mask", (torch.arange(4) <= size).float()[:, None])

        def forward(self, x):
            return torch.relu(self.layer(x)) * self.mask

    space = ws.from_module(Padded(0), torch.randn(2, 4, 3))
    space.stack([Padded(0)])
    with pytest.raises(ws.SpaceError, match="the buffer 'mask' is no weight"):
        space.stack([Padded(1)])


def test_the_repr_is_one_line(space):
    assert repr(space) == "WeightSpace(1-4-2, 346 weights in 8 parameters)"


class Scaled(nn.Module):
    """Units with a factor that only some weights allow."""

    def __init__(self, factor, start):
        super().__init__()
        self.first, self.last, self.factor = nn.Linear(3, 5), nn.Linear(5, 2), factor
        self.sigma = nn.Parameter(torch.full((5,), start))

    def forward(self, x):
        return self.last(torch.relu(self.first(x) * self.factor(self.sigma)))


@pytest.mark.parametrize(
    ("factor", "start"),
    [(torch.sqrt, 1.0), (torch.log, 3.0), (lambda s: torch.sqrt(1 - s), 0.5), (lambda s: torch.rsqrt(-s), -1.0)],
)
def test_weights_that_must_be_positive(factor, start):
    net = Scaled(factor, start)
    space = ws.from_module(net, torch.randn(2, 3))
    assert any(factor.permutes for factor in space.symmetry().factors)
    theta, x = space.stack([net]).to(torch.float64), torch.randn(4, 3, dtype=torch.float64)
    group = space.symmetry()
    moved = space.realize(group.act(group.sample(1, dtype=torch.float64), theta), x)
    torch.testing.assert_close(moved, space.realize(theta, x), rtol=1e-9, atol=1e-12)


def test_a_variance_of_any_name():
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 1)
            self.register_buffer("center", torch.zeros(4))
            self.register_buffer("spread", torch.ones(4))

        def forward(self, x):
            return self.last(torch.relu(F.batch_norm(self.first(x), self.center, self.spread)))

    space = ws.from_module(Norm(), torch.randn(2, 2, 5, 5))
    assert any(factor.permutes for factor in space.symmetry().factors)


def test_outputs_that_are_never_finite():
    net = nn.Sequential(nn.Linear(3, 4), Scaled(torch.log, -1.0))
    net[1].first = nn.Linear(4, 5)
    with pytest.raises(ws.SpaceError, match=r"not finite, .*: operation aten.log.default at '1' \(.*Scaled\) gives"):
        ws.from_module(net, torch.randn(2, 3))


def test_complex_parameters_are_named():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, dtype=torch.complex64))
    with pytest.raises(ws.SpaceError, match=r"parameter '1\.weight' is complex"):
        ws.from_module(net, torch.randn(2, 3))


def test_buffers_of_a_module_in_training_are_left_alone():
    norm = nn.utils.parametrizations.spectral_norm
    net = nn.Sequential(norm(nn.Conv2d(2, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), norm(nn.Linear(36, 2)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert net.training
    ws.from_module(net, torch.randn(2, 2, 5, 5))
    assert net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
