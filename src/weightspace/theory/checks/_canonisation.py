"""Off the ties canonical forms are within reach, and with them everything that is invariant or equivariant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...models import build
from ...orbit import canonicalize
from ...space import WeightFeatures, WeightSpace, mlp
from ...testing import equivariance_error
from .._broadcast import CanonicalBroadcast
from .._canonical import CanonicalFormNetwork
from .._outputs import output_gap
from .._pairs import wl_pair
from .._statement import Evidence, Measurement, statement
from ._noisy_pair import fit, moved_apart, noisy_pair, ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "canonisation"
MARGIN = 0.01


@statement(
    NAME,
    title="Without ties, networks on weights can sort neurons, and so compute everything that is invariant",
    source="arXiv 2602.01083, theorems 6.3 and 7.4, sharpened here",
    claim="""
    If the biases of each hidden layer are distinct, its neurons can be sorted. The sorted network is the same on the
    whole orbit, so an MLP of it comes as near as you like to every continuous invariant functional, and moving its
    output back to every continuous equivariant operator.

    For weights up to B and distances between biases of at least some margin, sorting takes no approximation: a DWS
    network with ReLU does it up to rounding. What DWS networks cannot tell apart because of ties, they can tell apart
    as soon as the ties are broken. What an architecture learns in a short training is another matter.

    At a tie the sorted form depends on the order in which the neurons came: an MLP of it is not invariant there. The
    smallest distance of two biases says how far away that is.

    To write an equivariant output, it is not enough to tell every entry its own value and the sorted network: equal
    entries at different neurons would get equal outputs. The biases of the neurons at its two ends must be told too.
    """,
    construction="""
    The maximum of n numbers is a sequence of sums, differences and ReLUs: subtracting the mean and applying ReLU leaves
    at most n - 1 positive numbers, subtracting a (n - 1)-th of their sum at most n - 2, and so on. A steep ReLU then
    marks the neuron where the maximum is, it is taken out, and n rounds give all ranks. An entry is moved to its place
    by adding B times the sum of the marks of its two ends less two: ReLU keeps it where both are 1, and the sum over
    all neurons collects it.

    Learning is tried on permuted copies of the two networks 1-4-4-1 that colour refinement takes for one, with noise on
    the biases: which one is it? The broadcast form is asked to write the rank of a neuron on its incoming weight, all
    of which are equal: without the biases no answer is better than the mean.
    """,
)
def canonisation() -> Evidence:
    """The circuit, learning on the canonical form, and what happens at ties."""
    margins = torch.logspace(-4, 0, 81, dtype=torch.float64)
    errors = _errors_by_margin(margins)
    curves = {endpoints: _write_ranks(endpoints) for endpoints in (True, False)}
    variance = float(ranks(moved_apart(0.1)).var(correction=0))
    losses, measured = curves[True][0], [*_circuit(), *_at_a_small_margin(), *_learned(), *_at_ties()]
    pair = moved_apart(0.1).space
    broadcast, lift = CanonicalBroadcast(pair), build("canon-mlp", pair, hidden=16, dropout=0.0)
    measured += [
        Measurement.at_most("error of equivariance: MLP, moved back", equivariance_error(lift, pair), 1e-12),
        Measurement.at_most("error of equivariance: broadcast form", equivariance_error(broadcast, pair), 1e-12),
        Measurement.at_most("ranks written, biases of the ends told: squared error", curves[True][1], 0.018),
        Measurement.within("ranks written, biases not told: squared error", curves[False][1], 0.13888, 0.16),
        Measurement.about("variance of the ranks", variance, 0.1389, 1.001),
    ]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.loglog(margins, errors.clamp_min(1e-16), "C0.-")
        left.axvline(MARGIN, color="C1", linestyle="--", label="margin of the circuit")
        left.set(title="Sorting circuit", xlabel="smallest distance of two biases", ylabel="largest error")
        right.semilogy(losses, "C0", label="biases of the ends told")
        right.semilogy(curves[False][0], "C3", label="not told")
        right.axhline(variance, color="C1", linestyle="--", label="variance of the target")
        right.set(title="Writing the rank of a neuron", xlabel="training step", ylabel="squared error")
        for axes in (left, right):
            axes.legend()

    return Evidence(tuple(measured), draw)


def _random(space: WeightSpace, batch: int, bound: float) -> WeightFeatures:
    generator = torch.Generator().manual_seed(7)
    shapes = [(batch, *p.shape, 1) for p in space.parameters]
    drawn = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return WeightFeatures(space, tuple(t.clamp(-bound, bound) for t in drawn))


def _errors(net: CanonicalFormNetwork, theta: WeightFeatures) -> Tensor:
    """[batch], the largest error of each network."""
    expected = canonicalize(theta, "permutation").theta
    errors: Tensor = (net(theta).flatten() - expected.flatten()).abs().amax(1)
    return errors


def _circuit() -> list[Measurement]:
    """All of 3000 random networks whose margin is large enough."""
    theta = _random(mlp([2, 5, 4, 2]), 3000, bound=3.0)
    theta = theta[(canonicalize(theta, "permutation").margin >= MARGIN).nonzero().squeeze(1)]
    net = CanonicalFormNetwork(theta.space, MARGIN, radius=3.0)
    invariance = equivariance_error(lambda theta: net(theta).flatten(), theta.space)
    measured = [
        Measurement.about("networks sorted by the circuit", len(theta), 2752, 1.03),
        Measurement.at_most("largest error of the circuit", float(_errors(net, theta).max()), 1e-11),
        Measurement.at_most("error of invariance of the circuit", invariance, 1e-9),
    ]
    for n in (4, 8, 32):
        depth = CanonicalFormNetwork(mlp([1, n, 1]), MARGIN, radius=3.0).depth
        measured.append(Measurement.equal(f"ReLU layers that rank {n} neurons", depth - 2, n * (n - 1) + n))
    return measured


def _errors_by_margin(margins: Tensor) -> Tensor:
    """One network, with two biases at these distances."""
    theta = _random(mlp([2, 5, 4, 2]), 1, bound=2.0)[[0] * len(margins)]
    biases = {"0.bias": torch.tensor([0.3, -1.5, 1.8, 0.0, -3.0]), "2.bias": torch.tensor([-2.0, 2.0, 0.0, 1.0])}
    tensors = {name: b.double().repeat(len(margins), 1)[..., None] for name, b in biases.items()}
    tensors["0.bias"][:, 0, 0] = margins  # beside the neuron with bias 0
    theta = theta.space.features({**theta, **tensors})
    return _errors(CanonicalFormNetwork(theta.space, MARGIN, radius=3.0), theta)


def _at_a_small_margin() -> list[Measurement]:
    errors = _errors_by_margin(torch.tensor([1e-3, 1e-2], dtype=torch.float64)).tolist()
    return [
        Measurement.at_least("error of the circuit at a tenth of its margin", errors[0], 0.5),
        Measurement.at_most("error of the circuit at its margin", errors[1], 1e-11),
    ]


def _canon_mlp(space: WeightSpace) -> nn.Module:
    """The architecture on the canonical form with random weights; the global random generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: nn.Module = build("canon-mlp", space, task="invariant", hidden=64, depth=3, dropout=0.0)
    return net.double()


