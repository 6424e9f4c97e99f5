"""What a group element in front of each output can and cannot bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from .._statement import Evidence, Measurement, statement
from ._quasi_rows import Effect, clones, effects, functions, left, orbits, ranges, refusals

NAME = "quasi-equivariance"

_DRAWS = 10_000


@statement(
    NAME,
    title="An element of the group that all channels share is not seen by invariant outputs",
    source="definition and construction: arXiv 2604.23720; that they are inert, and the form for channels: ours",
    claim="""
    A map F on weights is quasi-equivariant if it takes orbits to orbits: for each g and theta there is a g' in the
    group with F(g theta) = g' F(theta). If beta is equivariant, F(theta) = alpha(theta) beta(theta) is such a map for
    every alpha whose values are group elements, of any features whatever, and g' is
    alpha(g theta) g alpha(theta)^-1. It is equivariant only where g' can be replaced by g.

    Such an alpha is inert. If all channels share it, an equivariant layer passes it on and an invariant head does
    not see it: the output of the whole network is that without any alpha, and the gradient for alpha is zero. So are
    the functions that the new weights compute. Only losses on the weights themselves see it.

    With an alpha for each channel the output changes. It stays invariant if alpha(g theta) = g alpha(theta) g^-1, that
    is, if the scales of a neuron come from features that move with the neuron and that scales leave alone; the layer is
    then equivariant. From statistics of the raw weights it does not stay invariant.

    A continuous alpha that can be trained needs a group that is not discrete. Scales 1 + eps sin(.) are positive if eps
    is below 1, matrices I + eps sin(.) of size n have positive determinants if eps n is below 1, and no larger bound
    holds for all. What is reached is bounded too: with eps = 1/2 it takes 18 layers to scale a neuron by 1000, and
    10 to scale it by 1/1000.

    Not every quasi-equivariant map is of this form: neurons that cannot be told apart come out as such, up to scales,
    whereas a constant map may part them. And to preserve equality of functions is the same as to take orbits to orbits
    only where the functions determine the orbit. Networks with clones need not: to square the last weights
    commutes with permutations, and takes two networks of one function to two functions.
    """,
    construction="""
    Layers of this library on random ReLU networks and transformers in float64, and random group elements, in which
    heads are permuted and their coordinates multiplied by matrices. The invariant network has two such layers, a
    ReLU between them, and a pool of directions over the channels. Random sines show how often a matrix leaves the
    identity component.
    """,
)
def quasi_equivariance() -> Evidence:
    """Cocycles, what each form does to an invariant output, safe bounds, ranges, clones and refusals."""
    found = effects()
    measured = [*orbits(), *functions(), *_of(found)]
    fractions = {n: [left(n, x / n, 1000) for x in _SCALED] for n in (2, 4, 8)}
    safe = sum(left(n, 0.999 / n, _DRAWS) for n in fractions) + left(8, 0.999, _DRAWS, spectral=True)
    measured += [
        Measurement.equal(
            "matrices with eps n = 0.999, or a spectral norm of 0.999, that leave the component", safe, 0
        ),
        Measurement.within("fraction that leaves it with eps = 0.5, n = 8", left(8, 0.5, _DRAWS), 0.19, 0.25),
        *ranges(),
        *clones(),
        refusals(),
    ]

    def draw(figure: Figure) -> None:
        leaving, forms = figure.subplots(1, 2)
        _draw_fractions(leaving, fractions)
        _draw_effects(forms, found)

    return Evidence(tuple(measured), draw)


_SCALED = tuple(0.5 * k for k in range(17))
"""Values of eps n in the picture."""


def _of(found: list[Effect]) -> list[Measurement]:
    shared, features, raw = found
    return [
        Measurement.at_most(f"alpha {shared.form}: change of the output", shared.change, 1e-12),
        Measurement.at_most(f"alpha {shared.form}: gradient for alpha", shared.alpha, 1e-12),
        Measurement.at_least(f"alpha {shared.form}: gradient for beta", shared.beta, 1e-3),
        Measurement.at_most(f"alpha {shared.form}: change along orbits", shared.variation, 1e-9),
        Measurement.at_least(f"alpha {features.form}: change of the output", features.change, 1e-2),
        Measurement.at_least(f"alpha {features.form}: gradient for alpha", features.alpha, 1e-3),
        Measurement.at_most(f"alpha {features.form}: change along orbits", features.variation, 1e-9),
        Measurement.at_least(f"alpha {raw.form}: change of the output", raw.change, 1e-2),
        Measurement.at_least(f"alpha {raw.form}: change along orbits", raw.variation, 1e-2),
    ]


def _draw_fractions(axes: Axes, fractions: dict[int, list[float]]) -> None:
    for n, values in fractions.items():
        axes.plot(_SCALED, values, ".-", label=f"n = {n}")
    axes.axvspan(0, 1, color="C7", alpha=0.3, label="safe for all")
    axes.set(title="Random matrices I + ε sin(·)", xlabel="ε n", ylabel="fraction outside the identity component")
    axes.legend()


def _draw_effects(axes: Axes, found: list[Effect]) -> None:
    places = range(len(found))
    for name, values, offset in (
        ("change of the output", [effect.change for effect in found], -0.1),
        ("change along orbits", [effect.variation for effect in found], 0.1),
    ):
        axes.semilogx([max(value, 1e-18) for value in values], [place + offset for place in places], "o", label=name)
    axes.set_yticks(places, [effect.form.replace(", ", ",\n") for effect in found])
    axes.set(title="α in front of an invariant head", xlabel="largest difference", ylim=(-0.6, len(found) - 0.4))
    axes.legend()
