"""Rules of reductions: sums, maxima, norms of vectors."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, rule
from ._pointwise import add
from ._unify import neutral
from ._wires import Axis, fix, restrict

__all__: list[str] = []


@rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "median",
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
    even_ = name in ("linalg_vector_norm", "norm", "var", "std")
    axes: list[Axis] = []
    for i, axis in enumerate(x.axes):
        if i in dims:
            restrict(axis, sign=even_ and "norm" in name)
            if "arg" in name or 1 in op.used:  # which one it is
                fix(axis)
            axes += [()] if keep else []
        elif even_:
            restrict(axis, sign=True)
            axes.append(neutral(axis))
        else:
            if name not in ("mean", "sum"):
                restrict(axis, positive=name in ("amax", "amin", "max", "min", "median"))
            axes.append(axis)
    out = Traced(tuple(axes))
    return [out, Traced(tuple(neutral(axis) for axis in axes))][: len(op.shapes)] if len(op.shapes) > 1 else out
