"""One operation of a traced network, and the table of rules: what each operation does to the axes of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from ._unify import times, unify
from ._wires import Axis, axis_size, drop, fix, fresh, leaves, resolve, restrict

__all__ = ["RULES", "Op", "Traced", "align", "contract", "neurons", "restrict_all", "rule"]


class Traced(NamedTuple):
    """What is known of a tensor.

    Attributes:
        axes: the factors of each of its axes.
        zero: whether all entries are zero, so that any matrix leaves them as they are.
        weight: whether it depends on weights alone.
        stacked: an axis, and the tensors that it numbers, as long as nothing has used them as one tensor.
    """

    axes: tuple[Axis, ...]
    zero: bool = False
    weight: bool = False
    stacked: tuple[int, tuple[Traced, ...]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(axis_size(axis) for axis in self.axes)


class Op(NamedTuple):
    """An operation with what is known of its arguments in their places.

    Attributes:
        name: as in "aten.linear".
        args: positional arguments; tensors are `Traced`.
        kwargs: keyword arguments.
        shapes: shape of each tensor that it returns.
        used: places of those of several results that the network goes on with.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    used: frozenset[int] = frozenset()

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def tensors(self) -> Iterator[Traced]:
        """All tensor arguments."""
        leaves = torch.utils._pytree.tree_leaves((self.args, self.kwargs), is_leaf=lambda x: isinstance(x, Traced))
        return (leaf for leaf in leaves if isinstance(leaf, Traced))


Rule = Callable[[Op], Any]
Registered = TypeVar("Registered", bound=Rule)
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Registered], Registered]:
    """Registers a rule for operations of these names, which return a `Traced` or a list of them."""

    def add(function: Registered) -> Registered:
        for name in names:
            RULES[f"aten.{name}"] = function
        return function

    return add


def align(*tensors: Traced) -> list[tuple[Axis | None, ...]]:
    """For each axis of the broadcast result, the axes of the tensors: None where one is constant along it."""
    rank = max(len(t.axes) for t in tensors)
    padded = [(None,) * (rank - len(t.axes)) + t.axes for t in tensors]
    columns = []
    for column in zip(*padded, strict=True):
        longest = max(1 if axis is None else axis_size(axis) for axis in column)
        present = [axis if axis is None or longest == 1 else drop(axis) for axis in column]
        columns.append(tuple(axis if longest == 1 else axis or None for axis in present))
    return columns


def contract(a: Traced, ia: Sequence[Any], b: Traced, ib: Sequence[Any], out: Sequence[Any]) -> Traced:
    """The axes of a product that is summed over the indices that ``out`` lacks."""
    left, right = dict(zip(ia, a.axes, strict=True)), dict(zip(ib, b.axes, strict=True))
    for index in dict.fromkeys((*ia, *ib)):
        if index in out:
            continue
        if index in left and index in right:
            unify(left[index], right[index], against=True)
        else:
            restrict(left[index] if index in left else right[index])
    axes = []
    for index in out:
        if index in left and index in right:
            axes.append(times(left[index], right[index]))
        else:
            axes.append(left[index] if index in left else right[index])
            for factor in axes[-1]:
                factor.units.root.used = True
    if a.weight != b.weight:
        neurons((a if a.weight else b).axes)
    if a.weight and b.weight:
        neurons(left[index] for index in left if index in right and index not in out)
    return Traced(tuple(axes))


def restrict_all(tensor: Traced, **flags: bool) -> None:
    """Leaves of the gauges of all axes only what is true."""
    restrict([factor for axis in tensor.axes for factor in axis], **flags)


def unscaled(axis: Axis) -> Axis:
    """The axis of a weight on which no scale acts (a running variance, a slope): its gauge is nothing."""
    for factor in axis:
        for gauge, _ in resolve(factor.charge):
            gauge.restrict()
            gauge.equal = ()
    return tuple(factor._replace(charge=()) for factor in axis)


def neurons(axes: Iterable[Axis]) -> None:
    """The axes of a weight run over neurons."""
    for axis in axes:
        for factor in axis:
            factor.units.root.contracted = True
            for leaf in leaves(factor):
                leaf.units.contracted = True


def free(shape: Sequence[int], *, charged: bool) -> tuple[Axis, ...]:
    """Axes of a tensor with equal entries: its units are any, and have a gauge only if the entries are zero."""
    return tuple((fresh(n, charged=charged),) if n > 1 else () for n in shape)


def stuck(shape: Sequence[int]) -> tuple[Axis, ...]:
    """Axes whose units stay where they are."""
    return tuple((fresh(n, fixed=True),) for n in shape)


def fixed(op: Op) -> list[Traced]:
    """Leaves all units that enter an operation where they are; its results have no symmetry."""
    for tensor in op.tensors():
        for axis in tensor.axes:
            fix(axis)
    return [Traced(stuck(shape)) for shape in op.shapes]
