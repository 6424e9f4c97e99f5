"""The coefficients of an equivariant linear layer, found by the parameters and neuron groups of their term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..space import WeightSpace
from ._layout import Layout, Way
from ._terms import Kind

__all__ = ["Coefficients", "Term"]


class Term(NamedTuple):
    """One way in which a parameter enters another: tied along some neuron groups, else pooled and broadcast.

    Attributes:
        output: name of the parameter that is written.
        input: name of the parameter that is read.
        tied: the neuron groups whose index is the same in both.
    """

    output: str
    input: str
    tied: frozenset[str]


class Coefficients:
    """Where the coefficients of each term stand in the matrices of a layer; see `EquivariantLinear.coefficients`.

    Args:
        space: weight space of the layer.
        layouts: of the parameters.
        kinds: the terms that are one matrix product.
        channels: channels of the input and of the output.

    Attributes:
        terms: all terms.

    Raises:
        ModelError: where a parameter carries the same units several times, whose terms have no such name.
    """

    def __init__(
        self,
        space: WeightSpace,
        layouts: Sequence[Layout],
        kinds: Sequence[Kind],
        channels: tuple[int, int],
    ) -> None:
        self._layouts, (self._inputs, self._outputs) = layouts, channels
        self._index = {parameter.name: i for i, parameter in enumerate(space.parameters)}
        self._at: dict[Term, tuple[int, int, int]] = {}
        self._bias: dict[str, tuple[int, int]] = {}
        names = list(self._index)
        for i, kind in enumerate(kinds):
            for way, row in self._places(kind.writes, self._outputs):
                if not kind.labels:
                    self._bias[names[way.parameter]] = i, row
                for read, column in self._places(kind.reads, self._inputs):
                    units = frozenset(unit for unit, _ in kind.labels)
                    term = Term(names[way.parameter], names[read.parameter], units)
                    if term in self._at:
                        raise ModelError(
                            f"the coefficients from {term.input!r} to {term.output!r} have no names: one of them "
                            "carries the same units several times"
                        )
                    self._at[term] = i, row, column
        self.terms = tuple(self._at)

    def _places(self, ways: Sequence[Way], channels: int) -> list[tuple[Way, int]]:
        widths = [channels * self._layouts[way.parameter].multiplicity for way in ways]
        return [(way, sum(widths[:i])) for i, way in enumerate(ways)]

    def of(self, maps: nn.ModuleList, term: Term) -> Float[Tensor, "out *dense_out channels *dense_in"]:
        """A view of the coefficients of one term, in the matrices of the kinds."""
        if term not in self._at:
            tied = [sorted(t.tied) for t in self.terms if t[:2] == term[:2]]
            raise ModelError(
                f"there is no term from parameter {term.input!r} to {term.output!r} tied along {sorted(term.tied)}; "
                + (f"these two are tied along one of {tied}" if tied else f"parameters: {', '.join(self._index)}")
            )
        i, row, column = self._at[term]
        weight = cast(nn.Linear, maps[i]).weight
        out, into = (self._layouts[self._index[name]] for name in (term.output, term.input))
        n = len(out.dense)
        block = weight[row : row + self._outputs * out.multiplicity, column : column + self._inputs * into.multiplicity]
        view: Tensor = block.unflatten(1, (*into.dense, self._inputs)).unflatten(0, (*out.dense, self._outputs))
        return view.movedim((n, -1), (0, n + 1))

    def bias(self, maps: nn.ModuleList, output: str) -> Float[Tensor, "out *dense_out"]:
        """A view of the invariant biases of one parameter, in the matrices of the kinds."""
        if output not in self._bias:
            raise ModelError(f"parameter {output!r} has no bias; those that have: {', '.join(self._bias) or 'none'}")
        i, row = self._bias[output]
        bias = cast(nn.Linear, maps[i]).bias
        layout = self._layouts[self._index[output]]
        view: Tensor = bias[row : row + self._outputs * layout.multiplicity].unflatten(0, (*layout.dense, -1))
        return view.movedim(-1, 0)
