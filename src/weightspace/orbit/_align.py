"""Alignment: the group element that brings one network as near as possible to another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import SymmetryError
from ..group import Monomial
from ..space import GroupElement, SymmetryGroup, WeightFeatures, check_features
from ._ascent import Ascent
from ._balance import balance
from ._correlation import correlations
from ._families import families
from ._match import match
from ._start import anchor, sort_units

__all__ = ["Alignment", "align"]

_STARTS: dict[str, Callable[[Ascent], None]] = {
    "anchored": anchor,
    "bias_sort": sort_units,
    "identity": lambda _: None,
}


class Alignment(NamedTuple):
    """A batch of networks, each aligned to another one.

    Attributes:
        element: the group elements g.
        theta: the aligned networks, ``group.act(element, phi)``.
        cosine: [batch], of the angle between the two networks of smallest norm in their orbits, the one moved by the
            alignment: 1 if they are in one orbit and the alignment has found out.
    """

    element: GroupElement
    theta: WeightFeatures
    cosine: Float[Tensor, "batch"]


def align(
    theta: WeightFeatures,
    phi: WeightFeatures,
    group: SymmetryGroup | str | None = None,
    init: Literal["anchored", "bias_sort", "identity"] = "anchored",
    *,
    iterations: int = 100,
    activations: Tensor | tuple[Tensor, ...] | None = None,
) -> Alignment:
    """Moves each network of ``phi`` within its orbit, as near as it finds to the one of ``theta``.

    First, scales and general matrices bring both networks to the smallest norm in their orbits, where permutations,
    signs and rotations are left. These are found by coordinate ascent on the inner product (weight matching; Ainsworth,
    Hayase and Srinivasa, 2023, arXiv 2209.04836): one neuron group after the other gets the best element there is while
    all other ones are held fast, by a linear assignment whose scores come from all parameters that carry the group. The
    sign of a pair of units is that of their inner product, and heads are compared after the best rotation of their
    coordinates (orthogonal Procrustes). No step lowers the inner product. All pairs are treated at once; each stops
    when no neuron group of its own can be improved.

    Args:
        theta: raw weights of B networks, or of one.
        phi: raw weights of B networks of the same space, or of one.
        group: the symmetry, or its name; the largest known one if None.
        init: where the ascent starts. "anchored": every neuron group is matched once, in a suitable order, by the
            entries that lead to neurons which are matched already or never move; "bias_sort": the neurons of both
            networks in the order of their biases; "identity": as they are.
        iterations: most sweeps over all neuron groups.
        activations: inputs, as `WeightSpace.realize` takes them. If given, units are matched by the correlation of what
            they compute on these inputs instead of by their weights (Li et al., 2016, arXiv 1511.07543).

    Returns:
        The group elements, and the networks ``phi`` moved by them; gradients pass through the latter.

    Raises:
        SymmetryError: for networks of different spaces, weight features with several channels, numbers of networks
            that do not fit, an unknown start, and units whose activations are not known.

    Example:
        >>> import weightspace as ws
        >>> space = ws.mlp([2, 16, 16, 1])
        >>> group = space.symmetry()
        >>> theta = space.sample(5)
        >>> phi = group.act(group.sample(5), theta)
        >>> bool((ws.align(theta, phi).theta - theta).flatten().abs().max() < 1e-4)
        True
    """
    check_features(theta, phi)
    if not isinstance(group, SymmetryGroup):
        group = theta.space.symmetry(group)
    _check(theta, phi, group, init)
    batch = max(len(theta), len(phi))
    phi = _repeated(phi, batch)
    fixed, moved = _precise(_repeated(theta, batch)), _precise(phi)
    element: GroupElement = {neurons.name: Monomial() for neurons in group.space.groups}
    with torch.no_grad():
        scaled = any(factor.scales not in ("none", "signs") for factor in group.factors)
        there, here = _gauges(fixed, moved, group) if scaled else (element, element)
        pair = (group.act(there, fixed), group.act(here, moved)) if scaled else (fixed, moved)
        found = families(group)
        ascent = Ascent(found, *pair)
        if activations is not None:
            for family, scores in zip(found, correlations(found, moved, fixed, activations), strict=True):
                ascent.place(family, match(family, scores).element)
        else:
            _STARTS[init](ascent)
            ascent.run(iterations)
        element |= ascent.element
        if scaled:
            element = group.compose(group.inverse(there), group.compose(element, here))
    return Alignment(element, group.act(element, phi), ascent.cosine())


def _check(theta: WeightFeatures, phi: WeightFeatures, group: SymmetryGroup, init: str) -> None:
    for networks in (theta, phi):
        if not len(networks):
            raise SymmetryError("networks to align: found a batch of none")
        if networks.space != group.space:
            raise SymmetryError(
                f"the group and the networks are of different weight spaces: {group.space.difference(networks.space)}"
            )
        if networks.channels != 1:
            raise SymmetryError(
                f"networks are aligned, which have 1 channel; found weight features with {networks.channels}"
            )
    if theta.dtype != phi.dtype or theta.device != phi.device:
        raise SymmetryError(
            f"theta is {theta.dtype} on {theta.device}, phi is {phi.dtype} on {phi.device}; use phi.to(...)"
        )
    if len(theta) != len(phi) and 1 not in (len(theta), len(phi)):
        raise SymmetryError(f"{len(theta)} networks cannot be paired with {len(phi)}; expected as many, or one")
    if init not in _STARTS:
        raise SymmetryError(f"init: expected one of {', '.join(_STARTS)}, found {init!r}")


def _gauges(fixed: WeightFeatures, moved: WeightFeatures, group: SymmetryGroup) -> list[GroupElement]:
    """For each of the networks the element that leads to the smallest norm."""
    together: dict[str, Any] = balance(fixed.map(lambda *both: torch.cat(both), moved), group)

    def half(matrix: Any, rows: slice) -> Any:
        return type(matrix)(*(None if part is None else part[rows] for part in matrix))

    middle = len(fixed)
    return [{n: half(m, rows) for n, m in together.items()} for rows in (slice(middle), slice(middle, None))]


def _repeated(theta: WeightFeatures, batch: int) -> WeightFeatures:
    return theta if len(theta) == batch else theta.map(lambda t: t.expand(batch, *t.shape[1:]))


def _precise(theta: WeightFeatures) -> WeightFeatures:
    """Without gradients, in single precision at least."""
    return theta.detach().to(torch.promote_types(theta.dtype, torch.float32))
