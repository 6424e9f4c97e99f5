import math

import pytest
import torch
from _orbits import error, networks
from _spaces import residual_space

import weightspace as ws
from weightspace.orbit import Phase, PhaseGroup
from weightspace.space import WeightSpace

CHAINS = [[2, 8, 1], [1, 6, 5, 3], [2, 16, 16, 16, 1]]


def sirens(dims, seed=0):
    """Networks whose arguments are of the order of a few periods."""
    space = ws.siren(dims)
    return networks(space, seed=seed).map(lambda t: t / 10)


def sample(group, seed=0):
    return group.sample(5, torch.Generator().manual_seed(seed), dtype=torch.float64)


def difference(theta, phi):
    """Between the functions, in [-1, 1]."""
    space = theta.space
    x = torch.rand(50, space.groups[0].size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    return float((space.realize(theta, x) - space.realize(phi, x)).abs().max())


@pytest.mark.parametrize("dims", CHAINS)
def test_the_group_preserves_the_function(dims):
    theta = sirens(dims)
    group = PhaseGroup(theta.space)
    g, h = sample(group), sample(group, 1)
    moved = group.act(g, theta)
    assert difference(moved, theta) <= 1e-12
    assert error(moved, theta) > 0.1
    assert error(group.act(group.compose(h, g), theta), group.act(h, moved)) <= 1e-14
    assert error(group.act(group.inverse(g), moved), theta) <= 1e-14


def test_all_kinds_of_elements_are_drawn():
    element = sample(PhaseGroup(ws.siren([2, 64, 1])))["hidden1"]
    assert set(element.turns.unique().tolist()) == set(range(-4, 5))
    assert set(element.sign.unique().tolist()) == {-1, 1}
    assert (element.permutation.sort(dim=1).values == torch.arange(64)).all()


@pytest.mark.parametrize(("sign", "turns", "same"), [(1, 2, True), (-1, 0, True), (1, 1, True), (1, 0.5, False)])
def test_single_elements(sign, turns, same):
    """Shifts by a period, reflections, half periods; and a quarter period, which is none."""
    theta = sirens([2, 8, 1])
    group = PhaseGroup(theta.space)
    ones = torch.ones(5, 8, dtype=torch.float64)
    moved = group.act({"hidden1": Phase(None, sign * ones, turns * ones)}, theta)
    assert (difference(moved, theta) <= 1e-12) == same
    torch.testing.assert_close(moved["0.bias"], sign * theta["0.bias"] + turns * math.pi / 30)


@pytest.mark.parametrize("dims", CHAINS)
@pytest.mark.parametrize("seed", range(3))
def test_canonical_form(dims, seed):
    theta = sirens(dims, seed)
    group = PhaseGroup(theta.space)
    form = ws.canonicalize(theta, "phase")
    assert (form.margin > 0).all()
    assert difference(form.theta, theta) <= 1e-12
    moved = group.act(sample(group, seed), theta)
    again = ws.canonicalize(moved, group)
    assert error(again.theta, form.theta) <= 1e-12
    torch.testing.assert_close(again.margin, form.margin, rtol=1e-6, atol=1e-14)
    assert error(group.act(form.element, theta), form.theta) == 0
    assert error(ws.canonicalize(form.theta, "phase").theta, form.theta) <= 1e-14
    for name in theta:
        if name.endswith("bias") and form.theta[name].shape[1] == form.element["hidden1"].sign.shape[1]:
            bias = form.theta[name].squeeze(-1)
            assert (bias >= 0).all()
            assert (bias <= math.pi / 60).all()
            assert (bias.diff(dim=1) > 0).all()


def test_the_linear_group_misses_the_shifts():
    """Negative control."""
    theta = sirens([2, 8, 1])
    group = PhaseGroup(theta.space)
    moved = group.act(sample(group), theta)
    assert error(ws.canonicalize(moved).theta, ws.canonicalize(theta).theta) > 0.1
    assert ws.same_orbit(moved, theta) == [False] * 5
    assert ws.same_orbit(moved, theta, "phase") == [True] * 5
    assert ws.same_orbit(moved, theta[[1, 2, 3, 4, 0]], "phase") == [False] * 5


@pytest.mark.parametrize("bias", [0.0, math.pi / 60])
def test_biases_that_a_reflection_leaves_where_they_are(bias):
    """All at an end of the quarter period: fresh SIRENs have zero biases."""
    theta = sirens([2, 8, 8, 1])
    theta = theta.space.features({n: torch.full_like(t, bias) if "bias" in n else t for n, t in theta.items()})
    group = PhaseGroup(theta.space)
    form = ws.canonicalize(theta, "phase")
    assert (form.margin <= 1e-15).all()
    assert difference(form.theta, theta) <= 1e-12
    for seed in range(3):
        moved = group.act(sample(group, seed), theta)
        assert error(ws.canonicalize(moved, "phase").theta, form.theta) <= 1e-12
        assert ws.same_orbit(moved, theta, "phase") == [True] * 5


def test_gradients():
    theta = sirens([2, 5, 4, 1])[0]

    def flat_form(*tensors):
        return ws.canonicalize(ws.WeightFeatures(theta.space, tensors), "phase").theta.flatten()

    assert torch.autograd.gradcheck(flat_form, tuple(t.requires_grad_() for t in theta.tensors), fast_mode=True)


def test_other_units_stay():
    """Of a stream with convolutions, only sines are moved."""
    space = residual_space("sine")
    group = PhaseGroup(space)
    assert list(group.periods) == ["stream", "hidden0", "hidden1"]
    theta = networks(space)
    assert error(group.act(group.inverse(sample(group)), group.act(sample(group), theta)), theta) <= 1e-13


NO_BIAS = WeightSpace(ws.siren([2, 4, 1]).groups, ws.siren([2, 4, 1]).parameters[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PhaseGroup(ws.mlp([2, 3, 1])), "no hidden neuron group of the space has a sine"),
        (lambda: PhaseGroup(NO_BIAS), "'hidden1': .* exactly one bias, .* biases: none; tied groups: none"),
        (
            lambda: PhaseGroup(ws.siren([2, 4, 1])).act(sample(PhaseGroup(ws.siren([2, 4, 1]))), sirens([2, 5, 1])),
            "another weight space",
        ),
        (lambda: ws.canonicalize(sirens([2, 4, 1]), PhaseGroup(ws.siren([2, 5, 1]))), "another weight space"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.SymmetryError, match=message):
        call()
