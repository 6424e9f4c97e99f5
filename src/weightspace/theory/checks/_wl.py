"""Message passing and linear layers see as far as colour refinement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

import torch

from ...orbit import same_orbit, wl_colors
from ...space import WeightFeatures
from .._census import Census, ambiguous_classes, census, one_layer_orbits
from .._outputs import COLOR_REFINING, fitted_readout, output_gap, random_outputs
from .._pairs import Kind, Pair, gram_norm, wl_pair
from .._statement import Evidence, Measurement, statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "colour-refinement"
_SIZE: dict[str, Any] = {"hidden": 16, "depth": 4}
_NFT: dict[str, Any] = {"hidden": 16, "depth": 2}
_DELTAS = (1e-3, 1e-2, 1e-1, 1.0)


@statement(
    NAME,
    title="Message passing and linear layers see as far as colour refinement, and no further",
    source="arXiv 2602.01083, theorem 5.2 and proposition 6.2, sharpened here",
    claim="""
    Colour refinement (1-WL) gives all hidden neurons of a layer one colour, and then, round after round, parts neurons
    whose weights lead to different colours. DWS, HNP-NFN, NP-NFN with positions, GMN and NG-GNN see exactly that: on a
    compact set of networks their invariant functions come uniformly near to every continuous function that is constant
    on the classes of networks of equal colours, and to no other. Where different orbits have equal colours, none of
    them tells the orbits apart, whatever its size and its training.

    There are such orbits as soon as there are two hidden layers. A cycle of length 8 and two cycles of length 4, as
    weights between 4 and 4 neurons, are the smallest with one binary matrix, and the only ones of that size. With one
    hidden layer there are none: an orbit is a multiset of vectors there.

    It takes ties. Whatever makes all biases of a layer different tells the networks apart.
    """,
    construction="""
    Five pairs of networks whose orbits differ, by functionals that no permutation changes, are given to metanetworks
    with random weights. For each pair the outputs of the five architectures agree up to rounding, those of the neural
    functional transformer (NFT) do not. Nor does training help: outputs that agree leave a mean squared error of 1 for
    the labels -1 and 1, whatever reads them out.

    The census shows all 317 orbits of binary 4 x 4 matrices to each architecture, permuted at random, and counts the
    classes. Smaller matrices are gone through exhaustively. At last the biases of the pair are moved apart by delta,
    2 delta, ...
    """,
)
def colour_refinement() -> Evidence:
    """Gaps of pairs, the census, the smallest pairs, and what biases change."""
    censuses = {name: census(name, **_SIZE, **options) for name, options in COLOR_REFINING.items()}
    censuses["nft"] = census("nft", **_NFT)
    gaps = {name: [_gap(name, delta, options) for delta in _DELTAS] for name, options in COLOR_REFINING.items()}
    measured = (*_functionals(), *_pairs(), *_readouts(), *_perturbed(gaps), *_counted(censuses), *_smallest())
    return Evidence(measured, lambda figure: _draw(figure, censuses, gaps))


def _functionals() -> Iterator[Measurement]:
    pair = wl_pair("c8")
    middle = pair.both["2.weight"][..., 0]
    singular = torch.linalg.svdvals(middle)
    values = {
        "|W_2 W_2^T|^2": (gram_norm(pair.both), (24, 32)),
        "rank of W_2": (torch.linalg.matrix_rank(middle), (3, 2)),
        "|W_2|^2, which tells nothing": (middle.square().sum((1, 2)), (8, 8)),
    }
    for what, (found, expected) in values.items():
        for value, number, name in zip(found, expected, ("the cycle", "two cycles"), strict=True):
            yield Measurement.equal(f"{what}, {name}", float(value), number)
    for norm, about, name in zip(singular.sum(1), (4.828, 4.0), ("the cycle", "two cycles"), strict=True):
        yield Measurement.about(f"nuclear norm of W_2, {name}", float(norm), about, 1.001)


def _pairs() -> Iterator[Measurement]:
    """What the two networks of each pair have in common, and what not."""
    pairs = {kind: wl_pair(kind) for kind in get_args(Kind)}
    colors = [color.sort(1).values for pair in pairs.values() for color in wl_colors(pair.both).values()]
    yield Measurement.equal("pairs of different orbits", sum(same_orbit(*p) == [False] for p in pairs.values()), 5)
    yield Measurement.equal("layers whose colours differ", sum(not torch.equal(*color) for color in colors), 0)
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    functions = [pair.both.space.realize(pair.both, x) for pair in pairs.values()]
    largest = max(float((f[0] - f[1]).abs().max()) for f in functions)
    yield Measurement.at_most("difference of the functions of any pair", largest, 1e-14)
    for kind, pair in pairs.items():
        first, second = pair
        values = pair.functional(pair.both)
        yield Measurement.at_least(f"{kind}: difference of {pair.formula}", float(values.diff().abs()), 1)
        gaps = [
            output_gap(name, first, second, networks=5, **_SIZE, **options) for name, options in COLOR_REFINING.items()
        ]
        yield Measurement.at_most(f"{kind}: gap of the five architectures", max(gaps), 1e-14)
        yield Measurement.at_least(f"{kind}: gap of NFT", output_gap("nft", first, second, networks=5, **_NFT), 1e-6)


def _readouts() -> Iterator[Measurement]:
    """The best that a linear readout of random outputs can do for the labels -1 and 1."""
    for name, options in {**COLOR_REFINING, "nft": {}}.items():
        size = _NFT if name == "nft" else _SIZE
        what = f"mean squared error of {name} for labels -1, 1"
        error = _fitted(name, wl_pair("c8").both, **size, **options)
        if name == "nft":
            yield Measurement.at_most(what, error, 1e-14)
        else:
            yield Measurement.about(what, error, 1.0, 1.001)
            for delta in (0.5, 1.0):
                apart = _fitted(name, _apart(wl_pair("c8"), delta), **size, **options)
                yield Measurement.at_most(f"{what}, biases apart by {delta}", apart, 1e-6)


def _fitted(name: str, both: WeightFeatures, **options: Any) -> float:
    outputs = random_outputs(name, both, 1, 0, out_features=16, **options)[0]
    labels = torch.tensor([[-1.0], [1.0]], dtype=outputs.dtype)
    return float((fitted_readout(outputs, labels) - labels).square().mean())


def _apart(pair: Pair, delta: float) -> WeightFeatures:
    """The pair with biases in general position: 0, delta, 2 delta, ... is added to them."""
    steps = delta * torch.arange(4, dtype=torch.float64)[None, :, None]
    moved = {"0.bias": pair.both["0.bias"] + steps, "2.bias": pair.both["2.bias"] + 0.7 * steps}
    return pair.both.space.features({**pair.both, **moved})


def _gap(name: str, delta: float, options: dict[str, Any]) -> float:
    both = _apart(wl_pair("c8"), delta)
    return output_gap(name, both[0], both[1], networks=5, **_SIZE, **options)


def _perturbed(gaps: dict[str, list[float]]) -> Iterator[Measurement]:
    for delta, expected in ((1e-3, 6.5e-7), (1e-1, 1.2e-4)):
        found = gaps["dws"][_DELTAS.index(delta)]
        yield Measurement.about(f"gap of dws, biases apart by {delta:g}", found, expected, 5)
    growth = min(b / a for found in gaps.values() for a, b in pairwise(found[:3]))
    yield Measurement.at_least("least growth of a gap when delta grows tenfold to 0.1", growth, 1.5)


def _counted(censuses: dict[str, Census]) -> Iterator[Measurement]:
    for name, found in censuses.items():
        yield Measurement.equal(f"classes of {name} among 317 orbits", found.classes, 317 if name == "nft" else 316)
    yield Measurement.at_most("largest distance within a class", max(c.spread for c in censuses.values()), 1e-12)
    yield Measurement.at_least("smallest distance of two classes", min(c.gap for c in censuses.values()), 2e-9)


def _smallest() -> Iterator[Measurement]:
    for rows, columns in ((2, 2), (2, 3), (3, 3), (3, 4), (3, 5), (4, 4)):
        found = len(ambiguous_classes(rows, columns))
        expected = 1 if (rows, columns) == (4, 4) else 0
        yield Measurement.equal(f"ambiguous classes of binary {rows} x {columns} matrices", found, expected)
    one_layer = census("dws", orbits=one_layer_orbits(), **_SIZE, **COLOR_REFINING["dws"])
    yield Measurement.equal("classes of dws among 120 orbits with one hidden layer", one_layer.classes, 120)
    yield Measurement.at_least("their smallest distance", one_layer.gap, 1e-6)


def _draw(figure: Figure, censuses: dict[str, Census], gaps: dict[str, list[float]]) -> None:
    orbits, biases = figure.subplots(1, 2)
    for i, name in enumerate(("nft", "dws", "gmn")):
        found = censuses[name]
        label = f"{name}: {found.classes}"
        orbits.semilogy(range(1, 318), found.nearest().clamp(min=1e-18), ".", color=f"C{i}", label=label)
    orbits.set(title="Classes of 317 orbits", xlabel="orbits", ylabel="distance of the nearest other orbit")
    orbits.legend()
    for i, (name, gap) in enumerate(gaps.items()):
        biases.loglog(_DELTAS, gap, "o-", color=f"C{i}", label=name)
    biases.set(title="Cycle and two cycles, biases moved apart", xlabel="delta", ylabel="relative gap of the outputs")
    biases.legend()
