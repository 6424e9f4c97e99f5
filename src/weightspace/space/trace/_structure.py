"""Rules of operations that move entries around."""

from __future__ import annotations

import math
from typing import Any

from ._op import RULES, Op, Traced, fixed, restrict_all, rule, stuck
from ._sums import joined, product, split_sum
from ._unify import unify
from ._views import choose, regroup
from ._wires import Axis, Factor, axis_size, drop, expand, fix, fresh, restrict

__all__ = ["merged"]


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as")
def view(op: Op) -> Any:
    """Factors are grouped anew."""
    axes = regroup(op.args[0].axes, op.shapes[0])
    return fixed(op) if axes is None else Traced(axes, op.args[0].zero)


@rule(
    "permute", "transpose", "t", "numpy_T", "mT", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "matrix_H"
)
def permute(op: Op) -> Traced:
    """The order of axes, found by moving numbers in the place of axes."""
    x, name = op.args[0], op.name.removeprefix("aten.")
    rank = len(x.axes)
    order = list(range(rank))
    if name == "permute":
        order = [d % rank for d in op.args[1]]
    elif name in ("movedim", "moveaxis"):
        source, target = ([d] if isinstance(d, int) else d for d in op.args[1:3])
        taken = dict(zip([t % rank for t in target], [s % rank for s in source], strict=True))
        rest = iter(i for i in range(rank) if i not in taken.values())
        order = [taken[i] if i in taken else next(rest) for i in range(rank)]
    elif name == "numpy_T":
        order.reverse()
    elif rank > 1:
        a, b = op.args[1:3] if name in ("transpose", "swapaxes", "swapdims") else (-1, -2)
        order[a], order[b] = order[b], order[a]
    return Traced(tuple(x.axes[i] for i in order), x.zero)


