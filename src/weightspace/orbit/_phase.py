r"""The phase symmetry of the sine: shifts of a bias by half periods and reflections, beside permutations.

A unit is :math:`\sin(\omega z)` of the sum z that enters it. For a sign s and a whole number k,

.. math:: \sin(\omega (s z + k \pi / \omega)) = s (-1)^k \sin(\omega z),

so all that enters the unit may be multiplied by s, its bias shifted by :math:`k \pi / \omega`, and all that leaves it
multiplied by :math:`s (-1)^k`. With permutations this is the wreath product of the infinite dihedral group and S_n. It
acts by affine maps, not by linear ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._errors import SymmetryError
from ..group import PERMUTATION, TRIVIAL
from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._structure import Carrier, Place, carriers, relabelled

__all__ = ["Phase", "PhaseElement", "PhaseGroup"]


class Phase(NamedTuple):
    """A batch of elements on the n units of one neuron group: first signs, then shifts, then the permutation.

    Attributes:
        permutation: [batch, n], as in `weightspace.group.Monomial`; None if nothing is permuted.
        sign: [batch, n], the factor s of what enters a unit.
        turns: [batch, n], the number k of half periods by which its bias is shifted.
    """

    permutation: Int[Tensor, "batch n"] | None
    sign: Float[Tensor, "batch n"]
    turns: Float[Tensor, "batch n"]


PhaseElement = dict[str, Phase]
"""A batch of elements of a `PhaseGroup`: one `Phase` for each neuron group with a sine, by name."""


@dataclass(frozen=True)
class PhaseGroup:
    """The shifts, reflections and permutations of all hidden units with a sine; the other units stay where they are.

    Attributes:
        space: the weight space.

    Raises:
        SymmetryError: if no hidden unit has a sine, or if one has not exactly one bias that enters it.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.siren([2, 16, 16, 1])
        >>> theta, group = space.sample(4).to(torch.float64), PhaseGroup(space)
        >>> x = torch.rand(50, 2, dtype=torch.float64)
        >>> moved = group.act(group.sample(4, dtype=torch.float64), theta)
        >>> torch.allclose(space.realize(moved, x), space.realize(theta, x))
        True
    """

    space: WeightSpace

    def __post_init__(self) -> None:
        if not self.periods:
            raise SymmetryError("no hidden neuron group of the space has a sine: there is no phase group")
        _ = self.biases

    @cached_property
    def periods(self) -> dict[str, float]:
        """Half a period, pi / omega, for each neuron group with a sine."""
        sines = (g for g in self.space.groups if g.kind == "hidden" and g.activation.name == "sine")
        return {group.name: math.pi / group.activation.frequency for group in sines}

    @cached_property
    def permutations(self) -> SymmetryGroup:
        """The permutations among the elements."""
        factors = (PERMUTATION if group.name in self.periods else TRIVIAL for group in self.space.groups)
        return SymmetryGroup(self.space, tuple(factors))

    @cached_property
    def carriers(self) -> dict[str, list[Carrier]]:
        """Where each neuron group with a sine is in the parameters."""
        found = carriers(self.space)
        return {name: found[name] for name in self.periods}

    @cached_property
    def biases(self) -> dict[str, Place]:
        """The parameter that is the bias of each neuron group with a sine, and its axis."""
        biases = {}
        for name, found in self.carriers.items():
            vectors = [c.place for c in found if c.width == 1 and c.side == "out" and not c.others]
            weights = [c.place for c in found if c.side == "out" and c.others]
            tied = [group.name for group in self.space.groups if group.tied == name]
            if len(vectors) != 1 or not weights or tied:
                names = ", ".join(repr(self.space.parameters[index].name) for index, _ in vectors)
                raise SymmetryError(
                    f"neuron group {name!r}: the phase group needs a sine with weights and exactly one bias, and no "
                    f"group tied to its units; biases: {names or 'none'}; tied groups: {', '.join(tied) or 'none'}"
                )
            biases[name] = vectors[0]
        return biases

    def sample(
        self,
        batch: int,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype | None = None,
        turns: int = 4,
    ) -> PhaseElement:
        """Draws ``batch`` elements: permutations, signs, and shifts by up to ``turns`` half periods, all uniform."""
        element = {}
        for name in self.periods:
            shape = (batch, self.space.group(name).size)
            index = torch.rand(shape, generator=generator).argsort(dim=1)
            sign = torch.randint(0, 2, shape, generator=generator).to(dtype or torch.get_default_dtype()) * 2 - 1
            shift = torch.randint(-turns, turns + 1, shape, generator=generator).to(sign)
            element[name] = Phase(index, sign, shift)
        return element

    def compose(self, second: PhaseElement, first: PhaseElement) -> PhaseElement:
        """The product ``second * first``: first acts first."""
        return {name: _compose(second[name], first[name]) for name in self.periods}

    def inverse(self, element: PhaseElement) -> PhaseElement:
        """The inverse elements."""
        return {name: _inverse(element[name]) for name in self.periods}

    def act(self, element: PhaseElement, theta: WeightFeatures) -> WeightFeatures:
        """The action on networks; each channel is a network of its own.

        Raises:
            SymmetryError: if ``theta`` belongs to another space.
        """
        if theta.space != self.space:
            raise SymmetryError(f"the networks are of another weight space: {self.space.difference(theta.space)}")
        tensors = list(theta.tensors)
        for name, half in self.periods.items():
            _, sign, turns = element[name]
            leaving = sign * (1 - 2 * turns.remainder(2))
            for (index, axis), side in self._occurrences(name):
                tensors[index] = tensors[index] * _along(sign if side == "out" else leaving, axis, tensors[index])
            index, axis = self.biases[name]
            tensors[index] = tensors[index] + _along(turns * half, axis, tensors[index])
        orders = {name: p.permutation for name, p in element.items() if p.permutation is not None}
        return relabelled(WeightFeatures(self.space, tuple(tensors)), orders)

    def _occurrences(self, name: str) -> list[tuple[Place, str]]:
        """Every axis that carries a neuron group, with its side."""
        return [
            ((index, axis), side)
            for index, parameter in enumerate(self.space.parameters)
            for axis, label in enumerate(parameter.axes, start=1)
            for carried, side in label.carried()
            if carried == name
        ]


def _along(values: Tensor, axis: int, tensor: Tensor) -> Tensor:
    """[batch, n] in the dtype and with the axes of a tensor, n along one of them."""
    shape = [1] * tensor.dim()
    shape[0], shape[axis] = values.shape
    return values.to(tensor).view(shape)


def _compose(second: Phase, first: Phase) -> Phase:
    order, sign, turns = second
    if first.permutation is not None:
        back = first.permutation.argsort(dim=1)
        sign, turns = (torch.take_along_dim(x, back, dim=1) for x in (sign, turns))
        order = first.permutation if order is None else torch.take_along_dim(first.permutation, order, dim=1)
    return Phase(order, sign * first.sign, sign * first.turns + turns)


def _inverse(element: Phase) -> Phase:
    order, sign, turns = element
    turns = -sign * turns
    if order is None:
        return Phase(None, sign, turns)
    sign, turns = (torch.take_along_dim(x, order, dim=1) for x in (sign, turns))
    return Phase(order.argsort(dim=1), sign, turns)
