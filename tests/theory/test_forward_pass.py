"""A DWS network that runs its input network: errors, bounds, equivariance of every layer, and what is refused."""

import math

import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace.nn import EquivariantLinear, Pointwise
from weightspace.testing import assert_equivariant, assert_invariant
from weightspace.theory import ForwardPassNetwork, forward_radius
from weightspace.theory._forward_pass import At
from weightspace.theory._simulation import empty_layer, write
from weightspace.theory._squares import DeepSquare, WideSquare

SHAPES = [[2, 1], [3, 2], [2, 1, 1], [2, 5, 3], [1, 1, 3, 1, 2], [2, 4, 4, 1], [3, 2, 3, 4, 2]]


def networks(dims, batch=6, bound=1.0, seed=0):
    space, generator = ws.mlp(dims), torch.Generator().manual_seed(seed)
    uniform = {
        p.name: torch.rand(batch, *p.shape, 1, generator=generator, dtype=torch.float64) for p in space.parameters
    }
    return space.features({name: bound * (2 * t - 1) for name, t in uniform.items()})


def points(inputs, n=7, seed=1):
    return 2 * torch.rand(n, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def error(net, theta, x):
    return float((net(theta) - theta.space.realize(theta, x)).abs().max())


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_with_squares_as_activation_it_is_exact(dims):
    theta, x = networks(dims), points(dims[0])
    assert error(ForwardPassNetwork(theta.space, x), theta, x) < 1e-14


def test_ties_and_clones_are_no_trouble():
    theta, x = networks([2, 4, 4, 1]), points(2)
    clones = theta.map(lambda t: t[:, :1].expand_as(t) if t.shape[1] == 4 else t)
    assert ws.canonicalize(clones, "permutation").margin.max() == 0
    assert error(ForwardPassNetwork(theta.space, x), clones, x) < 1e-14
    zero = theta * 0.0
    assert error(ForwardPassNetwork(theta.space, x, knots=8, radius=1.0), zero, x) == 0


@pytest.mark.parametrize("square", [{}, {"knots": 9, "radius": 3.0}, {"depth": 4, "radius": 3.0}], ids=str)
@pytest.mark.parametrize("dims", [[2, 5, 3], [1, 1, 3, 1, 2], [2, 4, 4, 1]], ids=str)
def test_every_layer_is_equivariant_and_the_outputs_are_invariant(dims, square):
    space = ws.mlp(dims)
    net = ForwardPassNetwork(space, points(dims[0]), **square)
    assert {type(layer) for layer in net.layers} == {EquivariantLinear, At}
    for layer in net.layers:
        channels = layer.in_channels if isinstance(layer, EquivariantLinear) else 3
        assert_equivariant(layer, space, channels=channels)
    assert_invariant(net, space)


def test_a_pointwise_square_is_a_stack_of_equivariant_layers():
    """Of one parameter: one ReLU unit for each knot; the others go by as relu(x) - relu(-x)."""
    space, square = ws.mlp([2, 3, 4, 2]), WideSquare(2.0, 5)
    into, out = empty_layer(space, 1, 4), empty_layer(space, 4, 1)
    for p in space.parameters:
        if p.name == "2.weight":
            write(into, p.name, p.name, p.groups, torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
            write(out, p.name, p.name, p.groups, square.slopes.repeat(2)[None])
            with torch.no_grad():
                into.biases(p.name).copy_(-square.points.repeat(2))
                out.biases(p.name).fill_(square.least)
        else:
            write(into, p.name, p.name, p.groups, torch.tensor([[1.0], [-1.0]]))
            write(out, p.name, p.name, p.groups, torch.tensor([[1.0, -1.0]]))
    theta = networks([2, 3, 4, 2])
    literal = nn.Sequential(into, Pointwise(torch.relu), out)(theta)
    torch.testing.assert_close(literal.flatten(), At("2.weight", square)(theta).flatten(), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("dims", "bound"), [([2, 5, 3], 1.5), ([2, 4, 4, 1], 1.0), ([3, 2, 3, 4, 2], 0.7)], ids=str)
@pytest.mark.parametrize("square", [{"knots": 6}, {"knots": 41}, {"depth": 3}, {"depth": 6}], ids=str)
def test_the_error_stays_within_its_bound(dims, bound, square):
    theta, x = networks(dims, batch=300, bound=bound), points(dims[0], 30)
    radius = forward_radius(theta, x) + 0.2
    net = ForwardPassNetwork(theta.space, x, radius=radius, **square)
    found = error(net, theta, x)
    assert net.error_bound(bound) / 200 < found <= net.error_bound(bound)


@pytest.mark.parametrize("square", [{"knots": n} for n in (2, 3, 8, 64)] + [{"depth": 2}], ids=str)
@pytest.mark.parametrize("width", [1, 7, 16, 30])
def test_the_bound_holds_where_simulated_activations_leave_the_interval(width, square):
    """Largest weights, which are equal or have random signs, in front of layers of one unit: errors of many add up."""
    generator = torch.Generator().manual_seed(width)
    x = torch.ones(1, 1, dtype=torch.float64)
    for dims in ([1, width, 1, 1, 1], [1, width, 1, width, 1], [1, 1, width, width, 1]):
        theta = networks(dims, batch=6, seed=width)
        ones = theta.map(lambda t: torch.ones_like(t) if t.dim() == 4 else torch.zeros_like(t))
        for drawn in (ones, theta.map(torch.sign), theta.map(lambda t: (t + 0.5).sign()), theta.map(torch.abs)):
            scaled = drawn.map(lambda t: t * torch.rand(len(t), *[1] * (t.dim() - 1), generator=generator).double())
            for phi in (drawn, scaled):
                net = ForwardPassNetwork(theta.space, x, radius=forward_radius(phi, x), **square)
                assert error(net, phi, x) <= net.error_bound(1.0 if phi is drawn else 0.999) * (1 + 1e-9) + 1e-12


def test_products_beyond_the_interval():
    """The square that a product is made of is even and convex, and no product is off by more than |w e| + R²/(4 n²)."""
    radius = 2.0
    for n in (1, 2, 3, 6, 8):
        square = WideSquare(radius, n)
        w = torch.linspace(-radius, radius, 41, dtype=torch.float64)[:, None, None]
        h = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None] * (radius - w.abs())
        e = torch.linspace(-5, 30, 701, dtype=torch.float64)
        product = (square(w + h + e) - square(w - h - e)) / 4
        assert ((product - w * h).abs() <= radius**2 / (4 * n**2) + (w * e).abs() + 1e-12).all()
        torch.testing.assert_close(square(e), square(-e), rtol=0, atol=0)
        assert square(torch.linspace(-6, 6, 1201, dtype=torch.float64)).diff(n=2).min() > -1e-12


def test_weights_that_the_radius_does_not_allow_have_no_bound():
    net = ForwardPassNetwork(ws.mlp([2, 4, 1]), points(2), knots=8, radius=3.0)
    assert net.error_bound(0) > 0
    for bound in (-1.0, math.nan, math.inf, "1"):
        with pytest.raises(ws.TheoryError, match="weight_bound: expected a positive number or zero"):
            net.error_bound(bound)
    with pytest.raises(ws.TheoryError, match="activations of at most 3 together, found 5 for the weights"):
        net.error_bound(5)


def test_the_bound_is_sharp_for_one_product():
    """At h + w in the middle of a piece and h - w at a knot, with one hidden neuron."""
    space, n, radius = ws.mlp([1, 1, 1]), 8, 2.0
    step, knot = 2 * radius / n, -radius + torch.arange(n + 1, dtype=torch.float64) * 2 * radius / n
    plus = knot[4:-1, None] + step / 2
    h, w = (plus + knot[3:7]) / 2, (plus - knot[3:7]) / 2
    tensors = {
        "0.weight": torch.zeros(h.numel(), 1, 1, 1),
        "0.bias": h.reshape(-1, 1, 1),
        "2.bias": torch.zeros(h.numel(), 1, 1),
    }
    tensors = {name: t.double() for name, t in tensors.items()}
    theta = space.features({**tensors, "2.weight": w.reshape(-1, 1, 1, 1)})
    theta = theta[(h.flatten() >= 0).nonzero().squeeze(1)]
    x = torch.zeros(1, 1, dtype=torch.float64)
    net = ForwardPassNetwork(space, x, knots=n, radius=radius)
    assert error(net, theta, x) == pytest.approx(net.error_bound(1.0), rel=1e-9)
    assert net.error_bound(1.0) == radius**2 / (4 * n**2)


def test_a_radius_that_is_too_small_breaks_it():
    theta, x = networks([2, 4, 4, 1], bound=2.0), points(2)
    net = ForwardPassNetwork(theta.space, x, knots=64, radius=forward_radius(theta, x) / 3)
    assert error(net, theta, x) > 2 * net.error_bound(2.0)


@pytest.mark.parametrize(("radius", "knots"), [(1.0, 4), (3.0, 11), (0.5, 64)])
def test_wide_squares(radius, knots):
    x = torch.linspace(-radius, radius, 10001, dtype=torch.float64)
    excess = WideSquare(radius, knots)(x) - x.square()
    assert excess.min() > -1e-13
    assert excess.max() == pytest.approx(radius**2 / knots**2, rel=1e-2)


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_a_deep_square_is_a_wide_one_of_exponentially_many_knots(depth):
    x = torch.linspace(-7, 7, 5001, dtype=torch.float64)
    deep, wide = DeepSquare(2.0, depth), WideSquare(2.0, 2 ** (depth + 1))
    assert deep.pieces == wide.pieces
    torch.testing.assert_close(deep(x), wide(x), rtol=0, atol=1e-12)


def test_gradients_and_single_precision():
    theta, x = networks([2, 4, 1]), points(2)
    weights = [t.clone().requires_grad_() for t in theta.tensors]
    leaf = ws.space.WeightFeatures(theta.space, tuple(weights))
    net = ForwardPassNetwork(theta.space, x)
    found = torch.autograd.grad(net(leaf).square().sum(), weights)
    expected = torch.autograd.grad(theta.space.realize(leaf, x).square().sum(), weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    single = ForwardPassNetwork(theta.space, x, depth=6, radius=4.0).float()(theta.to(torch.float32))
    assert single.dtype == torch.float32


def test_what_is_refused():
    space, x = ws.mlp([2, 4, 1]), points(2)
    with pytest.raises(ws.TheoryError, match="activation relu, found 2-4-1 with activation tanh"):
        ForwardPassNetwork(ws.mlp([2, 4, 1], activation="tanh"), x)
    with pytest.raises(ws.TheoryError, match=r"probes: expected points of shape \[points, 2\], found \(7, 3\)"):
        ForwardPassNetwork(space, points(3))
    with pytest.raises(ws.TheoryError, match="found knots=4 and depth=2"):
        ForwardPassNetwork(space, x, knots=4, depth=2, radius=1.0)
    with pytest.raises(ws.TheoryError, match="knots: expected a whole number, at least 1, found 0"):
        ForwardPassNetwork(space, x, knots=0, radius=1.0)
    with pytest.raises(ws.TheoryError, match="need a radius, found none; forward_radius"):
        ForwardPassNetwork(space, x, depth=3)
    for options, text in (
        ({"knots": 1.5, "radius": 1.0}, "knots: expected a whole number, at least 1, found 1.5"),
        ({"depth": 0, "radius": 1.0}, "depth: expected a whole number, at least 1, found 0"),
        ({"depth": 2, "radius": "1"}, "radius: expected a positive number, found '1'"),
        ({"depth": 2, "radius": math.nan}, "radius: expected a positive number, found nan"),
    ):
        with pytest.raises(ws.TheoryError, match=text):
            ForwardPassNetwork(space, x, **options)
    with pytest.raises(
        ws.TheoryError, match=r"the forward pass: 2\.weight: expected finite numbers, found 1 that are not"
    ):
        forward_radius(networks([2, 1, 1], 1).map(lambda t: t / 0 if t.shape[1:] == (1, 1, 1) else t), x)
    with pytest.raises(ws.ModelError, match=r"torch.float64 on cpu, the weight features are torch.float32"):
        ForwardPassNetwork(space, x)(networks([2, 4, 1]).to(torch.float32))
    with pytest.raises(ws.TheoryError, match=r"forward pass: expected networks of weightspace\.mlp"):
        forward_radius(ws.siren([2, 4, 1]).sample(1), x)
    with pytest.raises(ws.ModelError, match="1 channels, found 2"):
        ForwardPassNetwork(space, x)(networks([2, 4, 1]).map(lambda t: t.expand(*t.shape[:-1], 2)))
