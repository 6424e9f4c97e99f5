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

_MIXTURES: Place = (-1, -1)
"""The axis of mixtures, which is one for all factors."""


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
    def of(cls, position: int, parameter: Parameter, dense: tuple[int, ...] = (), mixtures: int = 0) -> Product:
        """A parameter alone; one axis of mixtures, at the end, may stand for some of its axes."""
        kept = [axis for axis in range(len(parameter.axes)) if axis not in dense]
        axes = tuple(parameter.axes[axis] for axis in kept) + ((Axis(mixtures),) if dense else ())
        places = [(position, axis) for axis in kept] + ([_MIXTURES] if dense else [])
        return cls(parameter.name, frozenset({position}), axes, tuple(frozenset({place}) for place in places))

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

    Axes that no permutation moves, as input units and positions, would be there in pairs. Where they are long, learned
    mixtures take their place: :math:`\langle u_k v_k^\top, W_Q^\top W_K \rangle = (W_Q u_k) \cdot (W_K v_k)`, which
    costs no more than its factors.

    Args:
        space: weight space of the networks.
        mixtures: number of mixtures of the axes of one parameter that nothing moves, where they have more than the
            root of this number of entries; None for all pairs.

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

    def __init__(self, space: WeightSpace, mixtures: int | None = None) -> None:
        super().__init__()
        plain = [Product.of(i, parameter) for i, parameter in enumerate(space.parameters)]
        self.space, self.linear = space, _eliminated(space, plain)[0]
        permutations = space.symmetry("permutation")
        self._moved = {group.name for group in space.groups if permutations.factor(group.units).permutes}
        self.mixing = nn.ParameterDict()
        for i, parameter in enumerate(space.parameters if mixtures is not None else ()):
            dense = self.dense(parameter)
            size = math.prod(parameter.shape[axis] for axis in dense)
            if mixtures is not None and size**2 > mixtures and self.linear.intersection(parameter.groups):
                plain[i] = Product.of(i, parameter, dense, mixtures)
                self.mixing[str(i)] = nn.Parameter(torch.randn(size, mixtures) / math.sqrt(size))
        self.products = tuple(_eliminated(space, plain)[1])
        self.products_space = WeightSpace(
            tuple(group for group in space.groups if group.name not in self.linear),
            tuple(Parameter(product.name, product.axes) for product in self.products),
        )

    @property
    def symmetry(self) -> SymmetryGroup:
        """Permutations, and the general linear groups of the axes that are gone: what leaves the products alone."""
        pairs = zip(self.space.groups, self.space.symmetry("permutation").factors, strict=True)
        return SymmetryGroup(
            self.space, tuple(group.symmetry if group.name in self.linear else factor for group, factor in pairs)
        )

    def dense(self, parameter: Parameter) -> tuple[int, ...]:
        """The axes of a parameter that no permutation and no matrix moves."""
        return tuple(axis for axis in range(len(parameter.axes)) if not self.moves(parameter.axes[axis]))

    def moves(self, axis: Axis) -> bool:
        """Whether permutations or matrices move an axis."""
        return axis.group in self._moved

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Features on the space of the products, with the same channels."""
        check_space(self.space, theta)
        known: dict[Product, Tensor] = {}
        factors = list(theta.tensors)
        for key, mixing in self.mixing.items():
            dense = [1 + axis for axis in self.dense(self.space.parameters[int(key)])]
            last = factors[int(key)].movedim(dense, list(range(-1 - len(dense), -1)))
            factors[int(key)] = torch.einsum("...nc,nk->...kc", last.flatten(-1 - len(dense), -2), mixing)
        tensors = tuple(product.evaluate(factors, known) for product in self.products)
        return WeightFeatures(self.products_space, tensors)


def _eliminated(space: WeightSpace, products: list[Product]) -> tuple[frozenset[str], list[Product]]:
    """The neuron groups that can be multiplied away, and what is left."""
    gone = []
    for group in space.groups:
        if isinstance(group.symmetry, GeneralLinearGroup) and (left := _without(group, products)) is not None:
            products = left
            gone.append(group.name)
    return frozenset(gone), products


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
    shared = frozenset({_MIXTURES})
    if shared in down.places and shared in up.places:
        second[up.places.index(shared)] = first[down.places.index(shared)]
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
