"""DWS networks as affine layers and activations alone: statistics and normalisations become part of the layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import TheoryError
from ..models import Metanetwork
from ..nn import BatchNorm, Dropout, EquivariantLinear, Pointwise, Standardize, relu_
from ._simulation import Simulation, check_neurons, moved

__all__ = ["affine_layers", "parts", "pooled_entries"]

_RELU = (relu_, F.relu, torch.relu)


@torch.no_grad()
def affine_layers(network: nn.Module) -> list[EquivariantLinear | Pointwise]:
    """The affine layers of a network of equivariant linear layers and ReLU, and the ReLUs, as copies in float64.

    Batch normalisation is folded into the layer before it, standardisation into the layer behind it, both as they are
    in evaluation mode.

    Args:
        network: a layer, an `nn.Sequential` of layers, or a network that `weightspace.build` makes.

    Raises:
        TheoryError: for layers that are not affine, other activations, weight spaces with parameters that are neither
            matrices nor biases, and what cannot be folded.
        ModelError: for layers with attention or a rank.
    """
    layers: list[EquivariantLinear | Pointwise] = []
    standardize: Standardize | None = None
    for module in parts(network):
        if isinstance(module, Standardize):
            standardize = module
        elif isinstance(module, EquivariantLinear):
            check_neurons(module.space, "the conversion")
            if module.reduction == "max":
                raise TheoryError("layers with reduction='max' are not affine; take 'mean' or 'sum'")
            layer = copy.deepcopy(module).double()
            layer.terms()  # refuses attention and ranks
            if standardize is not None:
                _fold_before(layer, standardize)
                standardize = None
            layers.append(layer)
        elif isinstance(module, BatchNorm) and layers and isinstance(layers[-1], EquivariantLinear):
            _fold_behind(layers[-1], module)
        elif isinstance(module, Pointwise) and (module.fn in _RELU or isinstance(module.fn, nn.ReLU)):
            layers.append(Pointwise(F.relu))
        elif isinstance(module, Dropout) and (module.p == 0 or not module.training):
            continue
        else:
            raise TheoryError(f"expected {_EXPECTED}, found {_name(module)}")
    if not layers or standardize is not None:
        raise TheoryError(f"expected {_EXPECTED}, found no equivariant linear layer")
    return layers


_EXPECTED = (
    "equivariant linear layers with ReLU between, each perhaps followed by batch normalisation, dropout in evaluation "
    "mode, and an equivariant task"
)


def _name(module: nn.Module) -> str:
    if isinstance(module, Dropout):
        return "dropout in training mode (call .eval() first)"
    return f"Pointwise({module.fn})" if isinstance(module, Pointwise) else type(module).__name__


def parts(network: nn.Module) -> Iterator[nn.Module]:
    """The modules of a network in the order in which they are applied."""
    if isinstance(network, Metanetwork):
        if len(network.encodings):
            raise TheoryError("features of what the networks compute (probes=, gradients=) are no part of a DWS layer")
        if network.standardize.mode != "none":
            yield network.standardize
        yield from parts(network.net)
    elif isinstance(network, nn.Sequential | Simulation):
        for module in network if isinstance(network, nn.Sequential) else network.layers:
            yield from parts(module)
    else:
        yield network


def pooled_entries(layer: EquivariantLinear, input: str, tied: frozenset[str]) -> int:
    """Over how many entries a term pools: the units of the groups that its input carries and that are not tied."""
    (groups,) = (p.groups for p in layer.space.parameters if p.name == input)
    return math.prod(layer.space.group(g).size for g in groups if g in moved(layer) and g not in tied)


def _fold_behind(layer: EquivariantLinear, norm: BatchNorm) -> None:
    """The layer followed by batch normalisation with running statistics."""
    for parameter, own in zip(layer.space.parameters, norm.norms, strict=True):
        assert isinstance(own, nn.BatchNorm1d)
        if own.training or own.running_mean is None or own.running_var is None:
            raise TheoryError("batch normalisation is an affine map in evaluation mode alone: call .eval() first")
        scale = own.weight.double() / (own.running_var.double() + own.eps).sqrt()
        bias = layer.biases(parameter.name)
        for view in [bias, *(layer.coefficients(*term) for term in layer.terms() if term.output == parameter.name)]:
            view *= _rows(scale, view)
        bias += _rows(own.bias.double() - own.running_mean.double() * scale, bias)


def _rows(vector: Float[Tensor, " out"], view: Tensor) -> Tensor:
    """A vector of output channels, to be broadcast over the other axes."""
    return vector.view(-1, *[1] * (view.dim() - 1))


def _fold_before(layer: EquivariantLinear, standardize: Standardize) -> None:
    """The layer on standardised features: of an entry, a mean is subtracted and then a deviation divided by."""
    names = [parameter.name for parameter in layer.space.parameters]
    statistics = {name: _statistics(layer, standardize, i) for i, name in enumerate(names)}
    for term in layer.terms():
        mean, std = statistics[term.input]
        coefficients = layer.coefficients(*term)
        coefficients /= std
        entries = pooled_entries(layer, term.input, term.tied) if layer.reduction == "sum" else 1
        layer.biases(term.output).sub_((coefficients * mean).flatten(coefficients.dim() - mean.dim()).sum(-1) * entries)


def _statistics(layer: EquivariantLinear, standardize: Standardize, i: int) -> list[Float[Tensor, "channels *dense"]]:
    """Mean and deviation of one parameter, for each channel and each place of the axes that the layer holds dense."""
    parameter, found = layer.space.parameters[i], []
    for name in ("mean", "std"):
        value: Tensor = getattr(standardize, f"{name}{i}").double()[0]
        for axis, group in reversed(list(enumerate(parameter.groups))):
            if group in moved(layer) and value.shape[axis] > 1:
                raise TheoryError(
                    f"standardize={standardize.mode!r} has statistics of its own for each unit of {group!r}, which the "
                    "layers permute; take 'orbit', 'tensor', 'scale' or 'none'"
                )
            if group in moved(layer):
                value = value.squeeze(axis)
            else:
                value = value.expand(*(n if a != axis else parameter.shape[a] for a, n in enumerate(value.shape)))
        found.append(value.movedim(-1, 0))
    return found
