"""A search for permutations that lead from one network to another: individualisation and refinement."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ._colors import classes, refine
from ._pairs import Pairs, fitted_differences
from ._structure import largest, permuted_units, relabelled

__all__ = ["NO", "OPEN", "YES", "search"]

YES, NO, OPEN = 1, 0, -1
_BRANCHES = 64  # open branches of the search for one pair
_ENTRIES = 2**24  # weights of all open branches together, for one pair and for all that are searched at once


def search(pairs: Pairs) -> Int[Tensor, "pairs"]:
    """YES or NO for each pair of normalised networks; OPEN where a tolerance or the size of the search leaves it so."""
    weights = 2 * pairs.theta.space.num_parameters
    limit = max(1, min(_BRANCHES, _ENTRIES // weights))
    parts = torch.arange(len(pairs.theta), device=pairs.theta.device).split(max(1, _ENTRIES // (limit * weights)))
    return torch.cat([_search(pairs.chosen(part), limit) for part in parts])


def _search(pairs: Pairs, limit: int) -> Int[Tensor, "pairs"]:
    """Individualisation and refinement, all open branches of all pairs at once.

    A branch is a pair with colours on both networks, and stands for the permutations that respect the colours. Where a
    colour occurs several times, one neuron of the first network gets a colour of its own, and with it, in a branch for
    each, one neuron of that colour in the second.
    """
    space, count = pairs.theta.space, len(pairs.theta)
    # entries of both networks of a pair side by side, numbered together
    both = [torch.stack(tensors, dim=1) for tensors in zip(pairs.theta.tensors, pairs.phi.tensors, strict=True)]
    entries = [
        classes(t.flatten(0, 1), 2, reach * largest(t)).view(t.shape)
        for t, reach in zip(both, pairs.reach.unbind(1), strict=True)
    ]
    sizes = {name: space.group(name).size for name in permuted_units(pairs.group)}
    origin = torch.arange(count, device=pairs.theta.device)
    colors = {name: torch.zeros(count, 2, n, dtype=torch.long, device=origin.device) for name, n in sizes.items()}
    found, unclear = torch.zeros(2, count, dtype=torch.bool, device=origin.device)
    while len(origin):
        refined = refine(space, [e[origin].flatten(0, 1) for e in entries], _flat(colors))
        colors = {name: c.unflatten(0, (-1, 2)) for name, c in refined.items()}
        alike, single = _compare(colors, len(origin), origin.device)
        distance = _aligned_differences(pairs, origin, colors)
        found[origin[alike & (distance <= pairs.tolerance).all(1)]] = True
        unclear[origin[alike & single & (distance <= pairs.reach[origin]).all(1)]] = True
        going = alike & ~single & ~found[origin]
        origin, colors = origin[going], {name: c[going] for name, c in colors.items()}
        if len(origin):
            origin, colors = _branch(origin, colors)
            branches = origin.bincount(minlength=count)
            unclear |= branches > limit  # unless one of those that are followed leads there
            place = torch.arange(len(origin), device=origin.device) - (branches.cumsum(0) - branches)[origin]
            origin, colors = origin[place < limit], {name: c[place < limit] for name, c in colors.items()}
    return torch.where(found, YES, torch.where(unclear, OPEN, NO))


def _flat(colors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: c.flatten(0, 1) for name, c in colors.items()}


def _compare(
    colors: dict[str, Tensor], count: int, device: torch.device
) -> tuple[Bool[Tensor, "branches"], Bool[Tensor, "branches"]]:
    """Whether all colours occur equally often in both networks, and whether none occurs twice in one."""
    alike, single = torch.ones(2, count, dtype=torch.bool, device=device)
    for color in colors.values():
        ours, theirs = color.sort(dim=2).values.unbind(1)
        alike, single = alike & (ours == theirs).all(1), single & (ours.diff(dim=1) > 0).all(1)
    return alike, single


def _aligned_differences(
    pairs: Pairs, origin: Tensor, colors: dict[str, Tensor]
) -> Float[Tensor, "branches parameters"]:
    """How far the networks are from each other once their neurons are sorted by colour."""
    orders = {name: color.argsort(dim=2, stable=True) for name, color in colors.items()}
    ours, theirs = (
        relabelled(networks[origin], {name: order[:, i] for name, order in orders.items()})
        for i, networks in enumerate((pairs.theta, pairs.phi))
    )
    return fitted_differences(ours, theirs, pairs.group)


def _branch(origin: Tensor, colors: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A branch for each neuron of the second network that may correspond to one of the first, of the rarest colour."""
    offsets, joined, fresh = 0, [], 0
    for color in colors.values():  # colours of different neuron groups become different
        joined.append(color + offsets)
        offsets += int(color.max()) + 1
    fresh, whole = offsets, torch.cat(joined, dim=2)
    ours, theirs = whole.unbind(1)
    numbers = ours + fresh * torch.arange(len(ours), device=ours.device)[:, None]
    _, inverse, counts = torch.unique(numbers, return_inverse=True, return_counts=True)
    often = counts[inverse]
    chosen = torch.where(often > 1, often, often.max() + 1).argmin(1, keepdim=True)
    branch, unit = (theirs == ours.gather(1, chosen)).nonzero(as_tuple=True)
    new = whole[branch]
    rows = torch.arange(len(branch), device=branch.device)
    new[rows, 0, chosen[branch, 0]] = fresh
    new[rows, 1, unit] = fresh
    parts = new.split([c.shape[2] for c in colors.values()], dim=2)
    return origin[branch], dict(zip(colors, parts, strict=True))
