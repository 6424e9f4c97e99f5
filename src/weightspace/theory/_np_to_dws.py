"""NP-NFN networks as DWS networks."""

from __future__ import annotations

import torch
from torch import nn

from .._errors import TheoryError
from ..models import all_permutations
from ..nn import EquivariantLinear, SinusoidalPosition
from ..space import WeightFeatures
from ._dws_to_np import OneHotPosition
from ._fold import affine_layers, parts, pooled_entries
from ._simulation import Simulation, empty_layer, shift, write

__all__ = ["np_to_dws"]


@torch.no_grad()
def np_to_dws(network: nn.Module) -> Simulation:
    """An NP-NFN network as a DWS network, layer by layer, exact everywhere.

    What commutes with all permutations of neurons commutes with those of hidden ones: where NP ties input or output
    units, DWS has the same coefficient for each, and where NP pools them, the same for all pairs. The code of positions
    is constant, and becomes biases of the first layer.

    Source: arXiv 2602.01083, Theorem 5.2.

    Args:
        network: layers for the permutations of all neurons, with ReLU between and perhaps positions in front, as an
            `nn.Sequential`, as an equivariant "np-nfn" network of `weightspace.build` with ``fourier=None``, or as
            `dws_to_np` returns it.

    Returns:
        The network in float64, of infinite radius.

    Raises:
        TheoryError: for another network or weight space.
        ModelError: for layers with a rank.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 3, 2])
        >>> net = ws.build("np-nfn", space, hidden=4, depth=2, fourier=None).double()
        >>> theta = space.sample(4).to(torch.float64)
        >>> both = ws.theory.np_to_dws(net)(theta).map(torch.sub, net(theta))
        >>> max(float(t.detach().abs().max()) for t in both.tensors) < 1e-12
        True
    """
    modules = list(parts(network))
    encoded = isinstance(modules[0], SinusoidalPosition | OneHotPosition)
    layers = affine_layers(nn.Sequential(*modules[encoded:]))
    converted: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, EquivariantLinear):
            if layer.symmetry != all_permutations(layer.space):
                raise TheoryError("np_to_dws takes layers that commute with the permutations of all neurons")
            position = modules[0] if encoded and layer is layers[0] else None
            converted.append(_convert(layer, position))
        else:
            converted.append(layer)
    return Simulation(next(layer.space for layer in layers if isinstance(layer, EquivariantLinear)), converted)


def _convert(layer: EquivariantLinear, position: nn.Module | None) -> EquivariantLinear:
    """One layer, of which the last channels of the input are the code of the position, if there is one."""
    space, extra = layer.space, 0
    if isinstance(position, OneHotPosition):
        extra = position.places
    elif isinstance(position, SinusoidalPosition):
        extra = position.extra_channels
    channels = layer.in_channels - extra
    made = empty_layer(space, channels, layer.out_channels)
    for term in layer.terms():
        matrix = layer.coefficients(*term).reshape(layer.out_channels, layer.in_channels)[:, :channels]
        mean = layer.reduction == "mean"
        copies = pooled_entries(layer, term.input, term.tied) if mean else 1
        write(made, term.output, term.input, term.tied, matrix / copies)
    zeros = (torch.zeros(1, *p.shape, channels, dtype=torch.float64) for p in space.parameters)
    nothing = WeightFeatures(space, tuple(zeros))
    for name, constant in layer(nothing if position is None else position(nothing)).items():
        shift(made, name, constant[0])
    return made
