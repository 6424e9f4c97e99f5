"""One network from each orbit: where that can be chosen continuously, and where it cannot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ...group import Monomial
from ...orbit import align, canonicalize, same_orbit
from ...space import WeightFeatures, WeightSpace, mlp
from .._pairs import wl_pair
from .._statement import Evidence, Measurement, statement
from .._symmetry_error import random_networks
from ._changes import generator
from ._normal_forms import other_groups

NAME = "canonical-forms"

SPACE = mlp([2, 5, 6, 3])
GROUP = SPACE.symmetry("permutation")
NOISE = (0.0, 1e-3, 1e-2, 0.1, 0.2)
STARTS: dict[str, tuple[Literal["anchored", "bias_sort", "identity"], int]] = {
    "bias sort": ("bias_sort", 0),
    "weight matching": ("identity", 100),
    "both": ("bias_sort", 100),
    "anchored start": ("anchored", 100),
}
LIKELY = {  # the share of permutations recovered at each level of noise
    "bias sort": ((1, 1), (0.87, 1), (0.35, 0.6), (0, 0.03), (0, 0.02)),
    "weight matching": ((0.7, 0.9),) * 5,
    "both": ((1, 1), (0.98, 1), (0.97, 1), (0.92, 1), (0.88, 1)),
    "anchored start": ((1, 1), (1, 1), (0.99, 1), (0.99, 1), (0.97, 1)),
}


@statement(
    NAME,
    title="Sorting neurons is a choice from each orbit that is smooth off ties and jumps across them",
    source="arXiv 2602.01083, section on general position; isometry, ties and lifts are sharpened here",
    claim="""
    Sorting the neurons of each hidden layer by their biases picks one network from each orbit of the permutations:
    two networks in general position are in one orbit if and only if their sorted forms are equal. The permutation that
    sorts can be undone, so that any map on sorted networks becomes an equivariant map on all of them.

    The form is as smooth as it can be: while no bias moves by half the margin, it moves just as the network does,
    and its derivative is a permutation matrix. But it is not continuous. Ties cut the networks in general position into
    chambers, one for each order of the neurons, and two networks on the two sides of a tie may be as near to each other
    as you like while their forms are far apart. Only ties between clones, whose exchange leaves the network as it is,
    do no harm. Colours of neurons still sort networks where all biases are zero.

    Other groups have such forms too: positive scales by norms, signs by the signs of biases, the phases of the sine by
    reduction to a quarter period, matrices by the chart that makes some of the entries the identity, or by the balanced
    singular value decomposition. A QR decomposition is no canonical form: it leaves a rotation open.

    With noise on the weights, sorting alone recovers permutations only if the noise is far below the margin. As the
    start of weight matching it is better than either alone; better still is a start that matches each layer by the
    weights that lead to layers matched before, which is what align does unless told otherwise.
    """,
    construction="""
    Two hundred random networks 2-5-6-3 are moved by random permutations, and moved a little; two biases are exchanged
    that differ by a number which becomes small. Two hundred networks 2-16-16-2 are permuted, get normal noise on all
    weights, and are aligned with what they were: an attempt counts if all neurons are found.
    """,
)
def canonical_forms() -> Evidence:
    """Invariance, isometry, jumps, other groups, recovery under noise."""
    gaps = (1e-1, 1e-3, 1e-6, 1e-9)
    jumps, clones = ([_across_a_tie(gap, clones=c) for gap in gaps] for c in (False, True))
    rates = _recovery()
    measured = [
        *_invariance(),
        *_smoothness(),
        Measurement.about("distance of two networks across a tie", jumps[-1][0], math.sqrt(2) * 1e-9, 1.01),
        Measurement.about("distance of their forms", jumps[-1][1], 5.2, 2),
        Measurement.at_most(
            "the same, minus the distance that exchanging the neurons moves", abs(_exchange() - jumps[-1][1]), 1e-8
        ),
        Measurement.at_most("distance of the forms if the tied neurons are clones", max(c for _, c in clones), 1e-15),
        *other_groups(),
    ]
    for name, bounds in LIKELY.items():
        for noise, (low, high), rate in zip(NOISE, bounds, rates[name], strict=True):
            measured.append(Measurement.within(f"recovered by {name}, noise {noise:g}", rate, low, high))
    steps, lines = _segment()

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for (name, distances), color in zip(lines.items(), ("C0", "C1", "C2"), strict=True):
            left.plot(steps, distances, color=color, label=name)
        left.set(
            title="along a segment across a tie", xlabel="difference of two biases", ylabel="distance from the start"
        )
        left.legend()
        for i, (name, shares) in enumerate(rates.items()):
            right.plot(range(len(NOISE)), shares, "o-", color=f"C{i}", label=name)
        right.set_xticks(range(len(NOISE)), [f"{noise:g}" for noise in NOISE])
        right.set(title="permutations recovered", xlabel="noise on all weights", ylabel="share of networks")
        right.legend()

    return Evidence(tuple(measured), draw)


def _form(theta: WeightFeatures) -> Tensor:
    return canonicalize(theta, "permutation").theta.flatten()


def _invariance() -> list[Measurement]:
    theta, other = random_networks(SPACE, 200, generator()), random_networks(SPACE, 200, generator(1))
    element = GROUP.sample(200, generator())
    moved = GROUP.act(element, theta)
    form = canonicalize(theta, "permutation")
    back = GROUP.act(GROUP.inverse(form.element), form.theta)
    lifted = GROUP.act(element, _lift(theta)) - _lift(moved)
    ties = theta.map(lambda t: t if t.dim() > 3 else t * 0)
    tied = _form(GROUP.act(element, ties)) - _form(ties)
    zero = "largest difference of the forms of g theta and theta"
    return [
        Measurement.equal(zero, _size(_form(moved) - form.theta.flatten()), 0),
        Measurement.equal("form of the form, minus the form", _size(_form(form.theta) - form.theta.flatten()), 0),
        Measurement.equal("network, minus its form moved back", _size((back - theta).flatten()), 0),
        Measurement.equal("lift of a map at g theta, minus g times the lift", _size(lifted.flatten()), 0),
        Measurement.equal(f"{zero}, all biases 0", _size(tied), 0),
        Measurement.equal("networks not in the orbit of g theta", same_orbit(theta, moved, GROUP).count(False), 0),
        Measurement.equal("networks in the orbit of another one", same_orbit(theta, other, GROUP).count(True), 0),
        Measurement.equal("pairs told apart that colours do not tell apart", same_orbit(*wl_pair()).count(False), 1),
    ]


def _lift(theta: WeightFeatures) -> WeightFeatures:
    """An equivariant map that is made of one that is not: entries are taken to the next place, then squared."""
    form = canonicalize(theta, "permutation")
    changed = form.theta.map(lambda t: t.flatten(1).roll(1, dims=1).square().view_as(t))
    return GROUP.act(GROUP.inverse(form.element), changed)


def _smoothness() -> list[Measurement]:
    theta = random_networks(SPACE, 200, generator())
    _, element, margin = canonicalize(theta, "permutation")
    moved = [_noisy(theta, part * margin) for part in (0.2, 0.49)]
    turned = [_size(_form(phi) - GROUP.act(element, phi).flatten()) for phi in moved]
    ratios = [(_form(phi) - _form(theta)).norm(dim=1) / (phi - theta).flatten().norm(dim=1) for phi in moved]
    small = mlp([2, 3, 2])
    flat = random_networks(small, 1, generator()).flatten()[0]

    def form(x: Tensor) -> Tensor:
        parts = x.split([math.prod(p.shape) for p in small.parameters])
        tensors = {p.name: t.view(1, *p.shape, 1) for p, t in zip(small.parameters, parts, strict=True)}
        return _form(small.features(tensors))[0]

    jacobian = torch.func.jacrev(form)(flat)
    wrong = _size(jacobian @ jacobian.T - torch.eye(len(flat))) + _size(jacobian * (1 - jacobian))
    orders = canonicalize(random_networks(mlp([2, 3, 3, 2]), 2000, generator()), "permutation").element
    chambers = torch.cat([orders["hidden1"].permutation, orders["hidden2"].permutation], dim=1).unique(dim=0)
    return [
        Measurement.equal("form of theta + e, minus theta + e in the order of theta, e < 0.49 margins", max(turned), 0),
        Measurement.at_most("|form of theta + e, minus form| / |e| - 1", max(_size(r - 1) for r in ratios), 1e-11),
        Measurement.equal("Jacobian of the form: distance from a permutation matrix", wrong, 0),
        Measurement.equal("chambers of 2-3-3-2, 3! times 3!", len(chambers), 36),
    ]


def _at_a_tie(first: list[float], second: list[float], *, clones: bool) -> WeightFeatures:
    """One network many times, with these biases on its first two neurons; but for them, these may be clones."""
    drawn = dict(_normal(SPACE, 1).items())
    if clones:
        drawn["0.weight"][:, 1] = drawn["0.weight"][:, 0]
        drawn["2.weight"][:, :, 1] = drawn["2.weight"][:, :, 0]
    tensors = {name: t.repeat(len(first), *[1] * (t.dim() - 1)) for name, t in drawn.items()}
    tensors["0.bias"][:, :2, 0] = torch.tensor([first, second], dtype=torch.float64).T
    return SPACE.features(tensors)


def _across_a_tie(gap: float, *, clones: bool) -> tuple[float, float]:
    """The distance of two networks that differ by the exchange of two biases, and the distance of their forms."""
    pair = _at_a_tie([0, gap], [gap, 0], clones=clones)
    flat, form = pair.flatten(), _form(pair)
    return float((flat[0] - flat[1]).norm()), float((form[0] - form[1]).norm())


def _exchange() -> float:
    """The distance of a network with a tie from the same with the two neurons exchanged."""
    theta = _at_a_tie([0], [0], clones=False)
    order = torch.tensor([[1, 0, 2, 3, 4]])
    moved = GROUP.act(GROUP.identity(1) | {"hidden1": Monomial(order)}, theta)
    return float((moved - theta).flatten().norm())


def _segment() -> tuple[list[float], dict[str, list[float]]]:
    """Distances from the first network along a segment on which two neurons change their order."""
    steps = torch.linspace(-1, 1, 201, dtype=torch.float64) * 0.3
    theta, clones = (_at_a_tie((-steps / 2).tolist(), (steps / 2).tolist(), clones=c) for c in (False, True))
    points = {
        "of the networks": theta.flatten(),
        "of the sorted forms": _form(theta),
        "of the sorted forms, clones": _form(clones),
    }
    return steps.tolist(), {name: (x - x[0]).norm(dim=1).tolist() for name, x in points.items()}


def _recovery() -> dict[str, list[float]]:
    """The share of permutations that are recovered under noise, by each start."""
    space = mlp([2, 16, 16, 2])
    group, phi = space.symmetry("permutation"), _normal(space, 200)
    element = group.sample(200, generator())
    moved = group.act(element, phi)
    rates: dict[str, list[float]] = {name: [] for name in STARTS}
    for size in NOISE:
        theta = _noisy(moved, size, normal=True)
        for name, (init, sweeps) in STARTS.items():
            found = align(theta, phi, group, init, iterations=sweeps).element
            same = torch.cat([_order(found, n) == _order(element, n) for n in ("hidden1", "hidden2")], dim=1)
            rates[name].append(float(same.all(1).double().mean()))
    return rates


def _normal(space: WeightSpace, batch: int) -> WeightFeatures:
    """Networks all of whose weights are standard normal."""
    still = space.sample(batch).map(lambda t: torch.zeros_like(t, dtype=torch.float64))
    return _noisy(still, 1.0, normal=True, seed=0)


def _noisy(theta: WeightFeatures, size: Tensor | float, *, normal: bool = False, seed: int = 1) -> WeightFeatures:
    """Noise on all weights, normal or uniform, of a size for each network."""
    noise, sizes = generator(seed), torch.as_tensor(size, dtype=torch.float64).expand(len(theta))

    def noisy(t: Tensor) -> Tensor:
        draw = torch.randn if normal else torch.rand
        drawn = draw(t.shape, generator=noise, dtype=t.dtype)
        return t + (drawn if normal else 2 * drawn - 1) * sizes.view(-1, *[1] * (t.dim() - 1))

    return theta.map(noisy)


def _order(element: dict[str, Any], name: str) -> Tensor:
    order: Tensor = element[name].permutation
    return order


def _size(x: Tensor) -> float:
    return float(x.abs().max())
