"""The symmetry group of a weight space and its action, which is written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils import _pytree as pytree

from .._errors import SymmetryError
from ..group import PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL, Monomial, MonomialGroup
from ._features import WeightFeatures
from ._space import NeuronGroup, WeightSpace

__all__ = ["GroupElement", "SymmetryGroup", "symmetry"]

GroupElement = dict[str, Monomial]
"""A batch of group elements: one batch of matrices for each neuron group, by name."""

_BY_NAME = {group.name: group for group in (TRIVIAL, PERMUTATION, SIGNED_PERMUTATION, POSITIVE_MONOMIAL)}


@dataclass(frozen=True)
class SymmetryGroup:
    """A product of matrix groups, one for each neuron group of a weight space.

    Attributes:
        space: the weight space.
        factors: one matrix group for each of ``space.groups``, in their order.
    """

    space: WeightSpace
    factors: tuple[MonomialGroup, ...]

    def factor(self, name: str) -> MonomialGroup:
        """The matrix group on the neuron group of that name."""
        return {group.name: factor for group, factor in self._pairs()}[name]

    def restricted(self, *, io: bool = True, scales: bool = True) -> SymmetryGroup:
        """The subgroup without permutations of input and output neurons (``io=False``) or without any scales."""
        return SymmetryGroup(
            self.space,
            tuple(
                TRIVIAL
                if group.kind != "hidden" and not io
                else MonomialGroup(PERMUTATION.name if factor.permutes else TRIVIAL.name, factor.permutes)
                if factor.scales != "none" and not scales
                else factor
                for group, factor in self._pairs()
            ),
        )

    def sample(
        self,
        batch: int,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        scale_range: float = 10.0,
    ) -> GroupElement:
        """Draws ``batch`` elements: permutations and signs uniform, scales log-uniform within ``scale_range``."""
        element = {
            group.name: factor.sample(batch, group.size, generator=generator, dtype=dtype, scale_range=scale_range)
            for group, factor in self._pairs()
        }
        return _to(element, device)

    def identity(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> GroupElement:
        """The identity, ``batch`` times."""
        return _to(
            {group.name: factor.identity(batch, group.size, dtype=dtype) for group, factor in self._pairs()}, device
        )

    def compose(self, second: GroupElement, first: GroupElement) -> GroupElement:
        """The product ``second * first``: ``act(compose(g2, g1), theta) = act(g2, act(g1, theta))``."""
        return {g.name: factor.compose(second[g.name], first[g.name]) for g, factor in self._pairs()}

    def inverse(self, element: GroupElement) -> GroupElement:
        """The inverse elements."""
        return {group.name: factor.inverse(element[group.name]) for group, factor in self._pairs()}

    def act(self, element: GroupElement, theta: WeightFeatures) -> WeightFeatures:
        """The action: every *out* axis is multiplied by its group's matrix g, every *in* axis by g^-T.

        Args:
            element: a batch of B elements, or of one.
            theta: weight features of B networks (or of one) with any number of channels, which are untouched.

        Raises:
            SymmetryError: if ``theta`` belongs to another space or the element does not fit the batch.
        """
        self._check(element, theta)
        # scales are inverted in the precision of the networks
        element = {
            name: Monomial(permutation, None if scale is None else scale.to(theta.tensors[0]))
            for name, (permutation, scale) in element.items()
        }
        factors = {group.name: factor for group, factor in self._pairs()}
        tensors = []
        for parameter, tensor in zip(self.space.parameters, theta.tensors, strict=True):
            for position, axis in enumerate(parameter.axes, start=1):
                if axis.group is None:
                    continue
                factor, matrix = factors[axis.group], element[axis.group]
                if axis.side == "in":
                    matrix = factor.contragredient(matrix)
                tensor = factor.apply(matrix, tensor, position)
            tensors.append(tensor)
        return WeightFeatures(self.space, tuple(tensors))

    def _pairs(self) -> list[tuple[NeuronGroup, MonomialGroup]]:
        return list(zip(self.space.groups, self.factors, strict=True))

    def _check(self, element: GroupElement, theta: WeightFeatures) -> None:
        if theta.space != self.space:
            raise SymmetryError(f"the features are of another weight space: {self.space.difference(theta.space)}")
        for group in self.space.groups:
            if group.name not in element:
                raise SymmetryError(f"the group element has no matrix for neuron group {group.name!r}")
            for part in element[group.name]:
                if part is None:
                    continue
                if part.shape[1] != group.size or not (part.shape[0] == len(theta) or 1 in (part.shape[0], len(theta))):
                    raise SymmetryError(
                        f"the element on neuron group {group.name!r} has shape {tuple(part.shape)}; expected "
                        f"({len(theta)} or 1, {group.size})"
                    )


def symmetry(space: WeightSpace, name: str | None) -> SymmetryGroup:
    """See `WeightSpace.symmetry`."""
    if name is None:
        return SymmetryGroup(space, tuple(group.symmetry for group in space.groups))
    if name not in _BY_NAME:
        raise SymmetryError(f"unknown group {name!r}; known: {', '.join(_BY_NAME)}")
    wanted = _BY_NAME[name]
    for group in space.groups:
        if group.kind == "hidden" and (reason := group.activation.refusal(wanted)):
            raise SymmetryError(
                f"{name} would change what the networks compute: neuron group {group.name!r} has activation "
                f"{group.activation.name!r}, and {reason}. Its largest group is {group.symmetry.name!r}"
            )
    return SymmetryGroup(space, tuple(wanted if group.kind == "hidden" else TRIVIAL for group in space.groups))


def _to(element: GroupElement, device: torch.device | str | None) -> GroupElement:
    if device is None:
        return element
    moved: GroupElement = pytree.tree_map(lambda t: None if t is None else t.to(device), element)
    return moved
