"""Units that consist of others: cutting them into consecutive parts, and putting these together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ._wires import Factor, Gauge, Units, parts, split

__all__ = ["joined", "product", "split_sum"]


def split_sum(factor: Factor, sizes: Sequence[int]) -> list[Factor] | None:
    """The factor as consecutive parts of the given sizes; None if its parts do not allow it."""
    root = factor.units.root
    if root.parts is None:
        if len(sizes) == 1:
            return [factor]
        split(factor, "sum", sizes)
        return parts(factor)
    if root.parts[0] == "product":
        first, *rest = parts(factor)
        inner = math.prod(part.units.size for part in rest)
        if any(size % inner for size in sizes):
            return None
        pieces = split_sum(first, [size // inner for size in sizes])
        return None if pieces is None else [product([piece, *rest]) for piece in pieces]
    found: list[Factor] = []
    pending = parts(factor)
    for size in sizes:
        piece: list[Factor] = []
        while size:
            part = pending.pop(0)
            if part.units.size > size:
                cut = split_sum(part, [size, part.units.size - size])
                if cut is None:
                    return None
                part, remainder = cut
                pending.insert(0, remainder)
            piece.append(part)
            size -= part.units.size
        found.append(piece[0] if len(piece) == 1 else joined("sum", piece))
    return found


def joined(kind: Literal["product", "sum"], factors: Sequence[Factor]) -> Factor:
    """Units that consist of the given ones."""
    units = Units(
        (math.prod if kind == "product" else sum)(f.units.size for f in factors),
        parts=(kind, [f.units for f in factors]),
    )
    return Factor(units, ((Gauge(parts=[f.charge for f in factors]), 1),))


def product(factors: Sequence[Factor]) -> Factor:
    """The product of factors as one."""
    return factors[0] if len(factors) == 1 else joined("product", factors)
