"""Which architecture is universal for what, and on which networks: a table whose cells run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from .._errors import TheoryError
from . import _witnesses as witnesses
from ._statement import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ExpressivityMap", "Verdict", "expressivity_map"]

Target = Literal["functional of the function", "invariant functional", "operator on functions", "equivariant operator"]
Domain = Literal["all networks", "general position"]
Output = Literal["same", "wide", "many"]
Norm = Literal["largest error", "mean error"]
Witness = Callable[[str], list[Measurement]]

ARCHITECTURES = ("dws", "hnp-nfn", "np-nfn", "gmn", "ng-gnn", "nft", "canon-mlp", "np-nfn, no positions")


@dataclass(frozen=True)
class Verdict:
    """One cell of the map.

    Attributes:
        architecture: which.
        target: what is to be approximated.
        domain: on which networks.
        hidden_layers: hidden layers of these networks: 1, or 2 for 2 and more (of widths from 4 on); None for any.
        output: for operators on functions, what is predicted, equivariantly: one network of the "same" architecture as
            the inputs; the same, where both are as "wide" as it takes; or "many" of the inputs' architecture, whose
            mean is the result, as many as it takes.
        universal: whether every continuous target can be approximated on every compact set of these networks.
        symmetric: whether the approximation itself is invariant, or equivariant, everywhere on the domain.
        reason: why, in a sentence.
        witness: the counterexample or the construction, run for the architecture.
    """

    architecture: str
    target: Target
    domain: Domain
    hidden_layers: int | None
    output: Output
    universal: bool
    symmetric: bool
    reason: str
    witness: Witness

    def verify(self) -> list[Measurement]:
        """Runs the counterexample, or the construction, and measures."""
        return self.witness(self.architecture)


@dataclass(frozen=True)
class ExpressivityMap:
    """All verdicts, as a table, a picture and a computation.

    Attributes:
        verdicts: the cells, an architecture after the other.
    """

    verdicts: tuple[Verdict, ...]

    def query(
        self,
        architecture: str,
        target: Target,
        domain: Domain = "all networks",
        *,
        hidden_layers: int = 2,
        output: Output = "same",
        norm: Norm = "largest error",
    ) -> Verdict:
        """One verdict.

        Args:
            architecture: one of the map's.
            target: what is to be approximated.
            domain: on which networks.
            hidden_layers: of the input networks.
            output: for operators on functions, what is predicted; see `Verdict`.
            norm: "largest error" over a compact set, or the "mean error" over it with respect to volume: as ties have
                none, the verdict is that in general position, by an approximation there that is cut off near ties.

        Raises:
            TheoryError: for an unknown word, or no hidden layer.
        """
        words = ((target, Target), (domain, Domain), (output, Output), (norm, Norm))
        wrong = [
            f"{word!r} is none of {', '.join(get_args(known))}" for word, known in words if word not in get_args(known)
        ]
        if architecture not in ARCHITECTURES:
            wrong.append(f"{architecture!r} is none of {', '.join(ARCHITECTURES)}")
        if hidden_layers < 1:
            wrong.append(f"the input networks need at least 1 hidden layer, found {hidden_layers}")
        if wrong:
            raise TheoryError("; ".join(wrong))
        if norm == "mean error":
            domain = "general position"  # ties have no volume
        (found,) = (
            v
            for v in self.verdicts
            if (v.architecture, v.target, v.domain) == (architecture, target, domain)
            and v.hidden_layers in (None, min(hidden_layers, 2))
            and (v.output == output or v.target != "operator on functions")
        )
        return found

    def verify(self, progress: Callable[[list[Verdict]], Iterable[Verdict]] = iter) -> dict[Verdict, list[Measurement]]:
        """Runs the witness of every cell, each witness once for each architecture.

        Args:
            progress: wraps the list of cells, such as `tqdm.tqdm`.
        """
        found: dict[tuple[Witness, str], list[Measurement]] = {}
        for verdict in progress(list(self.verdicts)):
            key = verdict.witness, verdict.architecture
            if key not in found:
                found[key] = verdict.verify()
        return {v: found[v.witness, v.architecture] for v in self.verdicts}

    def __str__(self) -> str:
        """The table: a line for each architecture, U where it is universal, N where it is not.

        A small u is an approximation that is invariant, or equivariant, only up to its error.
        """
        columns = _columns(self.verdicts)
        width = max(map(len, ARCHITECTURES))
        lines = [f"{i + 1:2}  {', '.join(column)}" for i, column in enumerate(columns)]
        lines += ["", " " * width + "".join(f"{i + 1:4}" for i in range(len(columns)))]
        for name in ARCHITECTURES:
            marks = [_mark(v) for v in self.verdicts if v.architecture == name]
            lines.append(f"{name:{width}}" + "".join(f"{mark:>4}" for mark in marks))
        return "\n".join(lines)

    def draw(self, figure: Figure) -> None:
        """Draws the table."""
        columns = _columns(self.verdicts)
        figure.set_size_inches(9.2, 5.6)
        axes = figure.subplots()
        for y, name in enumerate(ARCHITECTURES):
            for x, verdict in enumerate(v for v in self.verdicts if v.architecture == name):
                colour = "C0" if verdict.universal else "C1"
                axes.barh(y, 0.94, 0.9, left=x - 0.47, color=colour, alpha=0.7 if verdict.symmetric else 0.4)
                axes.text(x, y, _mark(verdict), ha="center", va="center")
        axes.set_yticks(range(len(ARCHITECTURES)), ARCHITECTURES)
        axes.set_xticks(range(len(columns)), ["\n".join(c) for c in columns], rotation=90)
        axes.xaxis.tick_top()
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(ARCHITECTURES) - 0.5, -0.5))
        axes.grid(visible=False)


def _mark(verdict: Verdict) -> str:
    return ("U" if verdict.symmetric else "u") if verdict.universal else "N"


def _columns(verdicts: tuple[Verdict, ...]) -> list[tuple[str, ...]]:
    """What stands above the columns: target, domain, and what is predicted or how deep the inputs are."""
    outputs = {"same": "one network", "wide": "one wide network", "many": "a mean of many"}
    depths = {None: "any depth", 1: "1 hidden layer", 2: "2 hidden layers or more"}
    return [
        (v.target, v.domain, outputs[v.output] if v.target == "operator on functions" else depths[v.hidden_layers])
        for v in verdicts
        if v.architecture == ARCHITECTURES[0]
    ]


def expressivity_map() -> ExpressivityMap:
    """Which architectures are universal for which targets, on which networks.

    Source: arXiv 2602.01083, figure 1, sharpened here: the depth of the input networks, what is predicted and how
    errors are measured matter.

    Example:
        >>> from weightspace.theory import expressivity_map
        >>> verdict = expressivity_map().query("gmn", "invariant functional")
        >>> verdict.universal
        False
        >>> all(m.holds for m in verdict.verify())
        True
    """
    return ExpressivityMap(tuple(_decided(name, *cell) for name in ARCHITECTURES for cell in _CELLS))


_Cell = tuple[Target, Domain, int | None, Output, bool, str, Witness]
_RUN = "a network on weights can run its input network at any points, and read the values with an MLP"
_FEW = "the predicted network has too few affine pieces, whatever predicts it"
_MANY = "weighted networks of equal neurons, whose weights are functionals of the function"
_CELLS: tuple[_Cell, ...] = (
    ("functional of the function", "all networks", None, "same", True, _RUN, witnesses.forward_pass),
    ("functional of the function", "general position", None, "same", True, _RUN, witnesses.forward_pass),
    (
        "invariant functional", "all networks", 1, "same", True,
        "an orbit is a multiset of neurons, and sums of features tell multisets apart", witnesses.one_hidden_layer,
    ),
    (
        "invariant functional", "all networks", 2, "same", False,
        "two networks of different orbits get the same output", witnesses.pair,
    ),
    (
        "invariant functional", "general position", None, "same", True,
        "neurons can be sorted, exactly, and an MLP reads the sorted network", witnesses.sorting,
    ),
    ("operator on functions", "all networks", None, "same", False, _FEW, witnesses.capacity),
    (
        "operator on functions", "all networks", None, "wide", False,
        "where all neurons of the input are equal, those of the output are", witnesses.collapse,
    ),
    ("operator on functions", "all networks", None, "many", True, _MANY, witnesses.ensembles),
    ("operator on functions", "general position", None, "same", False, _FEW, witnesses.capacity),
    (
        "operator on functions", "general position", None, "wide", True,
        "an MLP of the sorted network writes the output, in the order of the input", witnesses.sorting,
    ),
    ("operator on functions", "general position", None, "many", True, _MANY, witnesses.ensembles),
    (
        "equivariant operator", "all networks", 1, "same", True,
        "a neuron and the multiset of all neurons can be told to every weight", witnesses.one_hidden_layer_equivariant,
    ),
    (
        "equivariant operator", "all networks", 2, "same", False,
        "an invariant functional that is out of reach, written on the last bias, is out of reach", witnesses.pair,
    ),
    (
        "equivariant operator", "general position", None, "same", True,
        "an MLP of the sorted network, moved back", witnesses.sorting,
    ),
)  # fmt: skip


def _decided(
    name: str, target: Target, domain: Domain, layers: int | None, output: Output, universal: bool, reason: str,
    witness: Witness,
) -> Verdict:  # fmt: skip
    symmetric = True
    if name == "np-nfn, no positions":
        universal, reason, witness = False, "inputs that are exchanged make no difference", witnesses.inputs_exchanged
    elif name == "canon-mlp" and domain == "all networks" and witness is not witnesses.capacity:
        universal, symmetric, witness = True, False, witnesses.ties
        reason = "an MLP of the sorted network; which of its orbit that is where neurons tie depends on their order"
    return Verdict(name, target, domain, layers, output, universal, symmetric, reason, witness)