def _learned() -> list[Measurement]:
    """Which of the pair is it? By learning on canonical forms, by random weights, and by the circuit."""
    generator, apart = torch.Generator().manual_seed(3), moved_apart(0.1)
    net = _canon_mlp(apart.space)

    def loss(generator: torch.Generator) -> Tensor:
        theta, which = noisy_pair(128, 0.1, generator)
        error: Tensor = net(theta) - which
        return error.square().mean()

    fit(net, loss, steps=800)
    with torch.no_grad():
        theta, which = noisy_pair(2000, 0.1, generator)
        found = net(theta)
    forms = CanonicalFormNetwork(apart.space, 0.05, radius=2.0)(apart).flatten()
    tied, moved = (_gap_of_random_weights(moved_apart(gap)) for gap in (0.0, 0.1))
    return [
        Measurement.at_most("canon-mlp: squared error of -1 and 1", float((found - which).square().mean()), 3e-3),
        Measurement.at_least("canon-mlp: accuracy", float((found * which > 0).double().mean()), 0.995),
        Measurement.at_most("canon-mlp: error of invariance off the ties", equivariance_error(net, apart.space), 0.0),
        Measurement.at_most("dws with random weights, ties: difference on the pair", tied, 1e-13),
        Measurement.at_least("dws with random weights, no ties: difference on the pair", moved, 1e-6),
        Measurement.at_least("circuit, no ties: difference on the pair", float((forms[0] - forms[1]).abs().max()), 0.9),
    ]


def _gap_of_random_weights(pair: WeightFeatures) -> float:
    return output_gap("dws", pair[[0]], pair[[1]], hidden=16, depth=4, reduction="mean")


def _at_ties() -> list[Measurement]:
    """The pair itself, where all biases of a layer are equal."""
    theta, group = moved_apart(0.0)[[0] * 100], wl_pair()[0].space.symmetry("permutation")
    net, generator = _canon_mlp(theta.space).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        moved = net(group.act(group.sample(100, generator, dtype=torch.float64), theta))
        change = float((moved - net(theta)).abs().max())
    margin = float(canonicalize(theta, "permutation").margin.max())
    return [
        Measurement.at_least("canon-mlp: error of invariance at a tie", change, 1e-2),
        Measurement.at_most("margin at a tie", margin, 0.0),
    ]


def _write_ranks(endpoints: bool) -> tuple[list[float], float]:
    """The losses of a broadcast form that learns to write ranks at the first weights, and its error on new networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = CanonicalBroadcast(wl_pair()[0].space, endpoints=endpoints).double()

    def loss(generator: torch.Generator, batch: int = 64) -> Tensor:
        theta, _ = noisy_pair(batch, 1.0, generator)
        error: Tensor = net(theta)["0.weight"] - ranks(theta)
        return error.square().mean()

    losses = fit(net, loss, steps=300)
    with torch.no_grad():
        return losses, float(loss(torch.Generator().manual_seed(1), batch=2000))
