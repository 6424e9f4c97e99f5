"""How many equivariant linear maps there are: a count by characters, without any layer."""

from __future__ import annotations

import itertools
import math

from .._errors import TheoryError
from ..space import SymmetryGroup, WeightSpace

__all__ = ["commutant_dimension"]

_LIMIT = 10**6  # elements to enumerate: a few seconds


def commutant_dimension(space: WeightSpace, symmetry: SymmetryGroup | None = None) -> int:
    """The dimension of the linear maps V -> V that commute with a group of permutations.

    It is the mean of the squared trace over the group, taken by enumeration. The trace of an element is the number of
    entries that it leaves where they are.

    Source: character theory of finite groups; for weight spaces Navon et al. (2023), arXiv 2301.12780.

    Args:
        space: weight space.
        symmetry: the group; permutations of hidden neurons if None.

    Raises:
        TheoryError: for a group with scales, or with more than a million elements.

    Example:
        >>> import weightspace as ws
        >>> commutant_dimension(ws.mlp([2, 3, 3, 2]))
        114
    """
    symmetry = symmetry or space.symmetry("permutation")
    if scaled := [g.name for g, f in zip(space.groups, symmetry.factors, strict=True) if f.scales != "none"]:
        raise TheoryError(f"expected a group of permutations, found scales on neuron group {scaled[0]!r}")
    moved = {g.units: g.size for g, f in zip(space.groups, symmetry.factors, strict=True) if f.permutes}
    elements = math.prod(math.factorial(size) for size in moved.values())
    if elements > _LIMIT:
        raise TheoryError(
            f"expected a group of at most {_LIMIT} elements, found {elements}; take fewer or smaller layers"
        )
    units = {g.name: g.units for g in space.groups}
    total = 0
    for chosen in itertools.product(*(_fixed_points(size).items() for size in moved.values())):
        fixed = dict(zip(moved, (points for (points, _) in chosen), strict=True))
        trace = sum(
            math.prod(fixed.get(units[a.group], a.size) if a.group else a.size for a in p.axes)
            for p in space.parameters
        )
        total += trace**2 * math.prod(count for _, count in chosen)
    return total // elements


def _fixed_points(size: int) -> dict[int, int]:
    """For each number of fixed points, how many permutations have it."""
    count: dict[int, int] = {}
    for permutation in itertools.permutations(range(size)):
        points = sum(i == p for i, p in enumerate(permutation))
        count[points] = count.get(points, 0) + 1
    return count