@rule("squeeze", "unsqueeze")
def squeeze(op: Op) -> Traced:
    """Axes of size one come and go."""
    x = op.args[0]
    if op.name == "aten.unsqueeze":
        place = op.args[1] % (len(x.axes) + 1)
        return Traced((*x.axes[:place], (), *x.axes[place:]), x.zero)
    dims = op.get(1, "dim")
    dims = range(len(x.axes)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {d % len(x.axes) for d in dims} if x.axes else set()
    kept = [drop(a) if i in gone else a for i, a in enumerate(x.axes)]
    return Traced(tuple(a for i, a in enumerate(kept) if i not in gone or a), x.zero)


@rule("expand", "expand_as", "broadcast_to", "copy")
def broadcast(op: Op) -> Traced:
    """Along a new axis all entries are the same."""
    x, shape = op.args[1 if op.name == "aten.copy" else 0], op.shapes[0]
    old = ((),) * (len(shape) - len(x.axes)) + x.axes
    axes = tuple(
        axis if axis_size(axis) == n else (*drop(axis), fresh(n, charged=False))
        for axis, n in zip(old, shape, strict=True)
    )
    return Traced(axes, x.zero)


@rule("repeat", "repeat_interleave", "tile")
def repeat(op: Op) -> Any:
    """A repeated axis is a product with an axis along which all entries are the same."""
    x, shape = op.args[0], op.shapes[0]
    if op.name == "aten.repeat_interleave" and op.get(2, "dim") is None:
        return fixed(op)
    old = ((),) * (len(shape) - len(x.axes)) + x.axes
    axes: list[Axis] = []
    for axis, n in zip(old, shape, strict=True):
        times_ = n // axis_size(axis)
        again: Axis = (fresh(times_, charged=False),) if times_ > 1 else ()
        axes.append((*axis, *again) if op.name == "aten.repeat_interleave" else (*again, *axis))
    return Traced(tuple(axes), x.zero)


@rule("cat", "concat", "concatenate")
def cat(op: Op) -> Traced:
    """One axis runs over the units of all, the other axes are the same."""
    tensors = [t for t in op.args[0] if t.shape != (0,)]
    place = op.get(1, "dim", 0) % len(tensors[0].axes)
    return _side_by_side(tensors, place)


def _side_by_side(tensors: list[Traced], place: int) -> Traced:
    first, *others = tensors
    for other in others:
        for i, (a, b) in enumerate(zip(first.axes, other.axes, strict=True)):
            if i != place:
                unify(a, b)
    pieces = [product(expand(t.axes[place]) or (fresh(1, fixed=True),)) for t in tensors]
    whole = (joined("sum", pieces),) if len(pieces) > 1 else (pieces[0],)
    return Traced((*first.axes[:place], whole, *first.axes[place + 1 :]), all(t.zero for t in tensors))


@rule("stack")
def stack(op: Op) -> Traced:
    """The new axis numbers the tensors. They are alike once they are used as one tensor."""
    tensors = op.args[0]
    axes = tensors[0].axes
    place = op.get(1, "dim", 0) % (len(axes) + 1)
    return Traced((*axes[:place], *stuck((len(tensors),)), *axes[place:]), stacked=(place, tuple(tensors)))


def merged(x: Traced) -> Traced:
    """A stack as one tensor: what it consists of is alike."""
    if x.stacked is not None:
        first, *others = x.stacked[1]
        for other in others:
            for a, b in zip(first.axes, other.axes, strict=True):
                unify(a, b)
    return x._replace(stacked=None)


@rule("constant_pad_nd", "pad")
def pad(op: Op) -> Any:
    """Zeros beside the units of an axis; along positions the shape alone changes."""
    x, widths = op.args[:2]
    value = op.get(2 if op.name == "aten.constant_pad_nd" else 3, "value") or 0
    axes = list(x.axes)
    for i in range(len(widths) // 2):
        before, after = widths[2 * i : 2 * i + 2]
        place = len(axes) - 1 - i
        if before == after == 0:
            continue
        axis = axes[place]
        if min(before, after) < 0 or op.get(2, "mode", "constant") not in ("constant", 0, 0.0, None, value):
            fix(axis)
        if value:
            restrict([factor for a in axes for factor in a])
        if all(factor.units.fixed for factor in expand(axis)):
            axes[place] = (fresh(axis_size(axis) + before + after, fixed=True),)
            continue
        pieces = [fresh(before)] * bool(before) + [product(expand(axis))] + [fresh(after)] * bool(after)
        axes[place] = (joined("sum", pieces),)
    return Traced(tuple(axes))


def _pieces(x: Traced, place: int, sizes: list[int]) -> list[Traced]:
    """The tensor cut along one axis."""
    if set(sizes) == {1}:
        chosen = [choose(x.axes, place, i) for i in range(len(sizes))]
        return [Traced((*axes[:place], *stuck((1,)), *axes[place:]), x.zero) for axes in chosen]
    axis = expand(x.axes[place])
    cuts: list[Factor] | None
    if len(axis) == 1:
        cuts = split_sum(axis[0], sizes)
    else:
        inner = math.prod(factor.units.size for factor in axis[1:])
        cuts = None
        if axis and not any(size % inner for size in sizes):
            heads = split_sum(axis[0], [size // inner for size in sizes])
            cuts = None if heads is None else [product([head, *axis[1:]]) for head in heads]
    if cuts is None:
        fix(axis)
        cuts = [fresh(size, fixed=True) for size in sizes]
    for cut in cuts:
        if cut.units.size == 1:
            fix((cut,))
    return [Traced((*x.axes[:place], (cut,), *x.axes[place + 1 :]), x.zero) for cut in cuts]


@rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "unsafe_split")
def split(op: Op) -> list[Traced]:
    """Consecutive parts of an axis, of the sizes that came out."""
    x = op.args[0]
    place = op.get(2, "dim", 0) % len(x.axes)
    return _pieces(x, place, [shape[place] for shape in op.shapes])


@rule("glu")
def glu(op: Op) -> Any:
    """One half of an axis, times a gate that is the other half."""
    x = op.args[0]
    place = op.get(1, "dim", -1) % len(x.axes)
    value, gate = _pieces(x, place, [x.shape[place] // 2] * 2)
    restrict_all(gate)
    return RULES["aten.mul"](Op("aten.mul", (value, gate), {}, op.shapes))


@rule("slice", "narrow")
def cut(op: Op) -> Any:
    """One part of an axis."""
    x = op.args[0]
    place = op.get(1, "dim", 0) % len(x.axes)
    n, size = x.shape[place], op.shapes[0][place]
    if size == n:
        return Traced(x.axes, x.zero)
    start = op.get(2, "start", 0) or 0
    start = min(start % n if start < 0 else start, n)
    if op.name == "aten.slice" and op.get(4, "step", 1) != 1:
        fix(x.axes[place])
        return Traced((*x.axes[:place], *stuck((size,)), *x.axes[place + 1 :]))
    sizes = [start, size, n - start - size]
    found = _pieces(x, place, [s for s in sizes if s])
    return found[1 if start else 0]


@rule("select")
def select(op: Op) -> Traced:
    """One index of an axis."""
    x, dim, index = op.args[:3]
    place = dim % len(x.axes)
    if x.stacked is not None and x.stacked[0] == place:
        chosen: Traced = x.stacked[1][index]
        return chosen
    x = merged(x)
    return Traced(choose(x.axes, place, index % x.shape[place]), x.zero)


@rule("unbind")
def unbind(op: Op) -> list[Traced]:
    """All indices of an axis."""
    x = op.args[0]
    place = op.get(1, "dim", 0) % len(x.axes)
    if x.stacked is not None and x.stacked[0] == place:
        return list(x.stacked[1])
    x = merged(x)
    return [Traced(choose(x.axes, place, i), x.zero) for i in range(len(op.shapes))]


@rule("slice_scatter", "select_scatter")
def overwritten(op: Op) -> Any:
    """A part of a tensor in the place of another one."""
    x, part = op.args[:2]
    place = op.get(2, "dim", 0) % len(x.axes)
    n, start, size = x.shape[place], op.get(3, "index", 0), 1
    if op.name == "aten.slice_scatter":
        start, size = op.get(3, "start") or 0, part.shape[place]
        if op.get(5, "step", 1) != 1:
            return fixed(op)
    else:
        part = part._replace(axes=(*part.axes[:place], (), *part.axes[place:]))
    start = start % n if start < 0 else start
    pieces = _pieces(x, place, [s for s in (start, size, n - start - size) if s])
    pieces[1 if start else 0] = part
    return _side_by_side(pieces, place)
