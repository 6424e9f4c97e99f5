"""Networks on weights can run the network that they are given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...space import WeightFeatures, WeightSpace, mlp
from ...testing import equivariance_error
from .._forward_pass import ForwardPassNetwork, forward_radius
from .._outputs import output_gap
from .._pairs import wl_pair
from .._statement import Evidence, Measurement, statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "forward-pass"
KNOTS = {8: 0.279, 16: 0.0744, 32: 0.0176, 64: 0.00432, 128: 0.00101, 256: 0.00025}
DEPTHS = range(2, 11)


@statement(
    NAME,
    title="Networks on weights can run the network that they are given",
    source="arXiv 2602.01083, theorem 6.1; the error bound sharpened here",
    claim="""
    Every continuous functional of the function that a ReLU network computes can be approximated by an invariant DWS
    network, uniformly on each compact set of weights. No general position is needed: neurons may have equal biases, or
    be clones of each other.

    So two networks that no DWS network tells apart compute the same function. The converse is false: the neurons of a
    ReLU network can be rescaled, which no permutation does and which the function does not show. DWS networks with
    random weights see it; the one that runs its input does not.
    """,
    construction="""
    A DWS network is written down whose outputs are the values of its input network at given points; an MLP of these
    values is the rest. Every channel is a point. A linear equivariant layer makes what enters the first hidden layer:
    the points are its coefficients. For each further layer, the activations h stand at the biases; they are broadcast
    to the columns of the weight matrix W, the squares of W + h and W - h are taken, a quarter of their difference is
    the product W h, and its sum over the columns goes to the next bias.

    ReLU is applied exactly, sums are exact, only the squares are not: a ReLU network interpolates them. With n pieces
    on [-R, R] a product is off by at most R squared / (4 n squared), and a layer with d inputs by at most d times that
    plus d times the largest weight times the error before. Here R bounds weights and activations of the input network;
    what is simulated may leave the interval, beyond which the squares go on with their last slope on both sides. So the
    error falls with the square of n. A deep square has
    2 to the power of m + 1 pieces with about 3 m units, and its error falls by a factor of 4 with each layer. With
    squares as activation function nothing is approximate.
    """,
)
def forward_pass() -> Evidence:
    """Errors on 200 random networks at 64 points, against knots and depth."""
    space, generator = mlp([2, 4, 4, 1]), torch.Generator().manual_seed(6)
    theta = _networks(space, 200, generator)
    points = 2 * torch.rand(64, 2, generator=generator, dtype=torch.float64) - 1
    radius, true = forward_radius(theta, points), space.realize(theta, points)

    def error(net: ForwardPassNetwork) -> float:
        return float((net(theta) - true).abs().max())

    wide = {n: ForwardPassNetwork(space, points, knots=n, radius=radius) for n in KNOTS}
    deep = {m: ForwardPassNetwork(space, points, depth=m, radius=radius) for m in DEPTHS}
    by_knots, by_depth = ({size: error(net) for size, net in nets.items()} for nets in (wide, deep))
    bounds, deep_bounds = ({size: net.error_bound(1.0) for size, net in nets.items()} for nets in (wide, deep))
    slope = math.log(by_knots[256] / by_knots[8]) / math.log(256 / 8)
    exact = ForwardPassNetwork(space, points)
    measured = [Measurement.at_most("error with the activation x²", error(exact), 1e-13)]
    measured += [Measurement.about(f"error with {n} knots", by_knots[n], KNOTS[n], 1.5) for n in KNOTS]
    measured += [
        Measurement.within("slope of the error against knots", slope, -2.2, -1.8),
        Measurement.about("bound on the error with 64 knots", bounds[64], 0.022, 1.5),
        Measurement.at_most("error / bound, largest over knots", max(by_knots[n] / bounds[n] for n in KNOTS), 1.0),
        Measurement.about("error with a square of depth 10", by_depth[10], 3.9e-6, 1.5),
        Measurement.within("factor per layer of depth", (by_depth[2] / by_depth[10]) ** (1 / 8), 3.6, 4.4),
        Measurement.at_most("depth 5 minus 64 knots", float((deep[5](theta) - wide[64](theta)).abs().max()), 1e-12),
        Measurement.at_most("error of invariance, 64 knots", equivariance_error(wide[64], space), 1e-12),
        Measurement.at_most("error / bound where simulated activations leave [-R, R], largest", _beyond(), 1.0),
        *_pair(points[:, :1]),
        *_rescaled(theta, points),
    ]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.loglog(list(KNOTS), list(by_knots.values()), "C0o-", label=f"measured, slope {slope:.2f}")
        left.loglog(list(KNOTS), list(bounds.values()), "C1--", label="bound")
        left.set(title="Squares of one layer", xlabel="knots n", ylabel="largest error of the outputs")
        right.semilogy(list(DEPTHS), list(by_depth.values()), "C0o-", label="measured")
        right.semilogy(list(DEPTHS), list(deep_bounds.values()), "C1--", label="bound")
        right.set(title="Deep squares", xlabel="depth m", ylabel="largest error of the outputs")
        for axes in (left, right):
            axes.legend()

    return Evidence(tuple(measured), draw)


def _networks(space: WeightSpace, batch: int, generator: torch.Generator) -> WeightFeatures:
    """Random networks with weights in [-1, 1]."""
    shapes = [(batch, *p.shape, 1) for p in space.parameters]
    drawn = (torch.randn(shape, generator=generator, dtype=torch.float64) / 2 for shape in shapes)
    return WeightFeatures(space, tuple(t.clamp(-1, 1) for t in drawn))


def _beyond() -> float:
    """Weights of 1 and wide layers in front of single units: the error of a layer is far larger than what is simulated.

    Relative to the bound, the largest of all errors for 1 to 64 knots.
    """
    point, found = torch.ones(1, 1, dtype=torch.float64), 0.0
    for width in (1, 4, 16, 26, 30):
        space = mlp([1, width, 1, 1, 1])
        ones = {p.name: torch.full((1, *p.shape, 1), float(len(p.shape) == 2)) for p in space.parameters}
        theta = space.features(ones).to(torch.float64)
        for knots in (1, 2, 3, 8, 27, 64):
            net = ForwardPassNetwork(space, point, knots=knots, radius=forward_radius(theta, point))
            error = float((net(theta) - space.realize(theta, point)).abs().max())
            found = max(found, error / net.error_bound(1.0))
    return found


def _pair(points: torch.Tensor) -> list[Measurement]:
    """Two networks that no DWS network tells apart: this one does not, so they compute the same."""
    first, second = wl_pair()
    net = ForwardPassNetwork(first.space, points, knots=64, radius=forward_radius(first, points))
    values = (first.space.realize(theta, points) for theta in (first, second))
    name = "two networks that DWS takes for the same: difference of "
    return [
        Measurement.at_most(name + "simulated values", float((net(first) - net(second)).abs().max()), 1e-13),
        Measurement.at_most(name + "values", float(torch.sub(*values).abs().max()), 1e-13),
    ]


def _rescaled(theta: WeightFeatures, points: torch.Tensor) -> list[Measurement]:
    """Rescaled neurons: the mean square of the function stays, what a DWS network with random weights sees does not."""
    space, scale = theta.space, torch.tensor([0.25, 0.6, 1.7, 3.0], dtype=torch.float64)
    rows = {name: theta[name] * scale.view(-1, *[1] * (theta[name].dim() - 2)) for name in ("0.weight", "0.bias")}
    phi = space.features({**theta, **rows, "2.weight": theta["2.weight"] / scale[:, None]})
    radius = max(forward_radius(t, points) for t in (theta, phi))
    net = ForwardPassNetwork(space, points, knots=256, radius=radius)
    power = torch.sub(*(net(t).square().mean((1, 2)) for t in (theta, phi))).abs().max()
    seen = output_gap("dws", theta, phi, networks=1, hidden=8, depth=3, reduction="mean")
    return [
        Measurement.at_most("rescaled neurons: change of the simulated power", float(power), 5e-3),
        Measurement.at_least("rescaled neurons: change of a DWS network, relative", seen, 1e-2),
    ]
