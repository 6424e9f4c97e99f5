import pytest
import torch

import weightspace as ws
from weightspace.group import PERMUTATION
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

SMALL = {"hidden": 16, "depth": 2}
SPACES = [ws.siren([2, 8, 8, 1]), ws.mlp([3, 5, 7, 4, 2]), ws.mlp([1, 6, 2], activation="gelu")]
IDS = [space.summary() for space in SPACES]


def normal(space, batch, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return space.features(
        {p.name: torch.randn(batch, *p.shape, channels, generator=generator) for p in space.parameters}
    )


@pytest.mark.parametrize("space", SPACES, ids=IDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_permutations(space, channels):
    torch.manual_seed(0)
    net = ws.build("canon-mlp", space, in_channels=channels, out_channels=2, **SMALL)
    assert assert_equivariant(net, space, channels=channels) < 1e-12
    net = ws.build("canon-mlp", space, task="invariant", in_channels=channels, out_features=3, **SMALL)
    assert assert_invariant(net, space, channels=channels) < 1e-12


@pytest.mark.parametrize("space", SPACES[:2], ids=IDS[:2])
@pytest.mark.parametrize("standardize", ["none", "scale"])
def test_the_largest_group(space, standardize):
    torch.manual_seed(0)
    for task, check in (("equivariant", assert_equivariant), ("invariant", assert_invariant)):
        net = ws.build("canon-mlp", space, task=task, group="largest", standardize=standardize, **SMALL)
        assert net.symmetry == space.symmetry()
        check(net, space)
        smaller = ws.build("canon-mlp", space, task=task, standardize=standardize, **SMALL)
        assert smaller.symmetry == space.symmetry("permutation")
        assert equivariance_error(smaller, space, space.symmetry()) > 1e-2


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_fitted_standardisation_keeps_what_is_claimed(task):
    space = SPACES[1]
    theta = normal(space, 20).map(lambda t: 0.3 + 2 * t)
    for standardize, claimed in (("orbit", space.symmetry("permutation")), ("scale", space.symmetry())):
        net = ws.build("canon-mlp", space, task=task, group="largest", standardize=standardize, **SMALL)
        net.standardize.fit(theta)
        assert net.symmetry == claimed
        assert equivariance_error(net, space) < 1e-9


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_fails_under_permutations_of_the_output(task):
    space = ws.mlp([3, 5, 7, 4, 4])
    everything = SymmetryGroup(space, (PERMUTATION,) * len(space.groups))
    assert equivariance_error(ws.build("canon-mlp", space, task=task, **SMALL), space, everything) > 1e-3


def test_the_first_channel_decides_the_order():
    space = SPACES[2]
    net = ws.build("canon-mlp", space, task="invariant", in_channels=2, **SMALL).eval()
    theta = normal(space, 4, channels=2)
    group = space.symmetry("permutation")
    element = group.sample(4, torch.Generator().manual_seed(0))
    second = group.act(element, theta.map(lambda t: t[..., 1:]))
    misplaced = theta.map(lambda t: t[..., :1]).concatenate(second)
    assert (net(misplaced) - net(theta)).abs().max() > 1e-3


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_every_parameter_gets_a_gradient_and_networks_do_not_mix(task):
    space = SPACES[0]
    net = ws.build("canon-mlp", space, task=task, hidden=16, depth=3)
    theta = normal(space, 5)

    def output(batch):
        out = net(batch)
        return out.flatten() if isinstance(out, ws.WeightFeatures) else out

    output(theta).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    net.eval()
    torch.testing.assert_close(torch.cat([output(theta[i]) for i in range(5)]), output(theta))
    assert sum(isinstance(m, torch.nn.Linear) for m in net.modules()) == 3


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_it_computes_the_formula(task):
    space = SPACES[1]
    theta = normal(space, 4)
    outputs = {"out_channels": 2} if task == "equivariant" else {"out_features": 2}
    net = ws.build("canon-mlp", space, task=task, standardize="none", **SMALL, **outputs)
    form = ws.canonicalize(theta, space.symmetry("permutation"))
    first, last = [m for m in net.eval().modules() if isinstance(m, torch.nn.Linear)]
    flat = torch.cat([t.reshape(4, -1) for t in form.theta.tensors], 1)
    expected = (flat @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
    if task == "invariant":
        torch.testing.assert_close(net(theta), expected)
        return
    for i in range(4):
        at = 0
        for parameter, found in zip(space.parameters, net(theta).tensors, strict=True):
            size = found[i].numel()
            tensor = expected[i, at : at + size].view(*parameter.shape, 2)
            at += size
            for axis, carried in enumerate(parameter.axes):
                order = form.element[carried.group].permutation
                if order is not None:  # entry order[j] of the network is entry j of its form
                    tensor = tensor.index_select(axis, order[i].argsort())
            torch.testing.assert_close(found[i], tensor)


def test_the_lift_learns_what_only_canonical_places_can_tell():
    """The rank of each hidden neuron's bias, written on its bias."""
    space = ws.mlp([1, 4, 1], activation="gelu")
    theta = normal(space, 64)
    target = theta["0.bias"].argsort(dim=1).argsort(dim=1).float()
    torch.manual_seed(0)
    net = ws.build("canon-mlp", space, hidden=32, depth=2, dropout=0.0, standardize="none")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(300):
        loss = (net(theta)["0.bias"] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-3
