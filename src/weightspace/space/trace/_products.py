"""Rules of matrix products, convolutions, attention and pooling."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, contract, neurons, rule, stuck
from ._unify import opposite, times, unify
from ._views import regroup
from ._wires import Axis, axis_size, drop, fix, fresh, restrict

__all__: list[str] = []


def _biased(out: Traced, bias: Traced | None, place: int) -> Traced:
    if bias is not None:
        unify(out.axes[place], bias.axes[0])
    return out


@rule("linear")
def linear(op: Op) -> Traced:
    """X W^T + b."""
    x, weight = op.args[:2]
    batch = list(range(len(x.axes) - 1))
    out = contract(x, [*batch, "in"], weight, ["out", "in"], [*batch, "out"])
    return _biased(out, op.get(2, "bias"), -1)


@rule("matmul", "mm", "bmm", "mv", "dot", "vdot")
def matmul(op: Op) -> Traced:
    """A product of matrices, stacked in front."""
    a, b = op.args[:2]
    ia = _batch(a, b, -2) + (["n", "k"] if len(a.axes) > 1 else ["k"])
    ib = _batch(b, a, -2) + (["k", "m"] if len(b.axes) > 1 else ["k"])
    stacked = [i for i in (ia if len(a.axes) >= len(b.axes) else ib) if i not in ("n", "k", "m")]
    out = [*stacked, *(["n"] if "n" in ia else []), *(["m"] if "m" in ib else [])]
    a, ia = _squeezed(a, ia, ib)
    b, ib = _squeezed(b, ib, ia)
    present = [i for i in out if i in ia or i in ib]
    result = contract(a, ia, b, ib, present)
    axes = iter(result.axes)
    return Traced(tuple(next(axes) if i in present else () for i in out))


def _batch(one: Traced, other: Traced, end: int) -> list[Any]:
    """Names of the stacking axes, counted from the last one."""
    return list(range(-len(one.axes[:end]), 0)) if len(one.axes) > 2 else []


def _squeezed(one: Traced, names: list[Any], others: list[Any]) -> tuple[Traced, list[Any]]:
    """Without stacking axes of size one, along which the tensor is the same for all."""
    left = [axis if isinstance(n, str) else drop(axis) for axis, n in zip(one.axes, names, strict=True)]
    keep = [i for i, (axis, n) in enumerate(zip(left, names, strict=True)) if isinstance(n, str) or axis]
    return one._replace(axes=tuple(left[i] for i in keep)), [names[i] for i in keep]


@rule("addmm", "baddbmm")
def addmm(op: Op) -> Traced:
    """Bias + a b."""
    bias, a, b = op.args[:3]
    out = matmul(Op("aten.matmul", (a, b), {}, op.shapes))
    for mine, theirs in zip(reversed(out.axes), reversed(bias.axes), strict=False):
        if axis_size(theirs) > 1 or axis_size(mine) == 1:
            unify(mine, theirs)
    return out


@rule("einsum")
def einsum(op: Op) -> Any:
    """Two operands without diagonals; other sums are taken apart into these."""
    equation, tensors = op.args[0].replace(" ", ""), op.args[1]
    inputs, arrow, out = equation.partition("->")
    names = [list(name) for name in inputs.split(",")]
    if not arrow or len(tensors) != 2 or "." in equation or any(len(set(name)) < len(name) for name in names):
        return None
    return contract(tensors[0], names[0], tensors[1], names[1], list(out))


@rule("bilinear")
def bilinear(op: Op) -> Traced:
    """X W y + b."""
    x, y, weight = op.args[:3]
    batch = list(range(len(x.axes) - 1))
    half = contract(x, [*batch, "i"], weight, ["o", "i", "j"], [*batch, "o", "j"])
    neurons(weight.axes)
    return _biased(contract(half, [*batch, "o", "j"], y, [*batch, "j"], [*batch, "o"]), op.get(3, "bias"), -1)


@rule("cdist", "_cdist_forward")
def cdist(op: Op) -> Traced:
    """Distances are left alone by signs and permutations of the coordinates."""
    a, b = op.args[:2]
    batch = list(range(len(a.axes) - 2))
    for axis in (a.axes[-1], b.axes[-1]):
        restrict(axis, sign=True)
    opposed = b._replace(axes=(*b.axes[:-1], opposite(b.axes[-1])))
    for tensor in (a, b):
        restrict(tensor.axes[-2])
    return contract(a, [*batch, "n", "k"], opposed, [*batch, "m", "k"], [*batch, "n", "m"])


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def convolution(op: Op) -> Any:
    """Channels are contracted, positions and taps stay where they are."""
    x, weight, bias = op.args[0], op.args[1], op.get(2, "bias")
    transposed = "transpose" in op.name or (op.name == "aten.convolution" and op.args[6])
    groups = op.get(8, "groups", 1) if op.name == "aten.convolution" else op.get(6, "groups", 1)
    rank = len(weight.axes) - 2
    *batch, source = x.axes[: len(x.axes) - rank]
    for axis in (*x.axes[len(x.axes) - rank :], *weight.axes[2:]):
        fix(axis)
    into, out_of = (weight.axes[1], weight.axes[0]) if transposed else (weight.axes[0], weight.axes[1])
    if groups == 1:
        product = contract(Traced((source,)), "i", Traced((into, out_of)), "oi", "o")
        target = product.axes[0]
    else:
        target = _grouped(source, into, out_of, groups, transposed)
    neurons([axis for axis in weight.axes[:2] if groups == 1 or axis_size(axis) > 1])
    positions = stuck(op.shapes[0][len(op.shapes[0]) - rank :])
    return _biased(Traced((*batch, target, *positions)), bias, len(batch))


def _grouped(source: Axis, into: Axis, out_of: Axis, groups: int, transposed: bool) -> Axis:
    """The channels behind a grouped convolution."""
    channels = axis_size(source)
    if channels == groups and axis_size(into) == (1 if transposed else groups):  # depthwise: the diagonal of a matrix
        return times(source, out_of if transposed else into)
    stacked, inner = (out_of, into) if transposed else (into, out_of)  # the axis that all groups share is `inner`
    taken, weights = (regroup((axis,), (groups, axis_size(axis) // groups)) for axis in (source, stacked))
    if taken is None or weights is None:
        fix((*source, *stacked, *inner))
        return stuck((axis_size(into) * (groups if transposed else 1),))[0]
    (first, rest), (outer, others) = taken, weights
    times(first, outer)
    restrict((*first, *outer))
    summed, made = (others, inner) if transposed else (inner, others)
    unify(rest, summed, against=True) if rest else drop(summed)
    return (*outer, *made)


@rule("scaled_dot_product_attention")
def attention(op: Op) -> Traced:
    """softmax(q k^T) v."""
    q, k, v = op.args[:3]
    mask = op.get(3, "attn_mask")
    if q.shape[:-2] != k.shape[:-2]:  # grouped queries: several heads of queries share one of keys
        groups = k.shape[-3]
        unify(q.axes[-3], (*k.axes[-3], fresh(q.shape[-3] // groups, charged=False)))
        pairs = zip(q.axes[:-3], k.axes[:-3], strict=True)
    else:
        pairs = zip(q.axes[:-2], k.axes[:-2], strict=True)
    for mine, theirs in (*pairs, *zip(k.axes[:-2], v.axes[:-2], strict=True), (k.axes[-2], v.axes[-2])):
        restrict((*mine, *theirs))
        unify(mine, theirs)
    restrict(q.axes[-2])
    unify(q.axes[-1], k.axes[-1], against=True)
    if mask is not None:
        for mine, theirs in zip(reversed((*q.axes[:-1], k.axes[-2])), reversed(mask.axes), strict=False):
            if axis_size(theirs) > 1:
                restrict(theirs)
                unify(mine, theirs)
    return Traced((*q.axes[:-1], v.axes[-1]))


@rule(
    *(
        f"{kind}{n}d"
        for n in (1, 2, 3)
        for kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool")
    ),
    *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)),
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_nearest_exact2d",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
)
def pooling(op: Op) -> Any:
    """Positions are pooled; the maximum commutes with positive scales of channels, the others with any matrix."""
    x = op.args[0]
    digit = next(c for c in op.name if c.isdigit())
    kept = x.axes[: len(x.axes) - int(digit)]
    for axis in x.axes[len(kept) :]:
        fix(axis)
    if "max" in op.name or "lp_" in op.name:
        for axis in kept:
            restrict(axis, positive=True)
    out = [Traced((*kept, *stuck(shape[len(kept) :]))) for shape in op.shapes]
    return out[0] if len(out) == 1 else out
