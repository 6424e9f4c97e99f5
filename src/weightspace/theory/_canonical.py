"""A DWS network with explicit weights that brings its input into canonical form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .._errors import TheoryError
from ..nn import EquivariantLinear, InvariantPool, Pointwise, check_space
from ..space import Parameter, WeightFeatures, WeightSpace
from ._arguments import check_positive
from ._simulation import check_neurons, empty_layer, write

__all__ = ["CanonicalFormNetwork", "hidden_biases"]

# Channels while neurons are ranked: the two parts of every entry, which wait; at the biases of hidden neurons the keys
# that are left, what of them exceeds the thresholds, the sum of the thresholds, and from RANKS on a mark for each rank.
POSITIVE, NEGATIVE, KEY, REST, SUM, RANKS = range(6)


class CanonicalFormNetwork(nn.Module):
    r"""A DWS network with explicit weights that sorts hidden neurons by bias: `canonicalize` as a circuit.

    The layers are `EquivariantLinear` with ReLU between, and nothing else. With n the largest hidden width, all hidden
    layers are ranked at once, in n rounds of n layers:

    - the maximum of n keys :math:`y_i \ge 0`: for k = n, ..., 2 let :math:`t = \frac1k \sum_i y_i` and
      :math:`y_i \leftarrow relu(y_i - t)`, which leaves at most k - 1 of them positive; the maximum is the sum of all t
      and of what is left;
    - ``relu(1 - (maximum - key) / margin)`` is 1 at the largest key and 0 at all others: the mark of this rank. The
      neuron that has it gets key 0 for the next round.

    An entry w of a matrix between neurons with marks o and p for the ranks r and s then goes to channel (r, s):
    :math:`relu(w + B(o + p - 2)) - relu(-w + B(o + p - 2))` is w if both marks are 1, else 0, and the sum over all
    neurons is the entry (r, s) of the canonical form.

    Nothing is approximated, but there is rounding: keys of the size of the radius are compared over the margin, and the
    marks are multiplied by the radius. In float64 the result is off by about 1e-15 radius² / margin, whatever the size
    of the weights: 1e-13 for a radius of 1 and a margin of 0.01, 6e-5 for 1e4 and 0.001. So take the smallest radius
    and the largest margin that hold.

    Its depth grows with n², its channels with the size of the matrices: it is a proof, for small networks. To compute
    canonical forms take `weightspace.canonicalize`.

    Source: sharpens theorem 6.3 of arXiv 2602.01083, where this step is approximated.

    Args:
        space: weight space of the networks: matrices and biases between any neurons, with any activation.
        margin: the smallest distance between two biases of a layer for which the network sorts.
        radius: bound B on all weights.

    Attributes:
        layers: the `EquivariantLinear` layers and the ReLUs; their weights are constants.

    Raises:
        TheoryError: for another space, and for a margin or a radius that is not positive.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 3, 1])
        >>> theta = space.sample(1).to(torch.float64)
        >>> theta = space.features({**theta, "0.bias": torch.tensor([[[0.3], [-0.4], [0.1]]], dtype=torch.float64)})
        >>> form = CanonicalFormNetwork(space, margin=0.1, radius=1.0)(theta)
        >>> [round(float(bias), 9) for bias in form["0.bias"].flatten()]
        [-0.4, 0.1, 0.3]
    """

    def __init__(self, space: WeightSpace, margin: float, radius: float) -> None:
        super().__init__()
        for name, value in (("margin", margin), ("radius", radius)):
            check_positive(name, value)
        self.space, self.margin, self.radius = space, margin, radius
        self._bias = hidden_biases(space, "the canonical form network")
        self._size = max((space.group(name).size for name in self._bias), default=0)
        first, *others = range(max(self._size, 2), 1, -1)
        self._removed = 2 * (radius + margin)  # more than any key
        self._offset = self._removed / first  # keeps thresholds positive, though a removed key is not, until the ReLU
        more = [self._threshold(k) for k in others]  # the same in every round
        linear = [self._split()]
        for r in range(self._size):
            linear += [self._threshold(first, r), *more, self._mark(r)]
        linear.append(self._gate())
        relu = Pointwise(torch.relu)
        self.layers = nn.Sequential(*[module for layer in linear for module in (layer, relu)]).requires_grad_(False)
        self._pool = InvariantPool(space, linear[-1].out_channels, reduction="sum")

    @property
    def depth(self) -> int:
        """The number of ReLU layers: n² + 2 for the largest hidden width n."""
        return len(self.layers) // 2

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """The canonical forms of raw weights, one channel.

        Raises:
            ModelError: for weights of another space, or not in float64, in which the network is made.
        """
        check_space(self.space, theta, 1, like=next(self.layers.parameters()))
        pooled = self._pool(self.layers(theta))
        parts = pooled.split([2 * self._width * math.prod(self._sizes(p)[0]) for p in self.space.parameters], dim=1)
        tensors = [self._read(p, part)[..., None] for p, part in zip(self.space.parameters, parts, strict=True)]
        return WeightFeatures(self.space, tuple(tensors))

    def _layer(
        self, ranked: Tensor, others: Tensor, sums: Tensor | None = None, bias: Tensor | None = None
    ) -> EquivariantLinear:
        """An affine map of the biases of hidden neurons and of their sums, and a linear one of all other entries."""
        layer = empty_layer(self.space, ranked.shape[1], ranked.shape[0])
        for parameter in self.space.parameters:
            name, hidden = parameter.name, parameter.name in self._bias.values()
            write(layer, name, name, parameter.groups, ranked if hidden else others)
            if hidden and sums is not None:
                write(layer, name, name, (), sums)
            if hidden and bias is not None:
                _shift(layer, name, bias)
        return layer

    def _split(self) -> EquivariantLinear:
        """The two parts of every entry, and positive keys."""
        entry, key = torch.zeros(2, RANKS + self._size, 1, dtype=torch.float64)
        entry[POSITIVE], entry[NEGATIVE], key[KEY] = 1.0, -1.0, 1.0
        return self._layer(entry + key, entry, bias=(self.radius + self.margin) * key[:, 0])

    def _threshold(self, k: int, r: int | None = None) -> EquivariantLinear:
        """Subtracts a k-th of their sum from the keys; the first layer of round r removes the last mark before that."""
        stay = torch.eye(RANKS + self._size, dtype=torch.float64)
        ranked, sums, bias = stay.clone(), torch.zeros_like(stay), torch.zeros_like(stay[0])
        if r is not None:
            if r > 0:
                ranked[KEY, RANKS + r - 1] = -self._removed
            ranked[REST], ranked[SUM] = ranked[KEY], 0.0
            bias[SUM] = self._offset
        sums[REST], sums[SUM] = -ranked[REST] / k, ranked[REST] / k
        return self._layer(ranked, stay, sums, bias)

    def _mark(self, r: int) -> EquivariantLinear:
        """Marks the largest key: 1 - (maximum - key) / margin, the maximum being the thresholds and what is left."""
        stay = torch.eye(RANKS + self._size, dtype=torch.float64)
        ranked, sums, bias = stay.clone(), torch.zeros_like(stay), torch.zeros_like(stay[0])
        ranked[RANKS + r] = (stay[KEY] - stay[SUM]) / self.margin
        sums[RANKS + r] = -stay[REST] / self.margin
        bias[RANKS + r] = 1 + self._offset / self.margin
        return self._layer(ranked, stay, sums, bias)

    def _gate(self) -> EquivariantLinear:
        """Every entry, and minus it, in the channel of the ranks of its hidden neurons; below 0 in all others."""
        self._width = max(math.prod(self._sizes(p)[1]) for p in self.space.parameters)
        layer = empty_layer(self.space, RANKS + self._size, 2 * self._width)
        sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        for parameter in self.space.parameters:
            name, sizes = parameter.name, self._sizes(parameter)[1]
            gate = torch.zeros(2, self._width, RANKS + self._size, dtype=torch.float64)
            gate[..., POSITIVE], gate[..., NEGATIVE] = sign, -sign
            write(layer, name, name, parameter.groups, gate.flatten(0, 1))
            carried = [group for group in parameter.groups if group in self._bias]
            places = torch.unravel_index(torch.arange(math.prod(sizes)), sizes) if sizes else ()
            for group, size, rank in zip(carried, sizes, places, strict=True):
                mark = torch.zeros_like(gate)
                mark[:, torch.arange(len(rank)), RANKS + size - 1 - rank] = self.radius  # the largest is marked first
                write(layer, name, self._bias[group], {group}, mark.flatten(0, 1))
            _shift(layer, name, torch.full((2 * self._width,), -self.radius * len(carried), dtype=torch.float64))
        return layer

    def _sizes(self, parameter: Parameter) -> tuple[list[int], list[int]]:
        """The numbers of input and output units that a parameter carries, and those of hidden ones."""
        hidden = [axis.size for axis in parameter.axes if axis.group in self._bias]
        return [axis.size for axis in parameter.axes if axis.group not in self._bias], hidden

    def _read(self, parameter: Parameter, pooled: Tensor) -> Tensor:
        """[batch, dense entries and channels] -> [batch, *axes]."""
        ends, hidden = self._sizes(parameter)
        plus, minus = pooled.view(-1, *ends, 2, self._width).unbind(-2)
        entries = (plus - minus)[..., : math.prod(hidden)].reshape(len(pooled), *ends, *hidden)
        order = sorted(range(len(parameter.axes)), key=lambda i: parameter.axes[i].group in self._bias)
        return entries.permute(0, *(1 + order.index(i) for i in range(len(order))))


def hidden_biases(space: WeightSpace, what: str) -> dict[str, str]:
    """The name of the bias of each hidden neuron group, by which its neurons are sorted.

    Raises:
        TheoryError: for networks that are no layers of neurons, or without biases.
    """
    check_neurons(space, what)
    found = {p.groups[0]: p.name for p in reversed(space.parameters) if len(p.groups) == 1}  # the first one counts
    hidden = [group.name for group in space.groups if group.kind == "hidden"]
    for name in hidden:
        if name not in found:
            raise TheoryError(f"{what} sorts neurons by their biases; neuron group {name!r} has none")
    return {name: found[name] for name in hidden}


@torch.no_grad()
def _shift(layer: EquivariantLinear, name: str, bias: Tensor) -> None:
    """Adds a vector to all entries of a parameter."""
    view = layer.biases(name)
    view += bias.reshape(-1, *[1] * (view.dim() - 1))
