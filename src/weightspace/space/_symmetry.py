"""The symmetry group of a weight space and its action, which is written here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._errors import SymmetryError
from ..group import (
    GENERAL_LINEAR,
    MONOMIAL,
    PERMUTATION,
    POSITIVE_MONOMIAL,
    SIGNED_PERMUTATION,
    TRIVIAL,
    GeneralLinearGroup,
    Linear,
    Matrix,
    MatrixGroup,
    Monomial,
    MonomialGroup,
)
from ._features import WeightFeatures, check_features
from ._labels import NeuronGroup, Parameter
from ._space import WeightSpace

__all__ = ["GroupElement", "SymmetryGroup", "symmetry"]

GroupElement = dict[str, Matrix]
"""A batch of group elements: one batch of matrices for each neuron group, by name. Groups of the same units hold the
same permutations, and matrices on the coordinates of heads hold a copy of the permutations of the heads."""

_BY_NAME: dict[str, MatrixGroup] = {
    group.name: group
    for group in (TRIVIAL, PERMUTATION, SIGNED_PERMUTATION, POSITIVE_MONOMIAL, MONOMIAL, GENERAL_LINEAR)
}


@dataclass(frozen=True)
class SymmetryGroup:
    """A product of matrix groups, one for each neuron group of a weight space.

    Attributes:
        space: the weight space.
        factors: one matrix group for each of ``space.groups``, in their order.
    """

    space: WeightSpace
    factors: tuple[MatrixGroup, ...]

    def factor(self, name: str) -> MatrixGroup:
        """The matrix group on the neuron group of that name."""
        return self._factors[name]

    @cached_property
    def _factors(self) -> dict[str, MatrixGroup]:
        return {group.name: factor for group, factor in self._pairs()}

    def restricted(self, *, io: bool = True, scales: bool = True, linear: bool = True) -> SymmetryGroup:
        """A subgroup.

        Args:
            io: False to leave input and output neurons where they are.
            scales: False to leave out all scales and general matrices, so that only permutations remain.
            linear: False to take permutations in the place of general matrices.
        """

        def smaller(group: NeuronGroup, factor: MatrixGroup) -> MatrixGroup:
            if group.kind != "hidden" and not io:
                return TRIVIAL
            if isinstance(factor, GeneralLinearGroup):
                return factor if scales and linear else PERMUTATION
            if factor.scales != "none" and not scales:
                return PERMUTATION if factor.permutes else TRIVIAL
            return factor

        return SymmetryGroup(self.space, tuple(smaller(group, factor) for group, factor in self._pairs()))

    def identity_component(self) -> SymmetryGroup:
        """The connected component of the identity: positive scales, and matrices of positive determinant."""

        def component(factor: MatrixGroup) -> MatrixGroup:
            if isinstance(factor, GeneralLinearGroup):
                return GeneralLinearGroup("positive_general_linear", positive=True)
            if factor.scales in ("positive", "nonzero"):
                return MonomialGroup("positive_scaling", permutes=False, scales="positive")
            return TRIVIAL

        return SymmetryGroup(self.space, tuple(component(factor) for factor in self.factors))

    def sample(
        self,
        batch: int,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        scale_range: float = 10.0,
    ) -> GroupElement:
        """Draws ``batch`` elements: permutations and signs uniform, scales log-uniform within ``scale_range``.

        ``scale_range`` is also the bound on the condition number of general matrices.
        """
        return self._draw(
            lambda factor, size, tied: factor.sample(
                batch, size, generator=generator, dtype=dtype, scale_range=scale_range, **tied
            ),
            device,
        )

    def identity(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> GroupElement:
        """The identity, ``batch`` times."""
        return self._draw(lambda factor, size, tied: factor.identity(batch, size, dtype=dtype, **tied), device)

    def _draw(self, draw: Callable[..., Matrix], device: torch.device | str | None) -> GroupElement:
        """One element for each group, of tied and fibred groups after those whose permutations they share."""
        element: GroupElement = {}
        for group, factor in sorted(self._pairs(), key=lambda pair: (pair[0].tied or pair[0].over) is not None):
            tied: dict[str, Any] = {}
            if group.tied is not None:
                tied["permutation"] = element[group.tied].permutation
            elif isinstance(factor, GeneralLinearGroup) and group.over is not None:
                tied = {"heads": self.space.group(group.over).size, "permutation": element[group.over].permutation}
            element[group.name] = draw(factor, group.size, tied)
        return _to(element, device)

    def compose(self, second: GroupElement, first: GroupElement) -> GroupElement:
        """The product ``second * first``: ``act(compose(g2, g1), theta) = act(g2, act(g1, theta))``."""
        return {g.name: _of(factor).compose(second[g.name], first[g.name]) for g, factor in self._pairs()}

    def inverse(self, element: GroupElement) -> GroupElement:
        """The inverse elements."""
        return {group.name: _of(factor).inverse(element[group.name]) for group, factor in self._pairs()}

    def act(self, element: GroupElement, theta: WeightFeatures) -> WeightFeatures:
        """The action: every *out* axis is multiplied by its group's matrix g, every *in* axis by g^-T.

        Args:
            element: a batch of B elements, or of one. Scales with a channel axis are of one element for each channel.
            theta: weight features of B networks (or of one) with any number of channels, which are untouched.

        Raises:
            SymmetryError: if ``theta`` belongs to another space or the element does not fit the batch.
        """
        self._check(element, theta)
        sides = self.sides(element, theta.tensors[0])
        pairs = zip(self.space.parameters, theta.tensors, strict=True)
        tensors = [self.act_on(parameter, tensor, sides) for parameter, tensor in pairs]
        batch = max(len(t) for t in tensors)  # many elements on one network leave what they do not move as it is
        return WeightFeatures(
            self.space, tuple(t if len(t) == batch else t.expand(batch, *t.shape[1:]) for t in tensors)
        )

    def sides(self, element: GroupElement, like: Tensor) -> dict[tuple[str, str], Matrix]:
        """The matrices for *out* and for *in* axes of each neuron group, in the precision of a tensor."""
        sides: dict[tuple[str, str], Matrix] = {}
        for group, factor in self._pairs():
            matrix = _like(element[group.name], like)  # scales are inverted in the precision of the networks
            sides[group.name, "out"], sides[group.name, "in"] = matrix, _of(factor).contragredient(matrix)
        return sides

    def act_on(self, parameter: Parameter, tensor: Tensor, sides: dict[tuple[str, str], Matrix]) -> Tensor:
        """The action on one parameter, with what `sides` returned: all scales and matrices, then all permutations."""
        heads = {axis.group: position for position, axis in enumerate(parameter.axes, start=1)}
        for position, axis in enumerate(parameter.axes, start=1):
            for name, side in axis.carried():
                matrix = sides[name, side]
                if isinstance(matrix, Linear):
                    over = self.space.group(name).over
                    tensor = GENERAL_LINEAR.apply(matrix, tensor, position, None if over is None else heads[over])
                else:
                    tensor = MONOMIAL.apply(Monomial(None, matrix.scale), tensor, position)
        for position, axis in enumerate(parameter.axes, start=1):
            if axis.group is None:
                continue
            matrix = sides[self.space.group(axis.group).units, "out"]
            if isinstance(matrix, Monomial):
                tensor = MONOMIAL.apply(Monomial(matrix.permutation), tensor, position)
        return tensor

    def _pairs(self) -> list[tuple[NeuronGroup, MatrixGroup]]:
        return list(zip(self.space.groups, self.factors, strict=True))

    def _check(self, element: GroupElement, theta: WeightFeatures) -> None:
        check_features(theta)
        if theta.space != self.space:
            raise SymmetryError(f"the features are of another weight space: {self.space.difference(theta.space)}")
        for group in self.space.groups:
            if group.name not in element:
                raise SymmetryError(f"the group element has no matrix for neuron group {group.name!r}")
            units = self.space.group(group.over).size if group.over is not None else group.size
            expected: dict[str, tuple[int, ...]] = {"scale": (group.size,), "permutation": (group.size,)}
            if isinstance(element[group.name], Linear):
                square = (group.size, group.size)
                expected = {"matrix": square if group.over is None else (units, *square), "permutation": (units,)}
            for part, shape in expected.items():
                found = getattr(element[group.name], part)
                if found is None:
                    continue
                per_channel = part == "scale" and found.shape[1:] == (*shape, theta.channels)
                if (found.shape[1:] != shape and not per_channel) or not (
                    found.shape[0] == len(theta) or 1 in (found.shape[0], len(theta))
                ):
                    raise SymmetryError(
                        f"the element on neuron group {group.name!r} has a {part} of shape {tuple(found.shape)}; "
                        f"expected ({', '.join(map(str, (f'{len(theta)} or 1', *shape)))})"
                    )


def _of(factor: MatrixGroup) -> Any:
    """The operations of a matrix group; its elements are of its own kind."""
    return factor


def _like(matrix: Matrix, tensor: Tensor) -> Matrix:
    """Scales and matrices in the precision of a tensor."""
    if isinstance(matrix, Linear):
        return Linear(matrix.matrix.to(tensor), matrix.permutation)
    return Monomial(matrix.permutation, None if matrix.scale is None else matrix.scale.to(tensor))


def symmetry(space: WeightSpace, name: str | None) -> SymmetryGroup:
    """See `WeightSpace.symmetry`."""
    if name is None:
        return SymmetryGroup(space, tuple(group.symmetry for group in space.groups))
    if name not in _BY_NAME:
        raise SymmetryError(f"unknown group {name!r}; known: {', '.join(_BY_NAME)}")
    wanted = _BY_NAME[name]
    factors = {group.name: _within(group, wanted) for group in space.groups}
    free = [group for group in space.groups if group.symmetry != TRIVIAL]
    if free and all(factors[group.name].scales != wanted.scales for group in free):
        raise SymmetryError(
            f"{name} would change what the networks compute: neuron group {free[0].name!r} {free[0].refusal(wanted)}. "
            f"Its largest group is {free[0].symmetry.name!r}"
        )
    return SymmetryGroup(space, tuple(factors.values()))


def _within(group: NeuronGroup, wanted: MatrixGroup) -> MatrixGroup:
    """The wanted matrix group on one neuron group, or what it has of it: its permutations, or nothing.

    Units that no operation is known to leave symmetric stay where they are. A tied group has scales alone.
    """
    if wanted == TRIVIAL or group.symmetry == TRIVIAL:
        return TRIVIAL
    if isinstance(wanted, GeneralLinearGroup) or group.tied is None:
        return wanted if group.symmetry.contains(wanted) else PERMUTATION
    scales = MonomialGroup(f"{wanted.name}_scales", permutes=False, scales=wanted.scales)
    return scales if group.symmetry.contains(scales) and wanted.scales != "none" else TRIVIAL


def _to(element: GroupElement, device: torch.device | str | None) -> GroupElement:
    if device is None:
        return element
    moved: GroupElement = pytree.tree_map(lambda t: None if t is None else t.to(device), element)
    return moved
