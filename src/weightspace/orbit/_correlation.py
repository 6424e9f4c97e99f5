"""How alike the units of two networks respond to the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from .._errors import SymmetryError
from ..space import WeightFeatures, WeightSpace, activations
from ._families import Family, Kind, Scores
from ._observe import observe
from ._structure import units_of

__all__ = ["correlations"]

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_CHANNELS_SECOND = (_ConvNd, _BatchNorm, nn.GroupNorm)


def correlations(
    families: Sequence[Family], moved: WeightFeatures, fixed: WeightFeatures, x: Tensor | tuple[Tensor, ...]
) -> list[Scores]:
    """For each family the correlations of what its units return on some inputs, over inputs and positions.

    The units of a chain of layers return their activations. In a traced module the units of a family are seen in what
    linear layers, convolutions and norms return, and the correlations of several such places are added.

    Raises:
        SymmetryError: for units on which general matrices act, and such that no layer returns.
    """
    space = fixed.space
    for family in families:
        if family.frames:
            raise SymmetryError(
                f"activations match single units, and general matrices act on neuron group {family.frames[0][0]!r}; "
                'use group="permutation", or restricted(linear=False), or align by weights'
            )
    if space.program is None:
        return _of_chain(families, moved, fixed, x)
    sites = {family.name: _sites(space, family) for family in families}
    paths = {path for found in sites.values() for path, _ in found}
    views = {path: _view(space, path) for path in sorted(paths)}
    with torch.no_grad():
        here, there = (observe(theta, x, views) for theta in (moved, fixed))
    return [_added([(kind, here[path], there[path]) for path, kind in sites[f.name]]) for f in families]


def _of_chain(
    families: Sequence[Family], moved: WeightFeatures, fixed: WeightFeatures, x: Tensor | tuple[Tensor, ...]
) -> list[Scores]:
    if any(len(p.axes) > 2 or any(axis.group is None for axis in p.axes) for p in fixed.space.parameters):
        raise SymmetryError(
            "activations are known of chains of linear layers and of traced modules, and this space is neither; align "
            "by weights, or trace the module with from_module"
        )
    if not isinstance(x, Tensor):
        raise SymmetryError(f"activations: expected a tensor of inputs, found a {type(x).__name__}")
    here, there = (activations(theta, x) for theta in (moved, fixed))
    return [
        _added([(Kind(frozenset(f.signs)), here[f.name].flatten(1, 2), there[f.name].flatten(1, 2))]) for f in families
    ]


def _sites(space: WeightSpace, family: Family) -> list[tuple[str, Kind]]:
    """The layers that return the units of a family, with the signs that multiply what they return."""
    assert space.program is not None
    modules = dict(space.program.module.named_modules())
    found: dict[str, Kind] = {}
    for stored in space.stored:
        path = stored.name.rpartition(".")[0]
        if not path or len(stored.blocks) != 1 or not isinstance(modules[path], _CHANNELS_LAST + _CHANNELS_SECOND):
            continue
        axis = space.parameters[space.position(stored.blocks[0].parameter)].axes[0]
        out = {name for name, side in axis.carried() if side == "out"}
        if axis.side is not None and units_of(space, axis) == family.name and axis.size == stored.shape[0]:
            found.setdefault(path, Kind(frozenset(out & set(family.signs))))
    if not found:
        raise SymmetryError(
            f"activations of neuron group {family.name!r} are not returned by any linear layer, convolution or norm; "
            "align by weights"
        )
    return list(found.items())


def _view(space: WeightSpace, path: str) -> Callable[[Tensor, Tensor], Tensor]:
    """[units, inputs and positions] of what a layer returns."""
    assert space.program is not None
    axis = -1 if isinstance(space.program.module.get_submodule(path), _CHANNELS_LAST) else 1
    return lambda _, output: output.movedim(axis, 0).flatten(1)


def _added(pairs: list[tuple[Kind, Tensor, Tensor]]) -> Scores:
    scores: Scores = {}
    for kind, here, there in pairs:
        correlation = _standard(here) @ _standard(there).mT / here.shape[2]
        scores[kind] = scores[kind] + correlation if kind in scores else correlation
    return scores


def _standard(values: Tensor) -> Tensor:
    """Mean 0 and variance 1; units that always return the same stay 0."""
    centred = values - values.mean(2, keepdim=True)
    deviation = centred.square().mean(2, keepdim=True).sqrt()
    floor = torch.finfo(values.dtype).eps * values.abs().amax(2, keepdim=True)
    return torch.where(deviation > floor, centred / deviation.clamp_min(torch.finfo(values.dtype).tiny), 0.0)
