"""Rules of operations on single entries, of reductions and of norms."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, align, fixed, free, restrict_all, rule, unscaled
from ._unify import neutral, opposite, times, unify
from ._wires import Axis, axis_size, fix, restrict

__all__ = ["pointwise"]

SAME = (
    "neg clone alias detach dropout contiguous to _to_copy lift_fresh_copy lift_fresh feature_dropout alpha_dropout "
    "positive"
)
HOMOGENEOUS = "relu leaky_relu prelu rrelu abs"
ODD = "tanh sin erf asinh atan sinh tan asin tanhshrink hardshrink softshrink sign sgn round trunc"
EVEN = "cos cosh square"
OTHERS = "hardswish log_sigmoid log_sigmoid_forward"
"""Not tagged as pointwise by torch."""
COMPARISONS = "gt ge lt le eq ne"


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


@rule(*EVEN.split())
def even(op: Op) -> Traced:
    """f(-x) = f(x)."""
    restrict_all(op.args[0], sign=True)
    return Traced(tuple(neutral(axis) for axis in op.args[0].axes))


@rule("pow")
def power(op: Op) -> Any:
    """Odd or even, if the exponent is a whole number."""
    exponent = op.args[1]
    if not isinstance(op.args[0], Traced) or not isinstance(exponent, int | float) or exponent % 1:
        return pointwise(op)
    return odd(op) if exponent % 2 else even(op)


@rule("clamp", "clamp_min", "clamp_max", "hardtanh", "threshold")
def clamp(op: Op) -> Any:
    """Cut at zero or at opposite numbers, or at others."""
    name, bounds = op.name.removeprefix("aten."), (op.get(1, "min"), op.get(2, "max"))
    if name == "hardtanh":
        bounds = (op.get(1, "min_val", -1), op.get(2, "max_val", 1))
    elif name == "clamp_max":
        bounds = (None, op.get(1, "max"))
    if any(isinstance(bound, Traced) for bound in bounds):
        return pointwise(op)
    low, high = bounds
    if bounds in ((0, None), (None, 0)) or (name == "threshold" and bounds == (0, 0)):
        return homogeneous(op._replace(args=op.args[:1]))
    return odd(op) if name != "threshold" and None not in bounds and low == -high else pointwise(op)


@rule(*COMPARISONS.split())
def compare(op: Op) -> Traced:
    """Whether an entry is zero, or greater, is left alone by scales; other comparisons by permutations."""
    if isinstance(op.args[1], int | float) and op.args[1] == 0:
        equal = op.name in ("aten.eq", "aten.ne")
        restrict_all(op.args[0], positive=True, sign=equal)
        return Traced(tuple(neutral(axis) for axis in op.args[0].axes))
    return Traced(tuple(neutral(axis) for axis in pointwise(op).axes))


@rule(*OTHERS.split())
def pointwise(op: Op) -> Any:
    """Any other operation on single entries: it commutes with permutations alone."""
    tensors = list(op.tensors())
    for tensor in tensors:
        restrict_all(tensor)
    out = Traced(_merged(tensors))
    return out if len(op.shapes) == 1 else [out] * len(op.shapes)


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
    name, tensors = op.name.removeprefix("aten."), list(op.tensors())
    masks, operands = (tensors[:1], tensors[1:]) if name == "where" else (tensors[2:], tensors[:2])
    numbers = [arg for arg in (op.args[1:3] if name == "where" else op.args[:2]) if isinstance(arg, int | float)]
    scales = {"positive": True} if name in ("maximum", "minimum") else {"linear": True, "positive": True, "sign": True}
    for tensor in operands:
        restrict_all(tensor, **({} if any(numbers) else scales))
    for mask in masks:
        restrict_all(mask)
    axes: list[Axis] = []
    for column in align(*operands, *masks):
        present = [axis for axis in column[: len(operands)] if axis is not None]
        for tensor, axis in zip(operands, column, strict=False):
            if axis is None and not tensor.zero:
                restrict([factor for other in present for factor in other])
        for other in present[1:]:
            unify(present[0], other)
        guards = [axis for axis in column[len(operands) :] if axis is not None]
        for guard in guards:
            times(guard, (present or guards)[-1])
        axes.append((present or guards or [()])[-1])
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
    """A quotient: charges of the divisor are subtracted."""
    a, b = op.args[:2]
    if op.kwargs.get("rounding_mode") or not isinstance(a, Traced):
        restrict_all(b, positive=True, sign=True)
        return pointwise(op) if op.kwargs.get("rounding_mode") else Traced(tuple(opposite(axis) for axis in b.axes))
    if not isinstance(b, Traced):
        return Traced(a.axes)
    return multiply(op._replace(args=(a, b._replace(axes=tuple(opposite(axis) for axis in b.axes)))))


@rule("masked_fill")
def masked_fill(op: Op) -> Traced:
    """Entries replaced by a number: permutations alone, unless it is zero."""
    x, mask = op.args[:2]
    if op.args[2] != 0:
        restrict_all(x)
    restrict_all(mask)
    return multiply(Op("aten.mul", (x, mask), {}, op.shapes))


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "special_softmax")
def softmax(op: Op) -> Traced:
    """Permutations alone."""
    restrict_all(op.args[0])
    return Traced(op.args[0].axes)


@rule("cumsum", "cumprod")
def running(op: Op) -> Traced:
    """A running sum has an order."""
    fix(op.args[0].axes[op.args[1]])
    if op.name == "aten.cumprod":
        restrict_all(op.args[0])
    return Traced(op.args[0].axes)


# ---------------------------------------------------------------------------------------------------------- constants
@rule("zeros", "zeros_like", "new_zeros", "zero")
def zeros(op: Op) -> Traced:
    """Zero is left alone by any matrix."""
    return Traced(free(op.shapes[0], charged=True), zero=True)


@rule(
    "fill",
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
