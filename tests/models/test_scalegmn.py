"""ScaleGMN respects signs and positive scales, and needs what it is made of for that."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import TRIVIAL, MonomialGroup
from weightspace.space import Activation, SymmetryGroup, WeightSpace
from weightspace.testing.strategies import feed_forward_spaces

TASKS = ("equivariant", "invariant")
SMALL = {"hidden": 8, "depth": 3}


def mixed(dims, activations):
    """A multilayer perceptron with an activation of its own for every hidden layer."""
    space = ws.mlp(dims)
    names = ["identity", *activations, "identity"]
    pairs = zip(space.groups, names, strict=True)
    groups = tuple(dataclasses.replace(group, activation=Activation(name)) for group, name in pairs)
    return WeightSpace(groups, space.parameters)


SPACES = {
    "one layer": ws.mlp([3, 2]),
    "relu": ws.mlp([3, 5, 7, 4, 6, 2]),
    "relu, two layers": ws.mlp([1, 4, 3]),
    "tanh": ws.mlp([3, 5, 7, 2], activation="tanh"),
    "siren": ws.siren([2, 8, 8, 3]),
    "gelu": ws.mlp([2, 5, 6, 2], activation="gelu"),
    "relu to tanh to gelu": mixed([2, 5, 6, 4, 3, 2], ("relu", "tanh", "gelu", "relu")),
    "tanh to relu to gelu": mixed([2, 5, 6, 4, 2], ("tanh", "relu", "gelu")),
}


def make(name, task, space, seed=0, **options):
    torch.manual_seed(seed)
    return ws.build(name, space, task, **SMALL | options)


def error(net, space, group, seed=0, scale_range=1e3):
    """Of g^-1 F(g theta) against F(theta), relative to each parameter's largest entry; or of F against its spread."""
    net = net.double().eval()
    generator = torch.Generator().manual_seed(seed)
    tensors = {p.name: torch.randn(4, *p.shape, 1, generator=generator, dtype=torch.float64) for p in space.parameters}
    theta = space.features(tensors)
    element = group.sample(4, generator, dtype=torch.float64, scale_range=scale_range)
    with torch.no_grad():
        expected, found = net(theta), net(group.act(element, theta))
    if net.task == "invariant":
        return float((found - expected).abs().max() / (expected.amax(0) - expected.amin(0)).max())
    found = group.act(group.inverse(element), found)
    return max(float((f - e).abs().max() / e.abs().max()) for e, f in zip(expected.tensors, found.tensors, strict=True))


@pytest.mark.parametrize("signs", ["absolute", "symmetrized"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["scalegmn", "scalegmn-b"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_respects_the_largest_group(name, task, space, signs):
    net = make(name, task, space, signs=signs)
    assert net.symmetry == space.symmetry()
    assert error(net, space, net.symmetry) < 1e-9


@settings(max_examples=15, deadline=None)
@given(
    feed_forward_spaces(min_layers=1, max_layers=5, max_width=12),
    st.sampled_from(["scalegmn", "scalegmn-b"]),
    st.sampled_from(TASKS),
    st.integers(0, 99),
)
def test_respects_the_largest_group_on_random_architectures(space, name, task, seed):
    net = make(name, task, space, seed)
    assert net.symmetry == space.symmetry().restricted(linear=False)
    assert error(net, space, net.symmetry, seed) < 1e-9


def only(space, scales):
    """Signs or positive scales of all hidden neurons, whether the activations allow them or not."""
    group = MonomialGroup(scales, permutes=False, scales=scales)
    return SymmetryGroup(space, tuple(group if g.kind == "hidden" else TRIVIAL for g in space.groups))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["scalegmn", "scalegmn-b"])
@pytest.mark.parametrize(("space", "scales"), [("relu", "signs"), ("tanh", "positive"), ("gelu", "signs")])
def test_does_not_respect_what_would_change_the_network(name, task, space, scales):
    assert error(make(name, task, SPACES[space]), SPACES[space], only(SPACES[space], scales), scale_range=10) > 1e-3


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("space", ["relu", "tanh"])
def test_gmn_does_not_respect_scales(task, space):
    assert error(make("gmn", task, SPACES[space]), SPACES[space], SPACES[space].symmetry()) > 1e-2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("space", ["relu", "relu to tanh to gelu"])
def test_published_backward_edges_do_not_respect_positive_scales(task, space):
    """The published code uses the weights where their reciprocals belong."""
    space = SPACES[space]
    correct, published = make("scalegmn-b", task, space), make("scalegmn-b", task, space, published=True)
    assert error(correct, space, only(space, "positive") if space == SPACES["relu"] else space.symmetry()) < 1e-9
    assert error(published, space, space.symmetry()) > 1e-2
    assert {factor.scales for factor in published.symmetry.factors} == {"none"}
    assert error(published, space, published.symmetry) < 1e-9


@pytest.mark.parametrize("task", TASKS)
def test_published_backward_edges_respect_signs(task):
    net = make("scalegmn-b", task, SPACES["siren"], published=True)
    assert net.symmetry == SPACES["siren"].symmetry()
    assert error(net, SPACES["siren"], net.symmetry) < 1e-9


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["scalegmn", "scalegmn-b"])
def test_gradients_with_zero_biases_and_zero_weights_are_finite(name, task):
    """In float32, as ReLU networks without biases, or with pruned weights, have them; also with dead neurons."""
    space = ws.mlp([2, 8, 8, 1])
    theta = space.sample(4)
    tensors = {n: t * 0.0 if n.endswith("bias") else t.where(t.abs() > 0.1, 0.0) for n, t in theta.items()}
    tensors["0.weight"][0, 0], tensors["2.weight"][1, :, 0] = 0.0, 0.0
    net = make(name, task, space, dropout=0.0)
    out = net(space.features(tensors))
    out = out.flatten() if task == "equivariant" else out
    out.square().mean().backward()
    assert out.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
