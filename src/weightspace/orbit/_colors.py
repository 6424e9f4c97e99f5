"""Colour refinement: neurons told apart by what enters and leaves them, by exact comparison."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._normal import normalized
from ._structure import check, permuted_units, units_of

__all__ = ["classes", "refine", "wl_colors"]


def wl_colors(theta: WeightFeatures, group: SymmetryGroup | str | None = None) -> dict[str, Int[Tensor, "batch n"]]:
    """Colours of the neurons by colour refinement (1-WL) on the weighted graph of the networks.

    Two neurons get one colour only if all parameters look the same from both: equal entries, that lead to neurons of
    equal colours. Colours are comparable between the networks of the batch: in two networks of the same orbit each
    colour occurs equally often. The converse holds where no network has a colour twice in a neuron group, and fails
    for such as `weightspace.theory.wl_pair`. Neurons that the group does not permute are numbered.

    Entries count as equal if their floats are; nothing is rounded. The scales of the group are divided out before, and
    what rounding does to entries that are equal in exact arithmetic keeps them apart. Under permutations and signs
    there is no rounding.

    Args:
        theta: raw weights (one channel).
        group: the symmetry, or its name; the largest known one if None.

    Returns:
        For each neuron group [batch, n] whole numbers from 0.

    Raises:
        SymmetryError: as `weightspace.canonicalize` does.

    Example:
        >>> import torch, weightspace as ws
        >>> colors = wl_colors(ws.siren([2, 8, 1]).sample(1))   # its hidden biases are all zero
        >>> len(colors["hidden1"].unique())
        8
    """
    if not isinstance(group, SymmetryGroup):
        group = theta.space.symmetry(group)
    check(theta, group.space)
    space, batch = theta.space, len(theta)
    free = list(permuted_units(group))
    normal = normalized(theta.detach(), group).theta
    zero = {name: torch.zeros(batch, space.group(name).size, dtype=torch.long, device=theta.device) for name in free}
    entries = [classes(tensor, batch) for tensor in normal.tensors]
    colors = refine(space, entries, zero, until_discrete=False) if free else {}
    numbers = {g.name: torch.arange(g.size, device=theta.device).expand(batch, -1) for g in space.groups}
    return {g.name: colors.get(g.units, numbers[g.name]) for g in space.groups}


def classes(x: Tensor, together: int, reach: Tensor | float = 0.0) -> Tensor:
    """Numbers equal entries alike, in ascending order of the entries.

    Args:
        x: [batch, ...], the batch in sets of networks that are compared with each other.
        together: size of the sets, which follow one another.
        reach: entries count as equal if a chain of entries leads from one to the other whose steps are no larger than
            this; a number, or one for each set.

    Returns:
        Whole numbers of the shape of x, comparable within each set.
    """
    flat = x.detach().reshape(x.shape[0] // together, -1)
    ascending, index = flat.sort(dim=1)
    rank = torch.zeros_like(index)
    rank[:, 1:] = (ascending.diff(dim=1) > torch.as_tensor(reach).to(flat).reshape(-1, 1)).cumsum(1)
    return torch.empty_like(rank).scatter_(1, index, rank).view(x.shape)


class _View(NamedTuple):
    """What one axis of a parameter shows to the units on it."""

    parameter: int
    axis: int
    others: tuple[tuple[int, str, bool], ...]  # other permuted axes, their units, and whether the units are the same


def _views(space: WeightSpace, free: Iterable[str]) -> dict[str, list[_View]]:
    views: dict[str, list[_View]] = {name: [] for name in free}
    for index, parameter in enumerate(space.parameters):
        units = [(i, units_of(space, axis)) for i, axis in enumerate(parameter.axes, start=1)]
        moving = [(i, name) for i, name in units if name in views]
        for axis, name in moving:
            if name is not None:
                views[name].append(_View(index, axis, tuple((i, str(n), n == name) for i, n in moving if i != axis)))
    return views


def refine(
    space: WeightSpace, entries: list[Tensor], colors: dict[str, Tensor], *, until_discrete: bool = True
) -> dict[str, Tensor]:
    """The coarsest refinement of some colours in which neurons of one colour see the same.

    New colours are numbered in an order that depends on old colours and entries alone, old colours first.

    Args:
        space: the weight space.
        entries: for each parameter [batch, *axes, 1], whole numbers by which its entries are told apart.
        colors: for each neuron group that is permuted [batch, n]; the others are fixed.
        until_discrete: whether to stop once no network has a colour twice in a neuron group, although colours that two
            networks share may still tell them apart.
    """
    views = _views(space, colors)
    entries = [
        _dense(
            _with_places(tensor, [i for i, axis in enumerate(p.axes, start=1) if units_of(space, axis) not in views])
        )
        for p, tensor in zip(space.parameters, entries, strict=True)
    ]
    count = -1
    while True:
        distinct = sum(int(c.max()) + 1 for c in colors.values())
        if distinct == count or (until_discrete and count >= 0 and _discrete(colors)):
            return colors
        count = distinct
        colors = {name: _refined(colors, colors[name], views[name], entries) for name in colors}


def _discrete(colors: dict[str, Tensor]) -> bool:
    return all(bool((color.sort(dim=1).values.diff(dim=1) > 0).all()) for color in colors.values())


def _refined(colors: dict[str, Tensor], own: Tensor, views: list[_View], entries: list[Tensor]) -> Tensor:
    """One round for one neuron group: its colour together with the multisets that it sees."""
    seen = [own, *(_seen(view, entries[view.parameter], colors) for view in views)]
    return _dense_rows(torch.stack(seen, dim=2))


def _seen(view: _View, entries: Tensor, colors: dict[str, Tensor]) -> Tensor:
    """[batch, n] a number for the multiset of entries that each unit sees, with the colours that they lead to."""
    units = entries.shape[view.axis]
    for i, (axis, name, same) in enumerate(view.others):
        color = colors[name]
        numbers = entries if i == 0 else _dense(entries)
        entries = numbers * (int(color.max()) + 1) + _along(color, axis, entries.dim())
        if same:  # the diagonal is seen
            shape = [units if i in (view.axis, axis) else 1 for i in range(entries.dim())]
            entries = entries * 2 + torch.eye(units, dtype=torch.long, device=entries.device).view(shape)
    rows = entries.movedim(view.axis, 1).flatten(2).sort(dim=2).values
    return _dense_rows(rows)


def _with_places(entries: Tensor, fixed: list[int]) -> Tensor:
    """Tells entries apart by their places along fixed axes too."""
    for axis in fixed:
        size = entries.shape[axis]
        entries = entries * size + _along(torch.arange(size, device=entries.device)[None], axis, entries.dim())
    return entries


def _along(values: Tensor, axis: int, dims: int) -> Tensor:
    """[batch, n] as a tensor of some dimensions, n along an axis."""
    shape = [1] * dims
    shape[0], shape[axis] = values.shape
    return values.view(shape)


def _dense(x: Tensor) -> Tensor:
    """Whole numbers without gaps, in the same order."""
    number: Tensor = torch.unique(x, return_inverse=True)[1]
    return number


def _dense_rows(x: Tensor) -> Tensor:
    """[batch, n, m] -> [batch, n]: numbers for the rows in lexicographic order."""
    number: Tensor = torch.unique(x.flatten(0, 1), dim=0, return_inverse=True)[1]
    return number.view(x.shape[:2])
