"""Architectures convert into one another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from .._statement import Evidence, Measurement, statement
from ._conversion_rows import SCALES, against_radius, chains, maxima, single_layers, without_positions
from ._editor import trained_editor
from ._knots import KNOTS, fitted_edge_updates, interpolations

NAME = "equivalence"

LAWS = {"product": (1.0, -2.0), "SiLU": (4.0, -2.0), "square root": (0.5, -0.5)}
"""The error of a ReLU network with n knots in [-2, 2] (whose squares make the product), [-4, 4] and [0, 4]: c n^p."""


@statement(
    NAME,
    title="DWS, NP with positions, GMN and NG-GNN come near to the same functions",
    source="arXiv 2602.01083, Theorem 5.2, made exact and sharpened here",
    claim="""
    Four architectures for permutations of hidden neurons look very different: layers that hold all equivariant linear
    maps (DWSNets, and HNP-NFN, which has the same ones), layers with fewer of them and a code of the positions of
    inputs and outputs (NP-NFN), message passing on the graph of neurons (GMN), and message passing with several
    aggregations whose edges are updated late (NG-GNN). On networks whose weights are bounded, they come as near as you
    like to the same functions: the closures of what they can compute, in the largest error, are equal.

    The sets of functions themselves are not equal, since activations and functions of messages differ. With ReLU, means
    and sums, every conversion is exact on all weights of at most a given size, the radius; some are exact everywhere.
    What ReLU does not have, such as products and SiLU, must be approximated.

    Without the positions of inputs and outputs NP-NFN is strictly weaker: it gives two networks that differ by an
    exchange of their inputs the same features.
    """,
    construction="""
    Each conversion is a function that takes a network of this library and returns one made of the layers of the other
    architecture. DWS to NP: three layers for one; the entries of each input or output unit go to channels of their
    own, closed for other units by units relu(x - r q), where q is 0 or 1 and r the radius. NP to DWS: the same layers,
    as positions are constant. DWS to GMN: types of neurons and of edges are closed against each other in the same way,
    and messages carry sums through the network. GMN to NG-GNN: the edges compute the messages, the nodes multiply the
    mean with the number of senders. GMN to DWS: three layers for one, which bring to every weight what its ends know,
    pool, and map the result. The maximum of n numbers takes n - 1 ReLU layers.

    A network trained to edit weights, with batch normalisation and standardisation, is converted and compared on
    networks that it has not seen. Of what is not exact, the error is measured against the number of knots of a
    piecewise linear function, or the width of a fitted ReLU network.
    """,
)
def equivalence() -> Evidence:
    """Errors of conversions, of the maximum, and of what can only be approximated."""
    measured = trained_editor()
    with torch.no_grad():
        curves, knots = against_radius(), interpolations()
        measured += [*single_layers(), *chains(), *maxima(), *without_positions(), *fitted_edge_updates()]
    inside = max(e for errors in curves.values() for scale, e in zip(SCALES, errors, strict=True) if scale <= 1)
    measured.append(Measurement.at_most("all conversions, weights up to the radius", inside, 1e-12))
    for name in ("DWS to NP", "DWS to GMN"):
        measured.append(Measurement.at_least(f"{name}, weights of 4 times the radius", curves[name][-1], 1e-2))
    slopes = {name: math.log2(errors[-1] / errors[-2]) for name, errors in knots.items()}
    for name, (law, power) in LAWS.items():
        worst = max(error / (law * n**power) for n, error in zip(KNOTS, knots[name], strict=True))
        measured.append(Measurement.at_most(f"{name} by n knots: error / ({law:g} n^{power:g})", worst, 1.001))
        measured.append(Measurement.within(f"{name}: slope of the error", slopes[name], power - 0.02, power + 0.02))

    def draw(figure: Figure) -> None:
        exact, near = figure.subplots(1, 2)
        for (name, errors), style in zip(curves.items(), ("C0o-", "C1s--", "C2^:", "C4v-."), strict=True):
            exact.semilogy(SCALES, [max(error, 1e-17) for error in errors], style, label=name)
        exact.axvline(1, color="C3", linestyle=":")
        exact.set(title="Conversions are exact up to their radius", xlabel="largest weight / radius")
        exact.set_ylabel("largest error / largest output")
        exact.legend()
        for (name, errors), style in zip(knots.items(), ("C0o-", "C1s--", "C2^:"), strict=True):
            near.loglog(KNOTS, errors, style, label=f"{name}, slope {slopes[name]:.2f}")
        near.set(title="What ReLU only comes near to", xlabel="knots", ylabel="largest error")
        near.legend()

    return Evidence(tuple(measured), draw)
