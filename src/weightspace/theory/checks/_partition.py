"""Operators on functions from partitions of unity, with wider networks or with many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...models import build
from ...nn import OutputCapacityExpansion, merge_ensemble
from ...orbit import canonicalize
from ...space import WeightFeatures, WeightSpace, mlp
from .._explicit import ramps
from .._partition import PartitionOfUnity
from .._statement import Evidence, Measurement, statement
from .._zoom import TiledZoom

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "partition"

_ZOOM = TiledZoom(4)
_PROBES = torch.linspace(0, 1, 65, dtype=torch.float64)[:, None]
_X = torch.linspace(0, 1, 513, dtype=torch.float64)[:, None]
_FOUND = {3: (0.330, 0.314), 5: (0.166, 0.158), 9: (0.102, 0.077), 17: (0.051, 0.049)}  # radius and error, on a sample


@statement(
    NAME,
    title="Weighted networks carry out every continuous operator on functions, also at ties if there are many",
    source="arXiv 2602.01083, theorem 7.2; that ensembles need no general position is sharpened here",
    claim="""
    A continuous operator on the functions of a compact set of networks is approximated from finitely many of its
    values: cover the functions by balls, take a network for the value at each centre, and weigh these networks by how
    deep the function lies in each ball. The error is at most the radius, for an operator that moves functions no
    further apart. The weighted sum is one wider network whose hidden layers are constant; only its last layer depends
    on the input. For functions of two parameters the radius falls like one over the square root of the number of balls.

    The same sum is the mean of k networks of the input's own architecture, as output capacity expansion predicts them.
    Each of these may consist of equal units, which no permutation changes, so the map is equivariant on all networks,
    ties of biases or not.

    With one predicted network this fails, whatever its width. From the network whose weights are all 0, or any other
    whose units are all equal, an equivariant map can only make networks of equal units; these go up only, or down only,
    and miss a tent by a half. Away from ties the sorted order of neurons can be used: put a wanted network into the
    order of the input. That is equivariant, its weights jump where two biases change places, and its function does not.
    """,
    construction="""
    The functions are s relu(x - t), from networks 1-3-1 whose hidden biases are all tied, and the operator is the tiled
    zoom by 4 (see the statement on capacity), whose values are written down as networks. How deep a function lies in
    the balls is read off its values at 65 probes. The sum, the wide network and the mean of the ensembles are computed
    each in its own way and compared; radius and error are taken over a grid of 65 x 65 functions.

    For the failure, random DWS networks are applied to the zero network.
    """,
)
def partition() -> Evidence:
    """Errors and radii against the number of balls, equality of the three forms, and what one network cannot do."""
    sizes = tuple(_FOUND)
    unities = {m: _unity(m) for m in sizes}
    curve = [(unity.radius, _largest_error(unity)) for unity in unities.values()]
    measured = []
    for m, (radius, error) in zip(sizes, curve, strict=True):
        name = f"{m * m} centres"
        measured.append(Measurement.about(f"{name}: radius", radius, _FOUND[m][0], 1.5))
        measured.append(Measurement.about(f"{name}: error", error, _FOUND[m][1], 1.5))
        measured.append(Measurement.at_most(f"{name}: error, at most the radius", error, radius))
    slope = math.log(curve[-1][0] / curve[0][0]) / math.log(sizes[-1] ** 2 / sizes[0] ** 2)
    measured.append(Measurement.within("slope of the radius, on logarithmic scales", slope, -0.6, -0.4))
    measured += [*_forms(), *_collapse(), *_in_the_order_of_the_input()]

    one = ramps(torch.tensor([0.8]), torch.tensor([0.35]))
    wanted, found = _zoomed(one)[0], {m: unity.combine(one, _X)[0, :, 0] for m, unity in unities.items()}

    def draw(figure: Figure) -> None:
        errors, example = figure.subplots(1, 2)
        balls = [m * m for m in sizes]
        errors.plot(balls, [radius for radius, _ in curve], "C1s--", label="radius of the balls")
        errors.plot(balls, [error for _, error in curve], "C0o-", label="largest error")
        errors.set(title="All functions s relu(x - t), zoomed by 4", xlabel="centres M", ylabel="largest error")
        errors.set(xscale="log", yscale="log")
        errors.legend()
        example.plot(_X, wanted, "C1", label="wanted")
        for m, style in ((3, "C2:"), (9, "C0--")):
            example.plot(_X, found[m], style, label=f"from {m * m} centres")
        example.set(title="One of them", xlabel="x", ylabel="zoomed function")
        example.legend()

    return Evidence(tuple(measured), draw)


def _grid(m: int) -> WeightFeatures:
    """The networks of m x m ramps."""
    slopes, thresholds = torch.linspace(-1, 1, m), torch.linspace(0, 1, m)
    return ramps(slopes.repeat_interleave(m), thresholds.repeat(m))


def _zoomed(theta: WeightFeatures) -> Tensor:
    """[batch, 513] what the operator makes of the functions of networks with one output."""
    return _ZOOM(lambda x: theta.space.realize(theta, x)[..., 0])(_X)


def _unity(m: int) -> PartitionOfUnity:
    """The construction from m x m centres, with balls that cover the family and a twentieth more."""
    centres = _grid(m)
    references = _ZOOM.network(centres)
    cover = float(PartitionOfUnity(centres, references, _PROBES, 1.0).distance(_grid(65)).amin(1).max())
    return PartitionOfUnity(centres, references, _PROBES, 1.05 * cover)


def _largest_error(unity: PartitionOfUnity) -> float:
    family = _grid(65)
    return float((unity.combine(family, _X)[..., 0] - _zoomed(family)).abs().max())


@torch.no_grad()
def _forms() -> list[Measurement]:
    """The wide network and the mean of small ones are the sum, also where neurons are tied."""
    centres = _grid(5)
    space = centres.space
    unity = PartitionOfUnity(centres, _ZOOM.network(centres), _PROBES, radius=0.3)
    generator = torch.Generator().manual_seed(0)
    theta = ramps(torch.rand(25, generator=generator) * 2 - 1, torch.rand(25, generator=generator))
    untied = _random(space, 25) * 0.1
    wanted = unity.combine(theta, _X)
    wide_space, wide = unity.network(theta)
    editor = OutputCapacityExpansion(unity, space, residual=False, init_scale=1.0).double()
    k = editor(theta).channels
    merged_space, merged = merge_ensemble(space, editor(theta))
    at_zero = space.realize(editor(theta[:1] * 0.0), _X).mean(-1)
    errors = {
        "one wide network: difference from the sum": wide_space.realize(wide, _X) - wanted,
        "one wide network: change of its hidden layer with the input": wide["0.weight"] - wide["0.weight"][:1],
        f"mean of {k} networks 1-3-1: difference from the sum": merged_space.realize(merged, _X) - wanted,
        f"mean of {k} networks: equivariance error on tied networks": _equivariance(editor, theta),
        f"mean of {k} networks: equivariance error on others": _equivariance(editor, untied),
        f"mean of {k} networks: error at weights 0": at_zero,
    }
    error = float((wanted[..., 0] - _zoomed(theta)).abs().max())
    return [
        *(Measurement.at_most(what, float(error.abs().max()), 1e-12) for what, error in errors.items()),
        Measurement.about("error on 25 tied networks, 25 centres of radius 0.3", error, 0.10, 2.0),
    ]


def _equivariance(editor: nn.Module, theta: WeightFeatures) -> Tensor:
    group = theta.space.symmetry("permutation")
    element = group.sample(len(theta), torch.Generator().manual_seed(1))
    error: Tensor = (editor(group.act(element, theta)) - group.act(element, editor(theta))).flatten()
    return error


@torch.no_grad()
def _collapse() -> list[Measurement]:
    """Random equivariant networks, applied to the zero network."""
    tent = TiledZoom(2).fold(_X)[:, 0]
    measured = []
    for hidden, networks in ((8, 30), (32, 10)):
        space = mlp([1, hidden, hidden, 1])
        zero = _random(space, 1) * 0.0
        functions = []
        for seed in range(networks):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                net = build("dws", space, hidden=6, depth=3).double().eval()
            functions.append(space.realize(net(zero), _X)[0, :, 0])
        values = torch.stack(functions)
        steps = values.diff(dim=1)
        one_way = ((steps >= -1e-12).all(1) | (steps <= 1e-12).all(1)).sum()
        best = (values - tent).abs().amax(1).min()
        what = f"of {networks} DWS networks on {space.summary()}, at weights 0"
        measured.append(Measurement.equal(f"{what}: go one way only", float(one_way), networks))
        measured.append(Measurement.at_least(f"{what}: least error for a tent", float(best), 0.5))
    return measured


def _in_the_order_of_the_input() -> list[Measurement]:
    """A fixed network in the order of the input's biases: equivariant; jumps at a tie in weights, not as a function."""
    space = mlp([1, 3, 1])
    group = space.symmetry("permutation")
    theta, wanted = _random(space, 20, seed=0), _random(space, 1, seed=1)

    def lift(theta: WeightFeatures) -> WeightFeatures:
        back = group.inverse(canonicalize(theta, group).element)
        return group.act(back, wanted[torch.zeros(len(theta), dtype=torch.long)])

    element = group.sample(len(theta), torch.Generator().manual_seed(2))
    error = (lift(group.act(element, theta)) - group.act(element, lift(theta))).flatten().abs().max()
    # two sides of a tie: the first two biases are a billionth apart, one way and the other
    biases = torch.tensor([[0.0, 1e-9, 1.0], [1e-9, 0.0, 1.0]], dtype=torch.float64)[..., None]
    weights, _, *rest = theta[[0, 0]].tensors
    sides = lift(WeightFeatures(space, (weights, biases, *rest)))
    jump, step = (sides.flatten().diff(dim=0).norm(), space.realize(sides, _X).diff(dim=0).abs().max())
    return [
        Measurement.at_most("order of the input: equivariance error", float(error), 1e-12),
        Measurement.at_least("order of the input: jump of the weights at a tie", float(jump), 0.5),
        Measurement.at_most("order of the input: jump of the function there", float(step), 1e-12),
    ]


def _random(space: WeightSpace, batch: int, seed: int = 0) -> WeightFeatures:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, *p.shape, 1) for p in space.parameters]
    return WeightFeatures(space, tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))
