"""Rules of norms: what passes them, and the scales that gain and shift give to the units behind."""

from __future__ import annotations

from typing import Any

from ._op import Op, Traced, restrict_all, rule, stuck, unscaled
from ._unify import neutral, times, unify
from ._wires import Axis, drop, fresh, restrict

__all__: list[str] = []


def _affine(axis: Axis, gain: Traced | None, shift: Traced | None, place: int = 0) -> Axis:
    """The units behind a norm: gain and shift give them scales of their own."""
    if gain is not None:
        axis = times(axis, gain.axes[place])
    if shift is not None:
        unify(axis, shift.axes[place])
    return axis


@rule("batch_norm", "instance_norm", "_native_batch_norm_legit_no_training")
def batch_norm(op: Op) -> Any:
    """Signs of channels pass; scales do not, because of epsilon. The variance is left alone by signs.

    On the other axes permutations alone pass: all their units get the same shift.
    """
    x, gain, shift, mean, variance = op.args[:5]
    restrict(x.axes[1], sign=True)
    restrict([factor for i, axis in enumerate(x.axes) if i != 1 for factor in axis])
    if mean is not None:
        unify(x.axes[1], mean.axes[0])
        times(x.axes[1], unscaled(variance.axes[0]))
    out = Traced((x.axes[0], _affine(x.axes[1], gain, shift), *x.axes[2:]))
    return [out, *(Traced(stuck(shape)) for shape in op.shapes[1:])] if len(op.shapes) > 1 else out


@rule("layer_norm", "rms_norm", "native_layer_norm")
def layer_norm(op: Op) -> Any:
    """Permutations pass; the root mean square norm passes signs too."""
    x, shape = op.args[:2]
    first = len(x.axes) - len(shape)
    restrict_all(x, sign=op.name == "aten.rms_norm")
    gain, shift = op.get(2, "weight"), None if op.name == "aten.rms_norm" else op.get(3, "bias")
    axes = [_affine(axis, gain, shift, i) if i >= 0 else axis for i, axis in enumerate(x.axes, start=-first)]
    out = Traced(tuple(axes))
    return [out, *(Traced(stuck(s)) for s in op.shapes[1:])] if len(op.shapes) > 1 else out


@rule("group_norm")
def group_norm(op: Op) -> Traced:
    """Channels are permuted within groups, and the groups."""
    x, groups = op.args[:2]
    restrict_all(x)
    channels = x.shape[1]
    if groups not in (1, channels):
        unify(x.axes[1], (fresh(groups, charged=False), fresh(channels // groups, charged=False)))
    return Traced((x.axes[0], _affine(x.axes[1], op.get(2, "weight"), op.get(3, "bias")), *x.axes[2:]))


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(op: Op) -> Any:
    """Rows of a weight in units of their lengths: scales of the rows are those of the gain."""
    weight, gain, dim = op.args[0], op.args[1], op.get(2, "dim", 0)
    axes = list(weight.axes)
    for i, axis in enumerate(axes):
        restrict(axis, sign=True) if i != dim else restrict(axis, positive=True)
    if dim in range(len(axes)):
        unify(neutral(axes[dim]), neutral(gain.axes[dim]))
        axes[dim] = gain.axes[dim]
    for axis in gain.axes:
        drop(axis)
    out = Traced(tuple(axes))
    return [out, *(Traced(stuck(shape)) for shape in op.shapes[1:])] if len(op.shapes) > 1 else out
