"""The matrix products that a computation makes, recorded, and run again with nothing else between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from weightspace.nn._pool import fan_out, map_and_pool

# at which arguments the two factors begin
_FACTORS = {"mm": 0, "bmm": 0, "addmm": 1, "addmm_": 1, "baddbmm": 1, "baddbmm_": 1}
_ATTENTION = "_scaled_dot_product_"


@dataclass(frozen=True)
class Factor:
    """The layout of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> Factor:
        return cls(tuple(x.shape), x.stride(), x.dtype)

    @classmethod
    def dense(cls, *shape: int, dtype: torch.dtype = torch.float32) -> Factor:
        return cls.of(torch.empty(shape, dtype=dtype, device="meta"))

    @property
    def mT(self) -> Factor:  # noqa: N802
        *batch, i, j = range(len(self.shape))
        order = (*batch, j, i)
        return Factor(tuple(self.shape[n] for n in order), tuple(self.stride[n] for n in order), self.dtype)

    def random(self, device: str) -> Tensor:
        """A random tensor of this layout."""
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        storage = torch.randn(max(1, span), device=device).to(self.dtype)
        return storage.as_strided(self.shape, self.stride)


Product = tuple[Factor, Factor]


def flops(products: list[Product]) -> int:
    """Multiplications and additions."""
    return sum(2 * torch.Size(a.shape).numel() * b.shape[-1] for a, b in products)


class Recorder(TorchDispatchMode):
    """Notes the factors of all matrix products, those inside attention kernels and fused gradients included."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _FACTORS:
            first = _FACTORS[name]
            self.products.append((Factor.of(args[first]), Factor.of(args[first + 1])))
        elif name.startswith(_ATTENTION):
            backward = "backward" in name
            self.products += _attention(*args[1:4], backward=True) if backward else _attention(*args[:3])
        return func(*args, **(kwargs or {}))


def _attention(query: Tensor, key: Tensor, value: Tensor, *, backward: bool = False) -> list[Product]:
    """Scores and mixture; backwards the scores again and the gradients of mixture, values, queries and keys."""

    def dense(*shape: int) -> Factor:
        return Factor.dense(query.shape[:-2].numel(), *shape, dtype=query.dtype)

    (n, c), (m, d) = query.shape[-2:], value.shape[-2:]
    q, k, v, scores, out = dense(n, c), dense(m, c), dense(m, d), dense(n, m), dense(n, d)
    if not backward:
        return [(q, k.mT), (scores, v)]
    return [(q, k.mT), (out, v.mT), (scores.mT, out), (scores, k), (scores.mT, q)]


def record(run: Callable[[], object]) -> list[Product]:
    """The matrix products of one run."""
    with Recorder() as recorder:
        run()
    return recorder.products


def replay(products: list[Product], device: str) -> Callable[[], object]:
    """A run of the products alone, on random factors; those of one layout share their memory."""
    factors = {(place, pair[place]): None for pair in products for place in (0, 1)}
    tensors = {key: key[1].random(device) for key in factors}
    pairs = [(tensors[0, a], tensors[1, b]) for a, b in products]

    def run() -> None:
        for a, b in pairs:
            torch.mm(a, b) if a.dim() == 2 else torch.bmm(a, b)

    return run


def entrywise(rows: list[int], channels: int) -> list[Product]:
    """One product [rows, C] x [C, C] for each number of rows, and those of its two gradients."""
    products = []
    for n in rows:
        x, w = Factor.dense(n, channels), Factor.dense(channels, channels)
        products += [(x, w), (x, w.mT), (x.mT, x)]
    return products


def check_recorder() -> None:
    """Records products whose number is known: a layer, functions with gradients of their own, and attention.

    Raises:
        RuntimeError: if some are missed, or counted twice.
    """
    x, linear = torch.randn(5, 3, 8), nn.Linear(8, 4)
    e, w = torch.randn(5, 6, 7, 8, requires_grad=True), torch.randn(8, 8, requires_grad=True)
    q = torch.randn(2, 3, 7, 8, requires_grad=True)
    cases: dict[str, tuple[Callable[[], Tensor], int]] = {
        "linear": (lambda: linear(x), 2 * (15 * 8 * 4)),  # the input wants no gradient
        "map_and_pool": (lambda: map_and_pool(e, w, "mean")[0], 3 * (210 * 8 * 8)),
        "fan_out": (lambda: sum(fan_out(e, w, w)), 2 * 3 * (210 * 8 * 8)),
        "attention": (lambda: F.scaled_dot_product_attention(q, q, q), (2 + 5) * (6 * 7 * 7 * 8)),
    }
    for name, (run, wanted) in cases.items():
        found = flops(record(lambda run=run: run().sum().backward()))
        if found != 2 * wanted:
            raise RuntimeError(f"{name} has {2 * wanted} operations in matrix products, recorded {found}")
