"""MLP: the baseline without equivariance."""

from __future__ import annotations

from torch import nn

from ..space import GroupElement, SymmetryGroup, WeightFeatures, WeightSpace
from ._flat import FlatMLP, Moved
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["mlp"]


@register("mlp", standardize="orbit")
def mlp(
    space: WeightSpace,
    ports: Ports,
    hidden: int = 512,
    depth: int = 3,
    augment: bool = True,
    dropout: float = 0.1,
) -> Body:
    """A multilayer perceptron on the flattened weights, which respects no symmetry.

    Source: the baseline "MLP" and "MLP + augmentation" of Navon et al. (2023), arXiv 2301.12780.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: width of the layers.
        depth: number of linear layers.
        augment: permute the hidden neurons of every input network at random, in training only, and the neurons of an
            equivariant output back, so that equivariance is learnt instead of built in.
        dropout: probability.
    """
    net: nn.Module = FlatMLP(space, ports, hidden, depth, dropout)
    if augment:
        net = Moved(net, space.symmetry("permutation"), _at_random, training_only=True)
    return Body(net, space.symmetry("trivial"))


def _at_random(theta: WeightFeatures, group: SymmetryGroup) -> GroupElement:
    return group.sample(len(theta), device=theta.device)
