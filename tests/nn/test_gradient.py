import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import weightspace as ws
from weightspace.nn import GradientFeatures, NeuronGradients, PointNeuronLayer
from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace
from weightspace.testing import assert_equivariant
from weightspace.testing.strategies import feed_forward_spaces


def networks(space, batch=3, channels=1):
    generator = torch.Generator().manual_seed(0)
    return space.features({
        p.name: torch.randn(batch, *p.shape, channels, generator=generator, dtype=torch.float64)
        for p in space.parameters
    })  # fmt: skip


def without_biases(space):
    """The same network with a bias in its first layer alone."""
    return WeightSpace(space.groups, (*space.parameters[:2], *(p for p in space.parameters[2:] if len(p.axes) == 2)))


SPACES = [
    ws.mlp([3, 5, 4, 2]),
    ws.siren([2, 6, 1], omega=3.0),
    ws.mlp([3, 2]),
    without_biases(ws.mlp([2, 3, 4, 2], "gelu")),
]


def slow_layer(layer, xs):
    """The layer neuron by neuron and point by point."""

    def mean(vectors):
        return torch.stack(list(vectors)).mean(0)

    b, n = xs[0].shape[:2]
    outs = [torch.empty_like(x) for x in xs]
    for k in range(b):
        by_point = [[mean(x[k, p, i] for i in range(x.shape[2])) for p in range(n)] for x in xs]
        for g, (x, out) in enumerate(zip(xs, outs, strict=True)):
            overall = torch.cat([mean(by_point[g]), mean(v for points in by_point for v in points)])
            for p in range(n):
                here = torch.cat([by_point[g][p], mean(points[p] for points in by_point)])
                for i in range(x.shape[2]):
                    code = layer.code[g][i if len(layer.code[g]) > 1 else 0]
                    y = layer.entry.mT @ x[k, p, i] + layer.unit(mean(x[k, q, i] for q in range(n)))
                    y = y + layer.point(here) + layer.group(overall) + code
                    out[k, p, i] = x[k, p, i] + F.relu(layer.norm(y))
    return outs


