"""What a statement of the theory is here: words, a computation that checks it, numbers and a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from .._errors import TheoryError
from ._precision import single_by_default

__all__ = ["Evidence", "Measurement", "Statement", "statement", "statements"]


@dataclass(frozen=True)
class Measurement:
    """One number that a statement predicts, measured.

    Attributes:
        what: the quantity, in words.
        value: what was measured.
        low: the smallest value that agrees with the statement.
        high: the largest one.
        expected: what the statement predicts, as it is to be printed.
    """

    what: str
    value: float
    low: float
    high: float
    expected: str

    @property
    def holds(self) -> bool:
        """Whether the number agrees with the statement; one that is not a number does not."""
        return self.low <= self.value <= self.high

    @classmethod
    def at_most(cls, what: str, value: float, bound: float) -> Measurement:
        """A size that must not exceed a bound, such as an error."""
        return cls(what, float(value), 0.0, bound, f"≤ {bound:.3g}")

    @classmethod
    def at_least(cls, what: str, value: float, bound: float) -> Measurement:
        """A size that must not fall below a bound, such as the distance of networks that are told apart."""
        return cls(what, float(value), bound, math.inf, f"≥ {bound:.3g}")

    @classmethod
    def equal(cls, what: str, value: float, expected: float) -> Measurement:
        """A count."""
        return cls(what, float(value), expected, expected, f"= {expected:g}")

    @classmethod
    def about(cls, what: str, value: float, expected: float, factor: float) -> Measurement:
        """A positive number known up to a factor, at least 1."""
        return cls(what, float(value), expected / factor, expected * factor, f"{expected:.3g}, within x {factor:g}")

    @classmethod
    def within(cls, what: str, value: float, low: float, high: float) -> Measurement:
        """A number between two bounds, such as a slope."""
        return cls(what, float(value), low, high, f"{low:g} to {high:g}")


@dataclass(frozen=True)
class Evidence:
    """What a computation has found.

    Attributes:
        measurements: the numbers.
        draw: draws the picture on an empty matplotlib figure; None if there is none.
        seconds: the time that the computation took.
    """

    measurements: tuple[Measurement, ...]
    draw: Callable[[Figure], None] | None = None
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether all numbers agree with the statement."""
        return all(m.holds for m in self.measurements)


@dataclass(frozen=True)
class Statement:
    """A theorem, or a remark that sharpens or corrects one, with the computation that checks it.

    Attributes:
        name: by which it is called, such as "forward-pass".
        title: one line.
        source: paper and number, or "ours".
        claim: the statement, in paragraphs parted by empty lines.
        construction: how it is shown, likewise.
        compute: makes the evidence, in float64, from fixed seeds.
    """

    name: str
    title: str
    source: str
    claim: str
    construction: str
    compute: Callable[[], Evidence]

    def run(self) -> Evidence:
        """Computes the evidence anew; the default precision of torch does not matter."""
        start = perf_counter()
        with single_by_default():
            evidence = self.compute()
        return Evidence(evidence.measurements, evidence.draw, perf_counter() - start)


_STATEMENTS: dict[str, Statement] = {}


def statement(
    name: str, *, title: str, source: str, claim: str, construction: str
) -> Callable[[Callable[[], Evidence]], Callable[[], Evidence]]:
    """Makes a computation known as the check of a statement; see `Statement` for the words."""

    def add(compute: Callable[[], Evidence]) -> Callable[[], Evidence]:
        claimed, constructed = (_paragraphs(text) for text in (claim, construction))
        _STATEMENTS[name] = Statement(name, title, source, claimed, constructed, compute)
        return compute

    return add


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def statements(*names: str) -> tuple[Statement, ...]:
    """The statements of these names; all of them, in the order of the theory, if none is given.

    Raises:
        TheoryError: for a name that is not known.

    Example:
        >>> import weightspace as ws
        >>> evidence = ws.theory.statements("bases")[0].run()
        >>> evidence.holds
        True
    """
    from . import checks  # each module of that package makes its own known

    order = {name: _STATEMENTS[name] for name in checks.ORDER}
    if unknown := [name for name in names if name not in order]:
        raise TheoryError(f"unknown statement {unknown[0]!r}; known: {', '.join(order)}")
    return tuple(order[name] for name in names or order)
