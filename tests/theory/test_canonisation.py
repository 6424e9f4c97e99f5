"""A DWS network that sorts neurons, exactly, and the two ways to equivariant maps on canonical forms."""

import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace.nn import EquivariantLinear, Pointwise
from weightspace.testing import assert_equivariant, assert_invariant
from weightspace.theory import CanonicalBroadcast, CanonicalFormNetwork, wl_pair
from weightspace.theory.checks._noisy_pair import fit, noisy_pair

SHAPES = [[3, 2], [1, 1, 2], [1, 3, 1], [2, 1, 3, 2], [2, 3, 1, 2], [2, 5, 4, 2], [1, 2, 4, 3, 1]]


def networks(space, batch=500, bound=3.0, margin=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    drawn = {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}
    theta = space.features({name: t.clamp(-bound, bound) for name, t in drawn.items()})
    return theta[(ws.canonicalize(theta, "permutation").margin >= margin).nonzero().squeeze(1)]


def errors(net, theta):
    expected = ws.canonicalize(theta, "permutation").theta
    return (net(theta).flatten() - expected.flatten()).abs().amax(1)


def with_biases(theta, *biases):
    """One network with these biases in the first hidden layer."""
    return theta.space.features({**theta[:1], "0.bias": torch.tensor(biases, dtype=torch.float64)[None, :, None]})


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_it_sorts_exactly(dims):
    theta = networks(ws.mlp(dims), margin=1e-2)
    assert len(theta) > 300
    assert errors(CanonicalFormNetwork(theta.space, 1e-2, 3.1), theta).max() < 1e-11


def test_any_activation_and_any_way_between_layers():
    skip = ws.space.WeightSpace(
        (
            ws.space.NeuronGroup("x", 2, "input"),
            ws.space.NeuronGroup("a", 3),
            ws.space.NeuronGroup("b", 4),
            ws.space.NeuronGroup("y", 2, "output"),
        ),
        tuple(
            ws.space.Parameter(name, tuple(ws.space.Axis(n, g, s) for n, g, s in axes))
            for name, axes in {
                "W": ((3, "a", "out"), (2, "x", "in")),
                "c": ((3, "a", "out"),),
                "U": ((4, "b", "out"), (3, "a", "in")),
                "S": ((4, "b", "out"), (2, "x", "in")),
                "d": ((4, "b", "out"),),
                "e": ((4, "b", "out"),),  # neurons are sorted by the first of their vectors
                "V": ((2, "y", "out"), (4, "b", "in")),
                "T": ((2, "y", "out"), (2, "x", "in")),
            }.items()
        ),
    )
    for space in (skip, ws.mlp([2, 4, 3, 1], activation="tanh"), ws.siren([2, 4, 1])):
        theta = networks(space, margin=1e-2)
        assert errors(CanonicalFormNetwork(space, 1e-2, 3.0), theta).max() < 1e-11


def test_it_is_made_of_equivariant_layers_and_relu():
    net = CanonicalFormNetwork(ws.mlp([2, 4, 3, 2]), 0.1, 2.0)
    linear, between = net.layers[::2], net.layers[1::2]
    assert all(type(layer) is EquivariantLinear for layer in linear)
    assert all(isinstance(layer, Pointwise) and layer.fn is torch.relu for layer in between)
    assert net.depth == len(linear) == 4 * 4 + 2
    for layer in set(linear):
        assert_equivariant(layer, net.space, channels=layer.in_channels)


@pytest.mark.parametrize("dims", [[2, 5, 4, 2], [2, 1, 3, 2]], ids=str)
def test_it_is_invariant_everywhere_even_where_it_does_not_sort(dims):
    space = ws.mlp(dims)
    net = CanonicalFormNetwork(space, 0.5, 1.0)
    assert_invariant(lambda theta: net(theta).flatten(), space)
    assert_invariant(lambda theta: net(theta.map(torch.round)).flatten(), space)  # ties


def test_a_smaller_margin_or_larger_weights_break_it():
    theta = networks(ws.mlp([2, 5, 4, 2]), 1, bound=2.0)
    net = CanonicalFormNetwork(theta.space, 1e-2, 3.0)
    assert errors(net, with_biases(theta, 0.0, 1e-2, 1.5, -3.0, 3.0)) < 1e-11
    assert errors(net, with_biases(theta, 0.0, 1e-3, 1.5, -3.0, 3.0)) > 0.1
    assert errors(net, with_biases(theta, 0.0, 9.0, 1.5, -3.0, 3.0)) > 0.1
    large = theta.space.features({**theta, "2.weight": 4 * theta["2.weight"]})
    assert errors(net, large) > 0.1


def test_the_deepest_circuit_of_the_statement():
    theta = networks(ws.mlp([1, 8, 1]), margin=1e-2)
    net = CanonicalFormNetwork(theta.space, 1e-2, 3.0)
    assert net.depth == 66
    assert errors(net, theta).max() < 1e-11


def test_what_the_circuit_refuses():
    space = ws.mlp([2, 3, 1])
    with pytest.raises(ws.TheoryError, match="margin: expected a positive number, found 0"):
        CanonicalFormNetwork(space, 0, 1.0)
    with pytest.raises(ws.TheoryError, match="radius: expected a positive number, found -1"):
        CanonicalFormNetwork(space, 0.1, -1.0)
    bare = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1))
    space = ws.from_module(bare, torch.zeros(1, 2))
    for make in (lambda: CanonicalFormNetwork(space, 0.1, 1.0), lambda: CanonicalBroadcast(space)):
        with pytest.raises(ws.TheoryError, match=r"sorts neurons by their biases; neuron group '.*' has none"):
            make()
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))
    with pytest.raises(ws.TheoryError, match="canonical form network takes weight spaces of matrices"):
        CanonicalFormNetwork(ws.from_module(convolution, torch.zeros(1, 1, 8, 8)), 0.1, 1.0)


