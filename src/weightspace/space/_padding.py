"""Batches of different architectures: networks whose layers correspond share a bucket, padded with zeros."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from .._errors import SpaceError
from ._features import WeightFeatures
from ._padded import PaddedBatch, PaddedFeatures, inside
from ._space import WeightSpace

__all__ = ["last_word", "pad"]


def last_word(name: str) -> str:
    """The last word of a parameter's name, by which those of other layers are called too."""
    return re.sub(r"\[.*", "", name).rpartition(".")[2]


def pad(networks: Sequence[WeightFeatures], *, waste: float = 2.0) -> PaddedBatch:
    """Puts networks of different architectures into one batch, which `PaddedBatch.unpad` takes apart again exactly.

    Networks whose neuron groups and parameters correspond one to one, in depth and in what they join, share a bucket;
    they may differ in widths, in lengths of plain axes (taps of a convolution, whose middles are aligned) and in
    activations. A network function that takes the batch runs once for each bucket.

    Args:
        networks: weight features, each of one or more networks of one architecture.
        waste: a bucket is split where padding would make it more than so many times as large.

    Raises:
        SpaceError: for no networks, for such that differ in channels, dtype or device, and a waste below 1.

    Example:
        >>> import weightspace as ws
        >>> batch = ws.pad([ws.mlp([2, n, 1]).sample(3) for n in (5, 8, 6)])
        >>> len(batch), len(batch.buckets), batch.unpad()[1].space.summary()
        (9, 1, '2-8-1')
    """
    networks = list(networks) if isinstance(networks, Iterable) else [networks]
    _check(networks)
    if not isinstance(waste, int | float) or not waste >= 1:
        raise SpaceError(f"waste: expected a number from 1 on, of how many times as large a bucket is; found {waste!r}")
    groups: dict[Any, list[int]] = {}
    for i, theta in enumerate(networks):
        groups.setdefault(_skeleton(theta.space), []).append(i)
    rows = [part for members in groups.values() for part in _split(networks, members, waste)]
    places: dict[int, tuple[int, int]] = {i: (b, n) for b, row in enumerate(rows) for n, i in enumerate(row)}
    start, first = 0, {}
    for i in (i for row in rows for i in row):
        first[i], start = start, start + len(networks[i])
    order = torch.cat([torch.arange(first[i], first[i] + len(theta)) for i, theta in enumerate(networks)])
    buckets = tuple(_bucket([networks[i] for i in row]) for row in rows)
    return PaddedBatch(buckets, tuple(places[i] for i in range(len(networks))), order.to(networks[0].device))


def _check(networks: Sequence[WeightFeatures]) -> None:
    if not networks or not all(isinstance(theta, WeightFeatures) for theta in networks):
        wrong = next((type(theta).__name__ for theta in networks if not isinstance(theta, WeightFeatures)), "none")
        raise SpaceError(f"pad takes a list of weight features, each of one architecture; found {wrong}")
    for what in ("channels", "dtype", "device"):
        found = list(dict.fromkeys(getattr(theta, what) for theta in networks))
        if len(found) > 1:
            raise SpaceError(f"pad: networks of one batch have one {what}, found {found[0]} and {found[1]}")


def _skeleton(space: WeightSpace) -> Any:
    """What two spaces must have in common to share a bucket: all but the sizes of hidden groups and of plain axes."""
    place = {group.name: i for i, group in enumerate(space.groups)}
    groups = [
        (g.kind, g.kind == "hidden" or g.size, place[g.units], place.get(g.over or ""), g.symmetry.permutes)
        for g in space.groups
    ]
    parameters = [
        (
            last_word(p.name),
            *((place.get(a.group or ""), a.side, a.diagonal and (place[a.diagonal[0]], a.diagonal[1])) for a in p.axes),
        )
        for p in space.parameters
    ]
    return tuple(groups), tuple(parameters)


def _split(networks: Sequence[WeightFeatures], members: Sequence[int], waste: float) -> list[list[int]]:
    """Networks of one skeleton in buckets, by size."""
    found: list[list[int]] = []
    count, real = 0, 0
    widest: list[tuple[int, ...]] = []
    for i in sorted(members, key=lambda i: networks[i].space.num_parameters):
        shapes, n = [p.shape for p in networks[i].space.parameters], len(networks[i])
        wider = _widest(widest, shapes) if found else shapes
        own = n * networks[i].space.num_parameters
        if found and (count + n) * sum(map(math.prod, wider)) <= waste * (real + own):
            found[-1].append(i)
            count, real, widest = count + n, real + own, wider
        else:
            found.append([i])
            count, real, widest = n, own, shapes
    return found


def _widest(a: Sequence[tuple[int, ...]], b: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [tuple(map(max, *shapes)) if shapes[0] else () for shapes in zip(a, b, strict=True)]


def _bucket(networks: Sequence[WeightFeatures]) -> PaddedFeatures:
    """Networks of one skeleton in one tensor for each parameter."""
    spaces = [theta.space for theta in networks]
    space, counts = _padded_space(spaces), tuple(map(len, networks))
    tensors = []
    for n, padded in enumerate(space.parameters):
        own = [theta.tensors[n] for theta in networks]
        if len(set(t.shape[1:] for t in own)) == 1:
            tensors.append(torch.cat(own) if len(own) > 1 else own[0])
            continue
        whole, row = own[0].new_zeros(sum(counts), *padded.shape, own[0].shape[-1]), 0
        for one, t in zip(spaces, own, strict=True):
            whole[(slice(row, row + len(t)), *inside(one.parameters[n], padded))] = t
            row += len(t)
        tensors.append(whole)
    sizes = [[group.size for group in one.groups] for one in spaces]
    plain = [[axis.size for p in one.parameters for axis in p.axes if axis.group is None] for one in spaces]
    repeats = torch.tensor(counts)
    return PaddedFeatures(
        WeightFeatures(space, tuple(tensors)),
        tuple(spaces),
        counts,
        *(torch.tensor(rows).repeat_interleave(repeats, 0).to(tensors[0].device) for rows in (sizes, plain)),
    )


def _padded_space(spaces: Sequence[WeightSpace]) -> WeightSpace:
    """The weight space of the widest of each; names and activations are those of the first."""
    first, *_ = spaces
    if all(space == first for space in spaces):
        return first
    groups = tuple(
        dataclasses.replace(group, size=max(space.groups[i].size for space in spaces))
        for i, group in enumerate(first.groups)
    )
    parameters = tuple(
        dataclasses.replace(
            p,
            axes=tuple(
                dataclasses.replace(axis, size=max(space.parameters[i].axes[a].size for space in spaces))
                for a, axis in enumerate(p.axes)
            ),
        )
        for i, p in enumerate(first.parameters)
    )
    return WeightSpace(groups, parameters)
