"""When the neurons of a network can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ...orbit import canonicalize
from ...space import WeightFeatures, mlp, siren
from .._general_position import general_position_probability, in_general_position, quantise
from .._pairs import wl_pair
from .._statement import Evidence, Measurement, statement
from .._symmetry_error import random_networks
from ._changes import generator

NAME = "general-position"

SPACE = mlp([2, 32, 32, 1])
BITS = {16: (0.97, 0.995), 12: (0.72, 0.78), 8: (0.006, 0.014)}  # about three standard deviations of 4000 networks


@statement(
    NAME,
    title="Neurons with distinct biases, and what rounding makes of them",
    source="arXiv 2602.01083 (general position); the margins, the birthday formula and the second level are ours",
    claim="""
    Theorems about all networks have exceptions: networks some of whose neurons cannot be told apart. A network is in
    general position if the biases of each hidden layer are distinct. Its margin is the smallest gap between two of
    them: while no bias moves by half of it, their order stays, and half of it is enough to make a tie.

    Almost all networks are in general position, but few of those whose biases are rounded. On a grid of 2^b values the
    biases of a layer collide as birthdays do: of networks with two hidden layers of 32 neurons and normal biases 98 %
    stay in general position with 16 bits, 75 % with 12 and 1 % with 8.

    Far fewer networks are exceptions if all weights count: if colour refinement gives every neuron of a layer a colour
    of its own. That follows from distinct biases, with a margin that is never smaller, and it holds for random
    networks with zero biases or weights of one bit. Exceptions remain, regular graphs among them.
    """,
    construction="""
    Four thousand random networks are rounded, and ties counted. Of the n biases of a layer the smallest and the largest
    are on the ends of the grid. The birthday formula multiplies 1 - i s for i up to n - 2: the others must miss both
    and each other. For uniform biases s is 1 / (2^b - 1) and the formula exact; for normal ones it is an approximation,
    with s larger by (n + 1) / (n - 1) times their expected range over 2 sqrt(pi). Small layers are counted, too.
    Networks are moved at random by 0.49 margins, and their closest biases by half a margin towards each other.
    """,
)
def general_position() -> Evidence:
    """Networks with and without ties, rounded and perturbed."""
    theta = random_networks(SPACE, 4000, generator())
    rates = {bits: _rate(quantise(theta, bits)) for bits in range(4, 22)}
    formula = {bits: general_position_probability([32, 32], bits, "normal") for bits in rates}
    few = theta[:12]
    colored = {bits: _rate(quantise(few, bits), "wl") for bits in (1, 4, 8)}
    margins = {"bias": in_general_position(theta).margin, "wl": in_general_position(few, "wl").margin}
    ratio = margins["wl"] / margins["bias"][: len(few)]
    measured = [Measurement.equal("random networks in general position", _rate(theta), 1)]
    for bits, (low, high) in BITS.items():
        measured.append(Measurement.within(f"share in general position, biases of {bits} bits", rates[bits], low, high))
    biases = theta["0.bias"].flatten(1)
    span = float((biases.amax(1) - biases.amin(1)).mean())
    apart = max(abs(rates[bits] - formula[bits]) for bits in rates)
    measured += [
        Measurement.at_most("birthday formula against measurement, 4 to 21 bits", apart, 0.02),
        *_small_layers(),
        *(Measurement.equal(f"share told apart by colours, {b} bits", rate, 1) for b, rate in colored.items()),
        Measurement.at_least("margin of colours over that of biases, smallest", float(ratio.min()), 1),
        Measurement.at_least("margin of colours over that of biases, median", float(ratio.median()), 4),
        *_at_the_margin(theta[:500], few),
        *_exceptions(),
    ]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.plot(list(formula), list(formula.values()), color="C1", label="birthday formula")
        left.plot(list(rates), list(rates.values()), "o", color="C0", label="distinct biases")
        left.plot(list(colored), list(colored.values()), "s", color="C2", label="distinct colours")
        left.set(title="networks in general position", xlabel="bits of the weights", ylabel="share of networks")
        left.legend()
        for level, color in (("bias", "C0"), ("wl", "C2")):
            ascending = margins[level].sort().values.tolist()
            share = [(i + 1) / len(ascending) for i in range(len(ascending))]
            right.step(ascending, share, color=color, where="post", label=f"margins, level {level!r}")
        for bits, style in ((16, ":"), (12, "--"), (8, "-")):
            right.axvline(span / 2**bits, color="C1", linestyle=style, label=f"grid of {bits} bits")
        right.set(title="margins and grids", xlabel="margin", ylabel="share of networks below", xscale="log")
        right.legend()

    return Evidence(tuple(measured), draw)


def _small_layers() -> list[Measurement]:
    """The formula against layers of few neurons and grids of few levels, where the ends count most."""
    found: dict[Literal["uniform", "normal"], float] = {}
    for density in ("uniform", "normal"):
        apart = []
        for width, bits in ((2, 1), (3, 2), (4, 2), (4, 3), (5, 3), (8, 5), (16, 7), (32, 8)):
            theta = random_networks(mlp([1, width, 1]), 40_000, generator())
            if density == "uniform":
                theta = theta.map(torch.special.ndtr)
            apart.append(abs(_rate(quantise(theta, bits)) - general_position_probability([width], bits, density)))
        found[density] = max(apart)
    return [
        Measurement.at_most("birthday formula, 2 to 32 uniform biases: largest difference", found["uniform"], 0.01),
        Measurement.at_most("birthday formula, 2 to 32 normal biases: largest difference", found["normal"], 0.03),
    ]


def _rate(theta: WeightFeatures, level: Literal["bias", "wl"] = "bias") -> float:
    return float(in_general_position(theta, level).holds.double().mean())


def _at_the_margin(theta: WeightFeatures, few: WeightFeatures) -> list[Measurement]:
    """What becomes of networks that are moved by a little less, or just as much as the margin allows."""
    margin, before = in_general_position(theta).margin, canonicalize(theta, "permutation").element
    after = canonicalize(_moved(theta, 0.49 * margin), "permutation").element
    reordered = sum(int((before[n].permutation != after[n].permutation).any(1).sum()) for n in ("hidden1", "hidden2"))
    lost = 1 - _rate(_moved(few, 0.49 * in_general_position(few, "wl").margin), "wl")
    tied = _rate(_tied(theta))
    return [
        Measurement.equal("networks reordered by moves of 0.49 margins", reordered, 0),
        Measurement.equal("share whose colours are lost by moves of 0.49 margins", lost, 0),
        Measurement.equal("share left once the closest biases move by half a margin", tied, 0),
    ]


def _moved(theta: WeightFeatures, by: torch.Tensor) -> WeightFeatures:
    """Every weight moved up or down by a number for each network."""
    signs = generator(1)

    def moved(t: torch.Tensor) -> torch.Tensor:
        up = torch.randint(0, 2, t.shape, generator=signs).to(t) * 2 - 1
        return t + up * by.view(-1, *[1] * (t.dim() - 1))

    return theta.map(moved)


def _tied(theta: WeightFeatures) -> WeightFeatures:
    """The two closest biases of each hidden layer moved to the middle between them."""
    tensors = dict(theta.items())
    for name in ("0.bias", "2.bias"):
        ascending, order = theta[name].sort(dim=1)
        first = ascending.diff(dim=1).argmin(dim=1, keepdim=True)
        pair = torch.cat([first, first + 1], dim=1)
        middle = ascending.gather(1, pair).mean(1, keepdim=True).expand(-1, 2, -1)
        tensors[name] = theta[name].scatter(1, order.gather(1, pair), middle)
    return theta.space.features(tensors)


def _exceptions() -> list[Measurement]:
    fresh = siren([2, 16, 16, 1]).sample(8, generator())
    pair = wl_pair()[0]
    return [
        Measurement.equal("fresh SIRENs, all of whose biases are 0: distinct biases", _rate(fresh), 0),
        Measurement.equal("fresh SIRENs: distinct colours", _rate(fresh, "wl"), 1),
        Measurement.equal("a cycle of length 8: distinct colours", _rate(pair, "wl"), 0),
    ]
