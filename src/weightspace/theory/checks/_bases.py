"""The linear layers are complete."""

from __future__ import annotations

from ...models import all_permutations
from ...nn import EquivariantLinear
from ...space import mlp
from .._commutant import commutant_dimension
from .._statement import Evidence, Measurement, statement

NAME = "bases"


@statement(
    NAME,
    title="The linear layers hold every equivariant linear map",
    source="arXiv 2301.12780 (DWSNets) and 2302.14040 (NFN), sharpened here",
    claim="""
    The linear maps on weights that commute with all permutations of hidden neurons form a vector space, whose dimension
    is the mean of the squared trace over the group. A basis has one element for each parameter to read, each parameter
    to write, and each choice of neuron groups that both carry: these are tied, the others summed on the input
    and broadcast on the output.

    So DWSNets and HNP-NFN, which commute with the same group, have the same linear layers. NP-NFN permutes input and
    output neurons too, and has fewer.
    """,
    construction="""
    The coefficients of this library's equivariant linear layer are counted and compared with the dimension by
    enumeration of the group, which knows nothing of layers.
    """,
)
def bases() -> Evidence:
    """Coefficients of the layers, and dimensions of the commutants."""
    measured = []
    for dims in ([2, 3, 3, 2], [2, 3, 2], [1, 2, 3, 2], [2, 2, 2, 2, 1], [1, 4, 4, 1]):
        space = mlp(dims)
        for kind, symmetry in (("DWS", space.symmetry("permutation")), ("NP", all_permutations(space))):
            if kind == "NP" and 1 in dims:
                continue  # tied and summed are the same on an axis of one unit
            layer = EquivariantLinear(space, 1, 1, symmetry=symmetry)
            count = sum(p.numel() for p in layer.linear_parameters())
            name = f"coefficients of the {kind} layer on {'-'.join(map(str, dims))}"
            measured.append(Measurement.equal(name, count, commutant_dimension(space, symmetry)))
    return Evidence(tuple(measured))
