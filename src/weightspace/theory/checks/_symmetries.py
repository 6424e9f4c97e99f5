"""Which groups preserve what networks compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from ...group import MONOMIAL
from ...orbit import Phase, PhaseGroup
from ...space import SymmetryGroup, WeightFeatures, mlp, siren
from .._statement import Evidence, Measurement, statement
from .._symmetry_error import random_networks
from ._chain_rows import GROUPS, chain_rows, pointwise_rows
from ._changes import Row, generator, replaced
from ._transformer_rows import attention_rows, norm_rows

NAME = "symmetries"

PRESERVED, CHANGED = 1e-12, 0.03


@statement(
    NAME,
    title="Which changes of the weights leave the function as it is",
    source="arXiv 2602.01083 and 2604.23720 use these groups; the census of rows, and its controls, are ours",
    claim="""
    The units of a layer can be renumbered if the next layer follows. What else can be done to them, their activation
    decides: ReLU allows positive scales, odd functions such as tanh and sine allow signs, even ones allow signs of what
    enters while what leaves stays, GELU, SiLU and the sigmoid allow nothing else, and without an activation any
    invertible matrix will do. The sine has shifts of its biases by half periods too; with signs they are infinite
    dihedral groups, and they act by affine maps.

    Channels of convolutions are such units, and a flatten makes all columns of a channel move together. A residual
    stream is acted on by one element in all places: any matrix if nothing acts on the stream itself, positive scales if
    there is a ReLU behind the sum.

    Attention heads can be renumbered, and the coordinates of each can be multiplied by any matrix, those of keys by its
    inverse transposed, wherever the norms stand and whether or not vectors of positions are added; rotary positions
    leave one complex number for each pair of coordinates. Biases of keys are not seen at all, those of values
    can be moved to the output. Gain and shift of a layer norm can be multiplied by any numbers but zero if all readers
    are divided by them, and what writes to a stream that only norms read may add the same number to all units.
    A permutation between attention and the feed-forward layer preserves blocks without residual connections alone.
    """,
    construction="""
    Random networks in float64 are moved by random elements of a group, and run on random inputs before and after. What
    is stated to preserve the function changes it by rounding, a relative 1e-12 at most. Beside each stands a
    change that does not: a larger group, which is built by hand as the library refuses it, or one parameter moved by an
    element of its own.
    """,
)
def symmetries() -> Evidence:
    """Changes of the function for groups on perceptrons, convolutions, streams, attention and norms."""
    pointwise, others = list(pointwise_rows()), [*chain_rows(), *attention_rows(), *norm_rows()]
    measured = [*_of_activations(pointwise), *map(_measurement, others), *_laws()]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _dots(left, [(r.network, r.change, f"C{list(GROUPS).index(r.what)}", r.what) for r in pointwise])
        left.set_title("groups on hidden neurons")
        colors = {True: ("C0", "stated to preserve it"), False: ("C1", "control")}
        _dots(right, [(r.network, r.change, *colors[r.preserved]) for r in others])
        right.set_title("other networks")

    return Evidence(tuple(measured), draw)


def _measurement(row: Row) -> Measurement:
    what = f"{row.network}: {row.what}"
    if row.preserved:
        return Measurement.at_most(what, row.change, PRESERVED)
    return Measurement.at_least(f"{what} (control)", row.change, CHANGED)


def _of_activations(rows: list[Row]) -> Iterable[Measurement]:
    """For each activation the largest change by a group that it allows, and the smallest by another one."""
    for network in dict.fromkeys(row.network for row in rows):
        mine = [row for row in rows if row.network == network]
        allowed = [row for row in mine if row.preserved]
        yield _measurement(max(allowed, key=lambda row: row.change)._replace(what=_listed(allowed)))
        if others := [row for row in mine if not row.preserved]:
            yield _measurement(min(others, key=lambda row: row.change)._replace(what=_listed(others)))


def _listed(rows: list[Row]) -> str:
    return ", ".join(row.what for row in rows)


def _laws() -> Iterable[Measurement]:
    """Products act one after the other; the relations of the dihedral group; phases are affine."""
    relu, sine = mlp([3, 6, 5, 2]), siren([3, 6, 5, 2])
    scales = replaced(relu.symmetry(), {"hidden1": MONOMIAL, "hidden2": MONOMIAL})
    matrices = mlp([3, 6, 5, 2], "identity").symmetry()
    for name, group in (("scales and permutations", scales), ("matrices", matrices), ("phases", PhaseGroup(sine))):
        yield Measurement.at_most(f"act(g h) against act(g) after act(h), {name}", _product_error(group), 1e-12)
        yield Measurement.at_most(f"act(g^-1) after act(g), {name}", _inverse_error(group), 1e-12)
    phases = PhaseGroup(siren([1, 1, 1]))
    turn, half, flip = (_phase(sign, turns) for sign, turns in ((1, 2), (1, 1), (-1, 0)))
    pairs = (
        (phases.compose(half, half), turn),
        (phases.compose(flip, phases.compose(half, flip)), phases.inverse(half)),
    )
    wrong = sum(a["hidden1"][1:] != b["hidden1"][1:] for a, b in pairs)
    yield Measurement.equal("relations of the dihedral group that fail", wrong, 0)
    theta, group = random_networks(sine, 1, generator()), PhaseGroup(sine)
    element = group.sample(1, generator(), dtype=torch.float64)
    bent = group.act(element, theta * 2) - group.act(element, theta) * 2
    yield Measurement.at_least(
        "phases: g(2 theta) - 2 g(theta), which is affine", float(bent.flatten().abs().max()), 0.1
    )


def _phase(sign: float, turns: float) -> dict[str, Phase]:
    return {"hidden1": Phase(None, torch.tensor([[float(sign)]]), torch.tensor([[float(turns)]]))}


def _product_error(group: Any) -> float:
    theta = random_networks(group.space, 4, generator())
    g, h = (_element(group, seed) for seed in (1, 2))
    return _difference(group.act(group.compose(g, h), theta), group.act(g, group.act(h, theta)))


def _inverse_error(group: Any) -> float:
    theta = random_networks(group.space, 4, generator())
    g = _element(group, 0)
    return _difference(group.act(group.inverse(g), group.act(g, theta)), theta)


def _element(group: SymmetryGroup | PhaseGroup, seed: int) -> Any:
    return group.sample(4, generator(seed), dtype=torch.float64)


def _difference(theta: WeightFeatures, phi: WeightFeatures) -> float:
    """The largest relative difference of a parameter."""
    pairs = zip(theta.tensors, phi.tensors, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def _dots(axes: Axes, dots: list[tuple[str, float, str, str]]) -> None:
    """A dot for each (line, change, colour, what the colour means)."""
    lines = list(dict.fromkeys(line for line, *_ in dots))
    meanings = list(dict.fromkeys((color, meaning) for *_, color, meaning in dots))
    for i, (color, meaning) in enumerate(meanings):
        shift = 0.6 * (i + 0.5) / len(meanings) - 0.3
        mine = [(change, lines.index(line) + shift) for line, change, c, _ in dots if c == color]
        axes.scatter([max(change, 1e-17) for change, _ in mine], [y for _, y in mine], color=color, label=meaning)
    axes.set_xscale("log")
    axes.set_xlabel("relative change of the function")
    axes.set_yticks(range(len(lines)), lines)
    axes.invert_yaxis()
    axes.legend()