@pytest.mark.parametrize("dims", [(2, 3, 4, 1), (3, 2), (1, 1, 1)])
@pytest.mark.parametrize("points", [1, 3])
def test_layer_agrees_with_a_slow_twin(dims, points):
    torch.manual_seed(0)
    layer = PointNeuronLayer(ws.mlp(dims), 4).double()
    xs = [torch.randn(2, points, d, 4, dtype=torch.float64) for d in dims]
    with torch.no_grad():
        for found, expected in zip(layer(xs), slow_layer(layer, xs), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_layer_commutes_with_permutations_of_points_and_of_hidden_neurons_only():
    torch.manual_seed(0)
    layer = PointNeuronLayer(ws.mlp([3, 5, 4]), 4).double()
    xs = [torch.randn(2, 6, d, 4, dtype=torch.float64) for d in (3, 5, 4)]
    outs = layer(xs)

    def error(group, axis):
        def move(tensors):
            return [t.flip(axis) if g in group else t for g, t in enumerate(tensors)]

        return max(float((a - b).detach().abs().max()) for a, b in zip(layer(move(xs)), move(outs), strict=True))

    assert error((0, 1, 2), 1) < 1e-12
    assert error((1,), 2) < 1e-12
    assert error((0,), 2) > 1e-2
    assert error((2,), 2) > 1e-2
    assert error((1,), 1) > 1e-2, "the points of one group alone"


def test_gradients_of_the_layer():
    torch.manual_seed(0)
    layer = PointNeuronLayer(ws.mlp([2, 3, 1]), 3).double()
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    xs = [torch.randn(1, 2, d, 3, dtype=torch.float64, requires_grad=True) for d in (2, 3, 1)]

    def run(*tensors):
        weights = dict(zip(names, tensors, strict=False))
        return tuple(torch.func.functional_call(layer, weights, (list(tensors[len(names) :]),)))

    assert torch.autograd.gradcheck(run, (*values, *xs))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_weight_features_are_the_gradients_of_autograd(space, channels):
    """Up to the sizes of the activations and of the signals, one factor for each network and parameter."""
    torch.manual_seed(0)
    module = NeuronGradients(space, channels, points=7, hidden=4, depth=1).double()
    theta = networks(space, channels=channels).map(lambda t: t.requires_grad_())
    y = space.realize(theta, module.points)
    targets = module.targets if channels == 1 else module.targets[..., None]
    gradients = torch.autograd.grad(((y - targets) ** 2).sum() / 2, theta.tensors)
    for found, expected in zip(module(theta).weights.tensors, gradients, strict=True):
        ratio = (found * expected).sum(tuple(range(1, found.dim() - 1)), keepdim=True)
        ratio = ratio / expected.square().sum(tuple(range(1, found.dim() - 1)), keepdim=True)
        assert (ratio > 0).all()
        torch.testing.assert_close(found, ratio * expected, rtol=1e-9, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(feed_forward_spaces(max_layers=5, max_width=20), st.integers(1, 3), st.integers(0, 99))
def test_equivariance_on_random_architectures(space, channels, seed):
    torch.manual_seed(seed)
    assert_equivariant(GradientFeatures(space, channels, 5, 4, 8, 2), space, channels=channels, seed=seed)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_equivariance(space):
    torch.manual_seed(0)
    assert_equivariant(GradientFeatures(space, 1, 6), space)


def test_the_order_of_the_points_does_not_matter():
    space = SPACES[0]
    torch.manual_seed(0)
    features = GradientFeatures(space, 1, 6).double()
    theta = networks(space)
    with torch.no_grad():
        before = features(theta).flatten()
        features.gradients.points.copy_(features.gradients.points.flip(0))
        changed = features(theta).flatten()
        features.gradients.targets.copy_(features.gradients.targets.flip(0))
        after = features(theta).flatten()
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)
    assert (changed - before).abs().max() > 1e-3


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_gradients_and_independence_within_the_batch(space):
    torch.manual_seed(0)
    features = GradientFeatures(space, 2, 6, extra=1).double()
    theta, extra = networks(space, channels=2), networks(space)
    together = features(theta, extra)
    assert [t.shape for t in together.tensors] == [(3, *p.shape, 8) for p in space.parameters]
    together.flatten().square().sum().backward()
    assert [n for n, p in features.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []
    alone = torch.cat([features(theta[i], extra[i]).flatten() for i in range(3)])
    torch.testing.assert_close(alone, together.flatten(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e2, 1e4])
def test_small_and_large_networks_are_told_apart(scale):
    """Signals span many orders of magnitude; in single precision too nothing overflows or is lost."""
    space = ws.mlp([2, 6, 6, 1], activation="relu")
    torch.manual_seed(0)
    features = GradientFeatures(space, 1, 6)
    out = features(networks(space).to(torch.float32) * scale)
    assert out.flatten().abs().max() < 1e3
    assert (out.flatten()[0] - out.flatten()[1]).abs().max() > 1e-3
    out.flatten().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in features.parameters())


def test_several_vectors_of_one_group_get_their_own_outputs():
    space = ws.mlp([2, 3, 1], activation="tanh")
    two = WeightSpace(space.groups, (*space.parameters, Parameter("shift", (Axis(3, "hidden1", "out"),))))
    torch.manual_seed(0)
    out = GradientFeatures(two, 1, 4).double()(networks(two))
    assert (out["shift"] - out["0.bias"]).abs().max() > 1e-2


def test_dropout_is_off_in_evaluation_mode():
    space = SPACES[0]
    torch.manual_seed(0)
    features = GradientFeatures(space, 1, 4, dropout=0.5).double()
    theta = networks(space)
    assert not torch.equal(features(theta).flatten(), features(theta).flatten())
    features.eval()
    assert torch.equal(features(theta).flatten(), features(theta).flatten())


def test_a_space_that_cannot_run_its_networks_is_refused():
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("output", 3, "output"))
    conv = Parameter("conv", (Axis(3, "output", "out"), Axis(2, "input", "in"), Axis(5)))
    with pytest.raises(ws.ModelError, match=r"'conv' has shape \(3, 2, 5\)"):
        GradientFeatures(WeightSpace(groups, (conv,)), 1, 8)
    with pytest.raises(ws.ModelError, match="with 1 channels, found 2"):
        GradientFeatures(SPACES[0], 1, 8)(networks(SPACES[0], channels=2))
