"""Whether two networks are in the same orbit."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import SymmetryError
from ..space import SymmetryGroup, WeightFeatures, check_features
from ._normal import Normal, normalized
from ._order import ordered
from ._pairs import Pairs, differences, fitted_differences
from ._phase import PhaseGroup
from ._search import NO, OPEN, YES, search
from ._sine import normal_phase
from ._structure import check, relabelled

__all__ = ["same_orbit"]

_ANY = 4.0  # beyond every relative difference


def same_orbit(
    theta: WeightFeatures,
    phi: WeightFeatures,
    group: SymmetryGroup | PhaseGroup | str | None = None,
    tolerance: float | None = None,
) -> list[bool | None]:
    """Whether two networks differ by an element of the group, for each pair of two batches.

    Networks are compared after their scales, signs and matrices are normalised, and distances are relative to the
    largest entry of each parameter.

    * True: an element leads from one to the other, up to the tolerance: canonical forms agree, or a search finds one.
    * False: none does. Sorted entries differ, or colour refinement does, or no permutation that respects the colours
      leads from one to the other; always by more than the tolerance, in parameters on which general linear groups act
      divided by the smallest relative gap of singular values.
    * None: undecided. A neuron that nothing enters leaves its scale open, equal singular values leave matrices open,
      and the search is bounded: where colour refinement does not tell neurons apart, the problem is as hard as graph
      isomorphism.

    Off the networks with such ties the answer takes sorting time.

    Args:
        theta: raw weights (one channel) of B networks.
        phi: raw weights of B networks of the same space.
        group: as for `weightspace.canonicalize`.
        tolerance: the largest distance of networks that count as equal; eps^(2/3) of their dtype if None, 4e-11 in
            float64 and 2e-5 in float32.

    Raises:
        SymmetryError: for batches of different spaces, size or dtype; and as `weightspace.canonicalize` does.

    Example:
        >>> import weightspace as ws
        >>> space = ws.mlp([2, 8, 8, 1])
        >>> theta, phi = space.sample(2), space.sample(2)
        >>> moved = space.symmetry().act(space.symmetry().sample(2), theta)
        >>> ws.same_orbit(theta, moved), ws.same_orbit(theta, phi)
        ([True, True], [False, False])
    """
    check_features(theta, phi)
    if theta.space != phi.space:
        raise SymmetryError(f"the networks are of different weight spaces: {theta.space.difference(phi.space)}")
    if (len(theta), theta.dtype) != (len(phi), phi.dtype):
        raise SymmetryError(
            f"the batches do not pair up: {len(theta)} networks in {theta.dtype}, {len(phi)} in {phi.dtype}"
        )
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 <= tolerance < 1):
        raise SymmetryError(f"tolerance: expected a number from 0 to 1, found {tolerance!r}")
    tolerance = _default(theta, tolerance)
    theta, phi = theta.detach(), phi.detach()
    ours, sorting = _normal(theta, group)
    theirs, _ = _normal(phi, group)
    pairs = Pairs(ours.theta, theirs.theta, _reach(ours, theirs, tolerance), tolerance, sorting)
    different = differences(_sorted(ours.theta), _sorted(theirs.theta)) > pairs.reach
    verdict = torch.where(different.any(1), NO, OPEN)
    rest = (verdict == OPEN).nonzero().squeeze(1)
    first, second = (_form(normal, rest, sorting) for normal in (ours, theirs))
    verdict[rest] = torch.where((fitted_differences(first, second, sorting) <= tolerance).all(1), YES, OPEN)
    rest = (verdict == OPEN).nonzero().squeeze(1)
    if len(rest):
        verdict[rest] = search(pairs.chosen(rest))
    return [None if v == OPEN else bool(v) for v in verdict.tolist()]


def _default(theta: WeightFeatures, tolerance: float | None) -> float:
    return torch.finfo(theta.dtype).eps ** (2 / 3) if tolerance is None else tolerance


def _normal(theta: WeightFeatures, group: SymmetryGroup | PhaseGroup | str | None) -> tuple[Normal, SymmetryGroup]:
    """The networks without their scales, and the group that permutes what is left."""
    if group == "phase":
        group = PhaseGroup(theta.space)
    if isinstance(group, PhaseGroup):
        return normal_phase(theta, group), group.permutations
    if not isinstance(group, SymmetryGroup):
        group = theta.space.symmetry(group)
    check(theta, group.space)
    return normalized(theta, group), group


def _form(normal: Normal, chosen: Tensor, group: SymmetryGroup) -> WeightFeatures:
    """Some networks with their neurons sorted."""
    some = normal._replace(theta=normal.theta[chosen])
    return relabelled(some.theta, ordered(some, group)[0])


def _sorted(theta: WeightFeatures) -> WeightFeatures:
    """All entries of each parameter in ascending order, which no permutation changes."""
    return theta.map(lambda t: t.flatten(1).sort(dim=1).values)


def _reach(ours: Normal, theirs: Normal, tolerance: float) -> Float[Tensor, "batch parameters"]:
    """How far a parameter of two networks of one orbit may be from the other at most, once permuted."""
    space, floor = ours.theta.space, 4 * tolerance
    certainty = {n: torch.minimum(c, theirs.certainty[n]).double() for n, c in ours.certainty.items()}
    reach = []
    for parameter in space.parameters:
        sure = torch.ones(2, len(ours.theta), dtype=torch.float64, device=ours.theta.device)
        for name in {name for axis in parameter.axes for name, _ in axis.carried()} & certainty.keys():
            sure = torch.minimum(sure, certainty[name])
        reach.append(torch.where((sure > floor).all(0), tolerance / sure[0], _ANY))
    return torch.stack(reach, dim=1)
