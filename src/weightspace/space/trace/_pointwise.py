"""Rules of operations on single entries, of reductions and of norms."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, align, fixed, free, restrict_all, rule, unscaled
from ._unify import times, unify
from ._wires import Axis, axis_size, fix, restrict

__all__ = ["pointwise"]

SAME = (
    "neg clone alias detach dropout contiguous to _to_copy lift_fresh_copy lift_fresh feature_dropout alpha_dropout "
    "positive"
)
HOMOGENEOUS = "relu leaky_relu prelu rrelu"
ODD = "tanh sin erf asinh atan sinh tan asin softsign tanhshrink hardshrink softshrink sign"


@rule(*SAME.split())
def same(op: Op) -> Traced:
    """The same entries."""
    return Traced(op.args[0].axes, op.args[0].zero)


@rule(*HOMOGENEOUS.split())
def homogeneous(op: Op) -> Traced:
    """f(c x) = c f(x) for c > 0."""
    x = op.args[0]
    restrict_all(x, positive=True)
    if len(op.args) > 1 and isinstance(op.args[1], Traced):  # slopes of prelu, one for each channel or one for all
        (slope,) = op.args[1].axes
        if axis_size(slope) > 1:
            times(x.axes[1], unscaled(slope))
        else:
            fix(slope)
    return Traced(x.axes)


@rule(*ODD.split())
def odd(op: Op) -> Traced:
    """f(-x) = -f(x)."""
    restrict_all(op.args[0], sign=True)
    return Traced(op.args[0].axes)


def pointwise(op: Op) -> Traced:
    """Any other operation on single entries: it commutes with permutations alone."""
    tensors = list(op.tensors())
    for tensor in tensors:
        restrict_all(tensor)
    return Traced(_merged(tensors))


def _merged(tensors: list[Traced]) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for column in align(*tensors):
        present = [axis for axis in column if axis is not None]
        for other in present[1:]:
            unify(present[0], other)
        axes.append(present[0] if present else ())
    return tuple(axes)


@rule("add", "sub", "rsub", "maximum", "minimum", "where", "lerp")
def add(op: Op) -> Traced:
    """A sum commutes with what acts on both alike; where one is constant, with permutations alone."""
    tensors = list(op.tensors())
    operands = tensors[1:] if op.name == "aten.where" else tensors
    numbers = [arg for arg in op.args[:2] if isinstance(arg, int | float) and not isinstance(arg, bool)]
    if any(number != 0 for number in numbers):
        for tensor in operands:
            restrict_all(tensor)
    if op.name in ("aten.maximum", "aten.minimum"):
        for tensor in operands:
            restrict_all(tensor, positive=True)
    if op.name == "aten.where":
        restrict_all(tensors[0])
    axes: list[Axis] = []
    for column in align(*tensors):
        present = [axis for axis in column if axis is not None]
        for tensor, axis in zip(tensors, column, strict=True):
            if axis is None and not tensor.zero and tensor in operands:
                restrict([factor for other in present for factor in other])
        for other in present[1:]:
            if op.name == "aten.where" and other is not present[0] and column[0] is not None:
                times(present[0], other)
            else:
                unify(present[0], other)
        axes.append(present[-1] if present else ())
    return Traced(tuple(axes))


@rule("mul")
def multiply(op: Op) -> Traced:
    """A product: charges add up."""
    a, b = op.args[:2]
    if not isinstance(a, Traced) or not isinstance(b, Traced):
        (tensor,) = op.tensors()
        return Traced(tensor.axes)
    axes: list[Axis] = []
    for x, y in align(a, b):
        axes.append(times(x, y) if x is not None and y is not None else x if x is not None else y or ())
    return Traced(tuple(axes))


@rule("div", "true_divide")
def divide(op: Op) -> Traced:
    """A quotient: the divisor commutes with permutations alone."""
    a, b = op.args[:2]
    if op.kwargs.get("rounding_mode") or not isinstance(a, Traced):
        return pointwise(op)
    if not isinstance(b, Traced):
        return Traced(a.axes)
    restrict_all(b)
    return multiply(op)


@rule("masked_fill")
def masked_fill(op: Op) -> Traced:
    """Entries replaced by a number: permutations alone, unless it is zero."""
    x, mask = op.args[:2]
    if op.args[2] != 0:
        restrict_all(x)
    restrict_all(mask)
    return multiply(Op("aten.mul", (x, mask), {}, op.shapes))


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "special_softmax", "cumsum", "cumprod")
def softmax(op: Op) -> Traced:
    """Permutations alone; a running sum has an order."""
    restrict_all(op.args[0])
    if "cum" in op.name:
        fix(op.args[0].axes[op.args[1]])
    return Traced(op.args[0].axes)


# --------------------------------------------------------------------------------------------------------- reductions
@rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "linalg_vector_norm",
    "norm",
    "logsumexp",
    "argmax",
    "argmin",
    "any",
    "all",
    "prod",
)
def reduction(op: Op) -> Any:
    """What is summed over is permuted alone; sums commute with any matrix on the other axes, maxima with scales."""
    name, x = op.name.removeprefix("aten."), op.args[0]
    if len(op.args) > 1 and isinstance(op.args[1], Traced):
        return add(Op(f"aten.{name}imum", op.args, op.kwargs, op.shapes))
    place = 2 if name in ("linalg_vector_norm", "norm") else 1
    dims = op.get(place, "dim")
    dims = range(len(x.axes)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    dims = {d % len(x.axes) for d in dims} if x.axes else set()
    keep = len(op.shapes[0]) == len(x.axes) and bool(dims)
    axes: list[Axis] = []
    for i, axis in enumerate(x.axes):
        if i in dims:
            restrict(axis)
            axes += [()] if keep else []
            continue
        if name not in ("mean", "sum"):
            restrict(axis, positive=name in ("amax", "amin", "max", "min", "std", "linalg_vector_norm", "norm"))
        axes.append(axis)
    out = Traced(tuple(axes))
    return out if len(op.shapes) == 1 else [out] * len(op.shapes)


# ---------------------------------------------------------------------------------------------------------- constants
@rule("zeros", "zeros_like", "new_zeros")
def zeros(op: Op) -> Traced:
    """Zero is left alone by any matrix."""
    return Traced(free(op.shapes[0], charged=True), zero=True)


@rule(
    "ones",
    "ones_like",
    "new_ones",
    "full",
    "full_like",
    "new_full",
    "scalar_tensor",
    "empty",
    "new_empty",
    "empty_like",
)
def constant(op: Op) -> Traced:
    """Equal entries are left alone by permutations."""
    return Traced(free(op.shapes[0], charged=False))


@rule("arange", "linspace", "eye", "tril_indices", "triu_indices")
def numbered(op: Op) -> list[Traced]:
    """Entries that differ."""
    return fixed(op)
