"""The expressivity map, cell by cell."""

from __future__ import annotations

from .._map import expressivity_map
from .._statement import Evidence, Measurement, statement

NAME = "map"


@statement(
    NAME,
    title="The map: which architecture is universal for what, and on which networks",
    source="arXiv 2602.01083, figure 1, sharpened here",
    claim="""
    Universal means: on every compact set of networks the architecture comes as near as you like to every continuous
    target, in the largest error. DWS (with means in the place of maxima), HNP-NFN, NP-NFN with positions, GMN, NG-GNN
    and NFT have the same verdicts. For functionals of the function they are universal everywhere. For invariant
    functionals and for equivariant operators they are universal on networks in general position and on networks with
    one hidden layer, and not on all networks with more. For operators on functions it depends on what is predicted, in
    an equivariant way: one network of the architecture of the inputs never suffices; if inputs and predictions may be
    as wide as it takes, it suffices in general position only; the mean of many networks suffices everywhere.

    NFT tells more networks apart than the others, but not all, so its verdicts are the same. An MLP of the canonical
    form comes near to everything, but where neurons tie it is invariant only up to its error. NP-NFN without positions
    of inputs and outputs is universal for nothing, if there are several of them.

    If the error is a mean over a set of positive volume, ties do not count, and all verdicts become those in general
    position: approximate well outside a small neighbourhood of the ties, and cut off what goes wrong inside.
    """,
    construction="""
    Every cell is run. Where the verdict is no because of what networks on weights can see, a counterexample is shown to
    random weights of the architecture; where it is no because of the predicted network, that is bounded. Where it is
    yes, the construction of the other statements is carried out, by a DWS network, and a random DWS network is
    converted to the architecture (for HNP-NFN, whose layers are the same, dimensions are compared; GMN and NG-GNN have
    ReLU); on networks with one hidden layer 120 orbits are counted. The number for each cell is how many of its
    measurements agree.
    """,
)
def cells() -> Evidence:
    """All witnesses of the map."""
    found = expressivity_map()
    measured = []
    for verdict, numbers in found.verify().items():
        if verdict.target == "operator on functions":
            where = f"{verdict.domain}, predicts {verdict.output}"
        else:
            where = f"{verdict.domain}, {verdict.hidden_layers or 'any'} hidden"
        name = f"{verdict.architecture}, {verdict.target}, {where}: {'yes' if verdict.universal else 'no'}"
        measured.append(Measurement.equal(name, sum(m.holds for m in numbers), len(numbers)))
    return Evidence(tuple(measured), found.draw)
