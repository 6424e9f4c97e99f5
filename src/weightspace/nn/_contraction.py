"""Products over the axes that general matrices act on: features that no such matrix changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..group import GeneralLinearGroup
from ..space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightFeatures, WeightSpace
from ._layout import check_space

__all__ = ["Contraction", "Product"]

Place = tuple[int, int]
"""An axis of a parameter: the position of the parameter in its space, and that of the axis."""


@dataclass(frozen=True, eq=False)
class Product:
    """A parameter, or the product of two such products over an axis that both carry.

    Attributes:
        name: names of the parameters, joined by " @ ".
        sources: positions of the parameters.
        axes: its axes.
        places: for each axis where it comes from; the axis of the heads comes from both factors.
        factors: what is multiplied, each with the indices of its axes; none if this is a parameter.
        indices: those of its own axes.
    """

    name: str
    sources: frozenset[int]
    axes: tuple[Axis, ...]
    places: tuple[frozenset[Place], ...]
    factors: tuple[tuple[Product, tuple[int, ...]], ...] = ()
    indices: tuple[int, ...] = ()

    @classmethod
    def of(cls, position: int, parameter: Parameter) -> Product:
        """A parameter alone."""
        places = tuple(frozenset({(position, axis)}) for axis in range(len(parameter.axes)))
        return cls(parameter.name, frozenset({position}), parameter.axes, places)

    def sides(self, group: str) -> list[str | None]:
        """The sides on which axes carry a neuron group; None where it does more than multiply them."""
        return [
            axis.side if axis.diagonal is None else None
            for axis in self.axes
            if group in (axis.group, axis.diagonal and axis.diagonal[0])
        ]

    def axes_of(self, source: int) -> dict[int, int]:
        """The axes of a parameter that are left, each with its position here."""
        return {axis: here for here, places in enumerate(self.places) for at, axis in places if at == source}

    def evaluate(self, tensors: Sequence[Tensor], known: dict[Product, Tensor]) -> Tensor:
        """``[batch, *axes, channels]``, channel by channel, over the root of the length of the axis that is gone."""
        if not self.factors:
            return tensors[next(iter(self.sources))]
        if self not in known:
            (down, first), (up, second) = self.factors
            gone = next(axis.size for i, axis in zip(first, down.axes, strict=True) if i not in self.indices)
            x, y = (factor.evaluate(tensors, known) for factor in (down, up))
            known[self] = torch.einsum(x, [0, *first, 1], y, [0, *second, 1], [0, *self.indices, 1]) / math.sqrt(gone)
        return known[self]


class Contraction(nn.Module):
    r"""Multiplies parameters over the axes that general linear groups act on, as in :math:`W_Q^\top W_K`, head by head.

    An axis on the out side is multiplied by g, one on the in side by :math:`g^{-T}`, so the product over both does not
    change: queries times keys and values times projections, of weights and of biases, with an axis for the heads. By
    the first fundamental theorem of invariant theory, every polynomial in the parameters that no general matrix changes
    is one in these products. What is left is a weight space that only permutations (and scales) act on.

    One neuron group after the other is multiplied away, as variables are eliminated: of linear layers in a row, whole
    products remain. Left to permutations are groups that only one side carries, and units that are multiplied with
    themselves by way of others which are already gone.

    Source: Tran et al. (2024), arXiv 2410.04209, which multiplies :math:`W_Q W_K^\top` and :math:`W_V W_O`.

    Args:
        space: weight space of the networks.

    Attributes:
        products: the parameters of the space of the products.
        linear: names of the neuron groups that are multiplied away.
        products_space: weight space of the products.

    Example:
        >>> import weightspace as ws
        >>> contraction = Contraction(ws.mlp([2, 16, 3], activation="identity"))
        >>> contraction.products_space.shapes
        {'2.bias': (3,), '2.weight @ 0.weight': (3, 2), '2.weight @ 0.bias': (3,)}
    """

    def __init__(self, space: WeightSpace) -> None:
        super().__init__()
        products = [Product.of(i, parameter) for i, parameter in enumerate(space.parameters)]
        gone = []
        for group in space.groups:
            if isinstance(group.symmetry, GeneralLinearGroup) and (left := _without(group, products)) is not None:
                products = left
                gone.append(group.name)
        self.space, self.products, self.linear = space, tuple(products), frozenset(gone)
        self.products_space = WeightSpace(
            tuple(group for group in space.groups if group.name not in self.linear),
            tuple(Parameter(product.name, product.axes) for product in products),
        )

    @property
    def symmetry(self) -> SymmetryGroup:
        """Permutations, and the general linear groups of the axes that are gone: what leaves the products alone."""
        pairs = zip(self.space.groups, self.space.symmetry("permutation").factors, strict=True)
        return SymmetryGroup(
            self.space, tuple(group.symmetry if group.name in self.linear else factor for group, factor in pairs)
        )

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Features on the space of the products, with the same channels."""
        check_space(self.space, theta)
        known: dict[Product, Tensor] = {}
        tensors = tuple(product.evaluate(theta.tensors, known) for product in self.products)
        return WeightFeatures(self.products_space, tensors)


def _without(group: NeuronGroup, products: list[Product]) -> list[Product] | None:
    """The products without the axes of a neuron group; None if there are none without."""
    ups, downs, others = ([p for p in products if p.sides(group.name) == sides] for sides in (["out"], ["in"], []))
    if not ups or not downs or len(ups) + len(downs) + len(others) < len(products):
        return None
    return others + [_multiplied(down, up, group) for down in downs for up in ups]


def _multiplied(down: Product, up: Product, group: NeuronGroup) -> Product:
    """The product over the axis of a neuron group, head by head if that is fibred over heads."""
    first = list(range(2, 2 + len(down.axes)))
    second = list(range(2 + len(down.axes), 2 + len(down.axes) + len(up.axes)))
    for name in (group.name, group.over):
        if name is not None:
            second[_position(up, name)] = first[_position(down, name)]
    axes: dict[int, Axis] = {}
    places: dict[int, frozenset[Place]] = {}
    for factor, indices in ((down, first), (up, second)):
        for index, axis, place in zip(indices, factor.axes, factor.places, strict=True):
            if axis.group != group.name:
                axes.setdefault(index, axis)
                places[index] = places.get(index, frozenset()) | place
    return Product(
        f"{down.name} @ {up.name}",
        down.sources | up.sources,
        tuple(axes.values()),
        tuple(places.values()),
        ((down, tuple(first)), (up, tuple(second))),
        tuple(axes),
    )


def _position(product: Product, group: str) -> int:
    return next(i for i, axis in enumerate(product.axes) if axis.group == group)
