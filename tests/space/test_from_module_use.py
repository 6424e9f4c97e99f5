"""What users do with traced spaces beside the mathematics: wrapped modules, descriptions, wrong input."""

import json

import pytest
import torch
from torch import nn

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
