"""The canonical form told to every entry: an equivariant map on networks without ties."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..nn import PerParameter, check_space, head
from ..orbit import canonicalize
from ..space import Parameter, WeightFeatures, WeightSpace
from ._canonical import hidden_biases

__all__ = ["CanonicalBroadcast"]


class CanonicalBroadcast(nn.Module):
    """An MLP on every entry that knows the canonical form of the network and the place of the entry.

    The input of the MLP, one for each parameter, is the entry itself, the biases of the hidden neurons that it joins,
    which input and output units it joins (one-hot), and the whole canonical form. So the map is equivariant, and with
    MLPs large enough it comes as near as wanted to every continuous equivariant map on networks without ties: the
    biases tell the ranks of the neurons, and these the place in the canonical form.

    Source: arXiv 2602.01083, theorem 7.4, whose proof broadcasts the canonical form alone; see ``endpoints``.

    Args:
        space: weight space of the networks: matrices and biases.
        out_channels: channels of the output.
        hidden: width of the MLPs, which have three layers.
        endpoints: whether the MLPs see the biases of the neurons. Without them two equal entries of one parameter get
            equal outputs, whichever neurons they join.

    Raises:
        TheoryError: for another space.
    """

    def __init__(self, space: WeightSpace, out_channels: int = 1, hidden: int = 64, endpoints: bool = True) -> None:
        super().__init__()
        self.space, self.endpoints = space, endpoints
        self._bias = hidden_biases(space, "the broadcast form")
        ends = [group.size for group in space.groups if group.kind != "hidden"]
        channels = 1 + 2 * endpoints + sum(ends) + space.num_parameters
        self.maps = PerParameter(space, lambda: head(channels, hidden, out_channels))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Maps raw weights, one channel, to weight features."""
        check_space(self.space, theta, 1)
        form = canonicalize(theta, "permutation").theta.flatten()
        tensors = tuple(self._place(p, theta, form) for p in self.space.parameters)
        out: WeightFeatures = self.maps(WeightFeatures(self.space, tensors))
        return out

    def _place(self, parameter: Parameter, theta: WeightFeatures, form: Tensor) -> Tensor:
        """[batch, *axes, channels]: what the MLP of a parameter sees of each entry."""
        entry: Tensor = theta[parameter.name]
        parts = [entry, form.view(len(theta), *[1] * len(parameter.axes), -1)]
        parts += self._biases(parameter, theta) if self.endpoints else []
        for group in self.space.groups:
            if group.kind != "hidden":
                unit = one_hot(torch.arange(group.size, device=entry.device)).to(entry.dtype)
                axis = parameter.groups.index(group.name) if group.name in parameter.groups else None
                parts.append(_along(unit[None] if axis is not None else 0 * unit[None, :1], axis or 0, parameter))
        return torch.cat([part.expand(*entry.shape[:-1], -1) for part in parts], dim=-1)

    def _biases(self, parameter: Parameter, theta: WeightFeatures) -> list[Tensor]:
        found = [
            _along(theta[self._bias[name]], axis, parameter)
            for axis, name in enumerate(parameter.groups)
            if name in self._bias
        ]
        return found + [torch.zeros_like(theta[parameter.name])] * (2 - len(found))


def _along(vectors: Tensor, axis: int, parameter: Parameter) -> Tensor:
    """[batch, units, channels] -> [batch, *axes, channels], with axes of size 1 but for that of the units."""
    shape = [1] * len(parameter.axes)
    shape[axis] = vectors.shape[1]
    return vectors.reshape(len(vectors), *shape, -1)
