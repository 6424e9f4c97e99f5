"""Canon-MLP: a multilayer perceptron on the canonical form."""

from __future__ import annotations

from typing import Literal

from ..orbit import canonical_element
from ..space import GroupElement, SymmetryGroup, WeightFeatures, WeightSpace
from ._flat import FlatMLP, Moved
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["canon_mlp"]


@register("canon-mlp", standardize="orbit")
def canon_mlp(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 512,
    depth: int = 3,
    group: Literal["permutation", "largest"] = "permutation",
    dropout: float = 0.1,
) -> Body:
    """``MLP(flatten(canonical form))``; an equivariant output is brought back by the inverse element.

    Universal among the continuous invariant (equivariant) maps on networks without ties of sort keys; at a tie it is
    neither invariant nor continuous: see the margin of `weightspace.canonicalize`. The canonical form is that of the
    first input channel, the weights; all channels are moved alike.

    Source: the network that shows universality off the ties in arXiv 2602.01083.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: width of the layers.
        depth: number of linear layers.
        group: the symmetry to remove: "permutation", or the "largest" known one. Signs and scales are only removed with
            ``standardize="scale"`` or ``"none"``, since centring breaks them.
        dropout: probability.
    """
    symmetry = space.symmetry("permutation" if group == "permutation" else None)
    return Body(Moved(FlatMLP(space, ports, hidden, depth, dropout), symmetry, _to_canonical), symmetry)


def _to_canonical(theta: WeightFeatures, symmetry: SymmetryGroup) -> GroupElement:
    return canonical_element(theta.map(lambda t: t[..., :1]), symmetry)[0]
