"""Rules of operations that go by the numbers of entries: lookups, sorting, scattering, windows."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, fixed, neurons, rule, stuck
from ._unify import neutral, times, unify
from ._views import regroup
from ._wires import Axis, axis_size, fix, fresh, restrict

__all__: list[str] = []


def _fix_all(tensor: Any) -> None:
    if isinstance(tensor, Traced):
        for axis in tensor.axes:
            fix(axis)


@rule("embedding")
def embedding(op: Op) -> Traced:
    """Rows by number: these are inputs, which stay where they are."""
    weight, numbers = op.args[:2]
    _fix_all(numbers)
    neurons(weight.axes)
    for factor in weight.axes[0]:
        factor.units.root.role = "input"
    fix(weight.axes[0])
    return Traced((*stuck(op.shapes[0][:-1]), weight.axes[1]))


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(op: Op) -> list[Traced]:
    """Sums of rows, or their maximum."""
    weight = op.args[0]
    for tensor in op.args[1:]:
        _fix_all(tensor)
    if op.get(4, "mode", 0) == 2:
        restrict(weight.axes[1], positive=True)
    rows = embedding(Op("aten.embedding", (weight, None), {}, op.shapes))
    return [rows, *(Traced(stuck(shape)) for shape in op.shapes[1:])]


@rule("index")
def index(op: Op) -> Any:
    """The axes by whose numbers entries are taken stay as they are."""
    x, numbers = op.args[:2]
    for tensor in numbers:
        _fix_all(tensor)
    places = [i for i, number in enumerate(numbers) if number is not None]
    new = len(op.shapes[0]) - (len(x.axes) - len(places))
    if places != list(range(places[0], places[-1] + 1)) or new < 0:
        return fixed(op)
    for place in places:
        fix(x.axes[place])
    before, after = x.axes[: places[0]], x.axes[places[-1] + 1 :]
    return Traced((*before, *stuck(op.shapes[0][places[0] : places[0] + new]), *after))


@rule("index_select", "roll", "flip", "tril", "triu")
def by_number(op: Op) -> Traced:
    """Axes whose entries are taken by number stay as they are; nothing happens along the others."""
    name, x = op.name.removeprefix("aten."), op.args[0]
    dims = {"roll": op.get(2, "dims"), "tril": [-2, -1], "triu": [-2, -1]}.get(name, op.get(1, "dim", -1))
    places = _places(x, dims)
    if name == "index_select":
        _fix_all(op.args[2])
    return Traced(tuple(_stuck(axis, n) if i in places else axis for i, (axis, n) in _numbered(x, op)))


def _places(x: Traced, dims: Any) -> set[int]:
    rank = len(x.axes)
    return {d % rank for d in ([dims] if isinstance(dims, int) else dims or range(rank))} if rank else set()


def _numbered(x: Traced, op: Op) -> Any:
    return enumerate(zip(x.axes, op.shapes[0], strict=True))


def _stuck(axis: Axis, n: int) -> Axis:
    fix(axis)
    return stuck((n,))[0]


@rule("sort", "topk")
def sort(op: Op) -> list[Traced]:
    """Sorted values do not know where they came from; their numbers do."""
    x = op.args[0]
    places = _places(x, op.get(2 if op.name == "aten.topk" else 1, "dim", -1))
    values: list[Axis] = []
    for i, (axis, n) in _numbered(x, op):
        restrict(axis, positive=i not in places)
        if i in places and 1 in op.used:
            fix(axis)
        values.append(stuck((n,))[0] if i in places else axis)
    return [Traced(tuple(values)), Traced(tuple(neutral(axis) for axis in values))]


@rule("gather")
def gather(op: Op) -> Any:
    """Entries by number along one axis, with numbers for each entry of the others."""
    x, dim, numbers = op.args[:3]
    place = dim % len(x.axes)
    axes: list[Axis] = []
    for i, (axis, other) in enumerate(zip(x.axes, numbers.axes, strict=True)):
        if i == place or axis_size(axis) != axis_size(other):
            fix(other)
            axes.append(_stuck(axis, axis_size(other)))
        else:
            restrict(other)
            axes.append(times(axis, other))
    return Traced(tuple(axes))


@rule("index_add", "index_copy", "scatter", "scatter_add", "scatter_reduce")
def scatter(op: Op) -> Any:
    """Entries are put, or added, where numbers along one axis say."""
    x, dim, numbers, source = op.args[:4]
    kind = op.get(4, "reduce", "sum")
    if not isinstance(source, Traced) or kind not in ("sum", "mean", "amax", "amin"):
        return fixed(op)
    place = dim % len(x.axes)
    pairs = list(zip(x.axes, source.axes, strict=True))
    for i, (mine, theirs) in enumerate(pairs):
        if i == place or axis_size(mine) != axis_size(theirs):
            fix((*mine, *theirs))
            continue
        unify(mine, theirs)
        restrict(mine, linear=kind in ("sum", "mean"), positive=True, sign=kind in ("sum", "mean"))
    if len(numbers.axes) < len(x.axes):
        _fix_all(numbers)
        return Traced(x.axes)
    for i, (mine, other) in enumerate(zip(x.axes, numbers.axes, strict=True)):
        if i == place or axis_size(mine) != axis_size(other):
            fix((*mine, *other))
        else:
            restrict(other)
            unify(neutral(mine), neutral(other))
    return Traced(x.axes)


# ------------------------------------------------------------------------------------------------ windows, positions
@rule("unfold")
def windows(op: Op) -> Traced:
    """Windows of an axis, which become an axis of their own."""
    x = op.args[0]
    place = op.args[1] % max(len(x.axes), 1)
    axes = [
        _stuck(axis, n) if i == place else axis for i, (axis, n) in enumerate(zip(x.axes, op.shapes[0], strict=False))
    ]
    return Traced((*axes, *stuck(op.shapes[0][-1:])))


@rule("im2col", "col2im", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
def patches(op: Op) -> Any:
    """Positions become channels, or channels positions."""
    name, x, shape = op.name.removeprefix("aten."), op.args[0], op.shapes[0]
    positions = 1 if name == "col2im" else 2 if name != "channel_shuffle" else len(x.axes) - 2
    *batch, channels = x.axes[: len(x.axes) - positions]
    place = len(batch)
    inner = max(shape[place], axis_size(channels)) // min(shape[place], axis_size(channels))
    if name == "channel_shuffle":
        found = regroup((channels,), (op.args[1], shape[place] // op.args[1]))
        return fixed(op) if found is None else Traced((*batch, (*found[1], *found[0]), *x.axes[place + 1 :]))
    for axis in x.axes[place + 1 :]:
        fix(axis)
    if shape[place] >= axis_size(channels):
        made = (*channels, fresh(inner, fixed=True))
    else:
        found = regroup((channels,), (shape[place], inner))
        if found is None:
            return fixed(op)
        made = found[0]
        fix(found[1])
    return Traced((*batch, made, *stuck(shape[place + 1 :])))


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(op: Op) -> Traced:
    """Values between positions are linear in those at positions."""
    x, grid = op.args[:2]
    _fix_all(grid)
    for axis in x.axes[2:]:
        fix(axis)
    return Traced((*x.axes[:2], *stuck(op.shapes[0][2:])))


@rule("affine_grid_generator", "index_put", "masked_scatter")
def nothing(op: Op) -> list[Traced]:
    """Has no symmetry that could be told from the shapes."""
    return fixed(op)
