"""Some operators need more affine pieces than a network of one architecture has; k networks have k times as many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...nn import merge_ensemble
from ...space import WeightFeatures, WeightSpace, mlp
from .._explicit import sawtooth
from .._pieces import linear_pieces
from .._regions import count_regions, max_pieces
from .._statement import Evidence, Measurement, statement
from .._zoom import TiledZoom, capacity_lower_bound
from ._teeth import FOLDS, PREDICTED, WIDTH, X, descent, equal_teeth, error, shrinking, teeth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "capacity"

_DESCENT = (0.24, 0.25, 0.25, 0.25, 0.12, 0.13, 0.12)  # for k = 1, 2, ..., on the places and heights of knots


@statement(
    NAME,
    title="An operator can ask for more pieces than the networks have, and k networks have k times as many",
    source="arXiv 2602.01083, proposition 7.1, made precise and sharpened here",
    claim="""
    A ReLU network with one input is affine between breakpoints, and one with hidden layers of n_1, n_2, ... units has
    at most (n_1 + 1)(n_2 + 1)... pieces; so has every ReLU network along a line. An operator on functions that
    multiplies the number of pieces can therefore not be carried out within the same architecture, however the new
    weights are found.

    Such an operator is the tiled zoom, f to f(T(x)), where T runs from 0 to 1 and back c times. It moves no two
    functions further apart than they are. The zoom f(cx) is none: multiplying the first weights by c does it exactly.

    The price can be computed. If a function goes up and down q + 1 times, each time by at least 2e, then everything
    with q pieces is wrong by at least e somewhere. The mean of k networks 1-n-1 has k n + 1 pieces. For teeth of equal
    height the error stays at one half until all teeth fit, and is then 0; for teeth that shrink it falls step by step.
    """,
    construction="""
    Breakpoints are computed, not sampled: layer after layer the zeros of all units are collected on the line. Functions
    with given pieces are written down as ensembles of networks 1-3-1, whose mean is what output capacity expansion
    computes, and compared with the lower bound. Gradient descent on the weights of the same ensembles stays
    above the bound too.

    With two inputs the pieces are the regions into which lines cut the plane; they are counted by adding one line after
    the other, and grow like the square of k.
    """,
)
def capacity() -> Evidence:
    """Pieces of random and explicit networks, their bounds, and errors against the number of networks."""
    networks = tuple(range(1, 9))
    lower = [capacity_lower_bound(teeth()[1][0], max_pieces([1, WIDTH, 1], k)) for k in networks]
    explicit = [error(shrinking(k)) for k in networks]
    trained = descent(networks)
    measured = [*_zooms(), *_random_networks(), *_regions(), *equal_teeth()]
    for k, bound, reached, (low, high) in zip(networks, lower, explicit, PREDICTED, strict=True):
        if k < networks[-1]:
            measured.append(Measurement.about(f"shrinking teeth, k = {k}: lower bound", bound, low, 1.000001))
            measured.append(Measurement.about(f"shrinking teeth, k = {k}: explicit error", reached, high, 1.000001))
        else:
            measured.append(Measurement.equal(f"shrinking teeth, k = {k}: lower bound", bound, 0.0))
            measured.append(Measurement.at_most(f"shrinking teeth, k = {k}: explicit error", reached, 1e-12))
    for k, reached, bound, seen in zip(networks[:-1], trained, lower, _DESCENT, strict=False):
        measured.append(Measurement.within(f"shrinking teeth, k = {k}: gradient descent", reached, bound, 2 * seen))
    excess = min(reached - bound for reached, bound in zip(trained, lower, strict=True))
    measured.append(Measurement.at_least("gradient descent: smallest excess over the lower bound", excess, 0.0))

    example, counts = _example(), {inputs: _counts(inputs) for inputs in (1, 2)}

    def draw(figure: Figure) -> None:
        bends, pieces, errors = figure.subplots(1, 3)
        _draw_example(bends, *example)
        _draw_counts(pieces, counts)
        errors.plot(networks, explicit, "C0o-", label="explicit networks")
        errors.plot(networks, trained, "C2^:", label="gradient descent")
        errors.plot(networks, lower, "C1s--", label="lower bound")
        errors.set(title="Shrinking teeth", xlabel="networks k", ylabel="largest error")
        errors.legend()

    return Evidence(tuple(measured), draw)


def _random(space: WeightSpace, batch: int, channels: int = 1, seed: int = 0) -> WeightFeatures:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, *p.shape, channels) for p in space.parameters]
    tensors = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return WeightFeatures(space, tensors)


def _zooms() -> list[Measurement]:
    """The zoom f(cx) needs no new pieces, and the tiled zoom moves functions no further apart."""
    space = mlp([1, 6, 5, 1])
    theta, c = _random(space, 20), 3.0
    zoomed = WeightFeatures(space, (c * theta.tensors[0], *theta.tensors[1:]))
    error = (space.realize(zoomed, X) - space.realize(theta, c * X)).abs().max()
    values = space.realize(theta, X[::FOLDS])[..., 0]  # to these the folds take the others
    tiled = TiledZoom(FOLDS)(lambda x: space.realize(theta, x)[..., 0])(X)
    change = (torch.cdist(tiled, tiled, p=torch.inf) - torch.cdist(values, values, p=torch.inf)).abs().max()
    return [
        Measurement.at_most("literal zoom by 3: error of multiplying the first weights", float(error), 1e-12),
        Measurement.at_most("tiled zoom: change of distances of functions", float(change), 1e-12),
    ]


def _random_networks() -> list[Measurement]:
    measured = []
    for hidden, seen in (((4,), 5), ((8,), 9), ((3, 3), 12), ((4, 4), 13), ((3, 3, 3), 15)):
        space = mlp([1, *hidden, 1])
        most, bound = linear_pieces(_random(space, 300), -50.0, 50.0).pieces.max(), max_pieces(space)
        name = f"most pieces of 300 random networks {space.summary()}"
        low = seen if seen == bound else seen / 1.3
        measured.append(Measurement.within(name, float(most), round(low), bound))
    for depth in range(1, 7):
        found = int(linear_pieces(sawtooth(depth)).pieces)
        measured.append(Measurement.equal(f"pieces of the sawtooth with {depth} layers of 2 units", found, 2**depth))
    theta = _random(mlp([3, 4, 4, 1]), 300)
    most = linear_pieces(theta, torch.full((3,), -50.0), torch.full((3,), 50.0)).pieces.max()
    measured.append(Measurement.within("most pieces of networks 3-4-4-1 along a line", float(most), 2, 25))
    for k in (1, 2, 4, 8):
        space, theta = merge_ensemble(mlp([1, 5, 1]), _random(mlp([1, 5, 1]), 20, k))
        most = linear_pieces(theta, -100.0, 100.0).pieces.max() - 1
        measured.append(Measurement.equal(f"most breakpoints of the mean of {k} networks 1-5-1", float(most), 5 * k))
    return measured


def _regions() -> list[Measurement]:
    """Regions of ensembles of random networks d-8-1, counted."""
    return [
        Measurement.equal(f"regions of {k} random networks {inputs}-8-1", found, bound)
        for inputs, networks in ((1, (1, 2, 4, 8)), (2, (1, 2, 4, 8)), (3, (1, 2)))
        for k, (found, bound) in _counts(inputs, networks).items()
    ]


_DRAWN = mlp([1, 4, 4, 1])


def _example() -> tuple[Tensor, Tensor]:
    """Of random networks the one that bends most often: the ends of its pieces, and its values there."""
    theta = _random(_DRAWN, 300)
    found = linear_pieces(theta, -3.0, 3.0)
    best = int(found.pieces.argmax())
    x = torch.cat([torch.tensor([-3.0, 3.0], dtype=torch.float64), found.breakpoints[best]]).sort().values
    return x, _DRAWN.realize(theta, x[:, None])[best, :, 0]


def _draw_example(axes: Axes, x: Tensor, y: Tensor) -> None:
    axes.plot(x, y, "C0")
    axes.plot(x[1:-1], y[1:-1], "C1o")
    title = f"A random {_DRAWN.summary()} network:\n{len(x) - 1} pieces of at most {max_pieces(_DRAWN)}"
    axes.set(title=title, xlabel="x", ylabel="f(x)")


def _counts(inputs: int, networks: Sequence[int] = (1, 2, 4, 8)) -> dict[int, tuple[int, int]]:
    """For some k the regions of k random networks with 8 hidden units, and their bound."""
    space = mlp([inputs, 8, 1])
    return {
        k: (int(count_regions(merge_ensemble(space, _random(space, 1, k))[1])), max_pieces(space, k)) for k in networks
    }


def _draw_counts(axes: Axes, counts: dict[int, dict[int, tuple[int, int]]]) -> None:
    for inputs, colour in ((1, "C0"), (2, "C1")):
        networks = list(counts[inputs])
        found, bound = zip(*counts[inputs].values(), strict=True)
        axes.plot(networks, found, f"{colour}o", label=f"{inputs} input{'s'[: inputs - 1]}, counted")
        axes.plot(networks, bound, f"{colour}--", label="bound")
    axes.set(title="Pieces of the mean of k networks\nwith 8 hidden units", xlabel="networks k", ylabel="pieces")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.legend()