@pytest.mark.parametrize("endpoints", [True, False])
@pytest.mark.parametrize("dims", [[3, 2], [1, 4, 4, 1], [2, 3, 1, 2]], ids=str)
def test_the_broadcast_form_is_equivariant(dims, endpoints):
    space = ws.mlp(dims)
    assert_equivariant(CanonicalBroadcast(space, out_channels=3, hidden=16, endpoints=endpoints), space)


def test_without_the_biases_of_the_ends_equal_entries_get_equal_outputs():
    theta = networks(ws.mlp([2, 4, 4, 1]), 20)
    equal = theta.space.features({**theta, "0.weight": torch.ones_like(theta["0.weight"])})
    told, not_told = (
        CanonicalBroadcast(theta.space, hidden=16, endpoints=endpoints).double()(equal)["0.weight"]
        for endpoints in (True, False)
    )
    assert not_told.var(dim=1).max() < 1e-25
    assert told.var(dim=1).min() > 1e-10
    assert not_told.var(dim=2).min() > 1e-12  # input units are told apart


@pytest.mark.slow
def test_short_training_learns_on_canonical_forms_and_not_with_dws():
    """Optimisation, not expressivity: off the ties a DWS network can tell the two apart."""

    def trained(net, steps, noise):
        net = net.double()
        fit(net, lambda generator: loss(net, noise, 128, generator), steps)
        with torch.no_grad():
            return float(loss(net, noise, 2000, torch.Generator().manual_seed(1)))

    def loss(net, noise, batch, generator):
        theta, which = noisy_pair(batch, noise, generator)
        return (net(theta) - which).square().mean()

    space = wl_pair()[0].space
    torch.manual_seed(0)
    options = {"space": space, "task": "invariant"}
    canon = ws.build("canon-mlp", **options, hidden=64, depth=3, dropout=0.0)
    assert trained(canon, 800, noise=1.0) < 1.5e-3
    dws = ws.build("dws", **options, hidden=16, depth=4, reduction="mean", neuron_map="linear", batch_norm=False)
    assert trained(dws, 300, noise=0.1) > 0.9
