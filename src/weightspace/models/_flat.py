"""Multilayer perceptrons on the flattened weights, and how they are moved along orbits."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from ..nn import head
from ..space import GroupElement, SymmetryGroup, WeightFeatures, WeightSpace
from ._metanetwork import Ports

__all__ = ["FlatMLP", "Moved"]


class FlatMLP(nn.Module):
    """A multilayer perceptron on all entries side by side; it respects no symmetry.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: width of the layers between.
        depth: number of linear layers.
        dropout: probability.
    """

    def __init__(self, space: WeightSpace, ports: Ports, hidden: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.space, self.ports = space, ports
        size = space.num_parameters
        outputs = size * ports.out if ports.equivariant else ports.out
        self.layers = head(size * ports.in_channels, hidden, outputs, dropout, depth)

    def forward(self, theta: WeightFeatures) -> WeightFeatures | Tensor:
        """Weight features for an equivariant task, [batch, out] for an invariant one."""
        out: Tensor = self.layers(theta.flatten())
        if not self.ports.equivariant:
            return out
        shapes = [(*p.shape, self.ports.out) for p in self.space.parameters]
        parts = out.split([math.prod(shape) for shape in shapes], dim=1)
        return WeightFeatures(
            self.space, tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))
        )


class Moved(nn.Module):
    """``g^-1 net(g theta)``, or ``net(g theta)`` where the output is a vector.

    Args:
        net: the network.
        group: the group of g.
        choose: gives g for a batch of weight features, from the group.
        training_only: whether g is the identity in evaluation mode.
    """

    def __init__(
        self,
        net: nn.Module,
        group: SymmetryGroup,
        choose: Callable[[WeightFeatures, SymmetryGroup], GroupElement],
        training_only: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.group, self.choose, self.training_only = net, group, choose, training_only

    def forward(self, theta: WeightFeatures) -> WeightFeatures | Tensor:
        """Applies the network to the moved input and moves its output back."""
        if self.training_only and not self.training:
            unmoved: WeightFeatures | Tensor = self.net(theta)
            return unmoved
        element = self.choose(theta, self.group)
        out: WeightFeatures | Tensor = self.net(self.group.act(element, theta))
        return self.group.act(self.group.inverse(element), out) if isinstance(out, WeightFeatures) else out
