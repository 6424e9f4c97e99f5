"""Symmetries of attention, of its feed-forward layers and of layer norm, each beside a change that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ...group import GENERAL_LINEAR, POSITIVE_MONOMIAL, MonomialGroup
from ...space import WeightSpace, from_module
from .._symmetry_error import random_networks, symmetry_error
from ._changes import Row, edited, generator, inputs, permuting, replaced, torn, traced
from ._modules import SelfAttention, transformer

__all__ = ["attention_rows", "norm_rows"]

Change = Callable[[Tensor], Tensor]


def attention_rows() -> Iterator[Row]:
    """Heads and their coordinates, rotary positions, biases, the interface of attention and feed-forward layer."""
    x = inputs(5, 3)
    for name, space in (
        ("attention, norm first", _transformer(norm_first=True)),
        ("attention, norm last", _transformer(norm_first=False)),
        ("attention, added positions", _transformer(norm_first=True, positions=True)),
    ):
        largest = space.symmetry()
        of_heads = {g.name: largest.factor(g.name) for g in space.groups if "heads" in g.name or g.over}
        heads = replaced(space.symmetry("trivial"), of_heads)
        yield Row(name, "heads, and matrices on their coordinates", symmetry_error(heads, x), True)
        yield Row(name, "all that is found", symmetry_error(largest, x), True)
        keys = {p.name for p in space.parameters if "in_proj" in p.name and "[8:16" in p.name}
        yield Row(name, "keys by another matrix", torn(heads, keys, x), False)
    yield from _rotary_rows()
    yield from _bias_rows()


def _rotary_rows() -> Iterator[Row]:
    name, x = "rotary positions", inputs(5, 3)
    space = traced(nn.Linear(3, 8), SelfAttention(8, 2, rotary=True), nn.Linear(8, 2), shape=(5, 3))
    yield Row(name, "all that is found", symmetry_error(space.symmetry(), x), True)
    numbers = torch.randn(4, dtype=torch.complex128, generator=generator())
    turns = torch.stack([numbers.real, -numbers.imag, numbers.imag, numbers.real], 1).view(4, 2, 2)
    matrices = GENERAL_LINEAR.sample(2, 4, generator=generator(), dtype=torch.float64).matrix
    for what, blocks in (("complex scalars on pairs", turns), ("all matrices", matrices)):
        matrix = torch.block_diag(*blocks)
        yield Row(name, what, edited(space, _on_queries_and_keys(matrix), x), blocks is turns)


def _on_queries_and_keys(matrix: Tensor) -> dict[str, Change]:
    inverse = torch.linalg.inv(matrix).mT
    queries = {f"1.q.{part}": lambda w: matrix @ w for part in ("weight", "bias")}
    return {**queries, **{f"1.k.{part}": lambda w: inverse @ w for part in ("weight", "bias")}}


def _bias_rows() -> Iterator[Row]:
    """Shifts of the biases of queries, keys and values; a permutation between attention and feed-forward layer."""
    space, x = _transformer(norm_first=True), inputs(5, 3)
    attention = "1.self_attn"
    shift = torch.randn(8, generator=generator(), dtype=torch.float64)
    output = random_networks(space, 1, generator())[f"{attention}.out_proj.weight"].flatten(2)[0]  # as `edited` draws
    for part, name in enumerate(("queries", "keys", "values, and the output's to match")):
        shifts = torch.zeros(24, dtype=torch.float64)
        shifts[8 * part : 8 * part + 8] = shift
        changes: dict[str, Change] = {f"{attention}.in_proj_bias": _plus(shifts)}
        if part == 2:
            changes[f"{attention}.out_proj.bias"] = lambda b: b - output @ shift
        yield Row("biases of attention", f"any shift of the {name}", edited(space, changes, x), part > 0)
    layers = SelfAttention(8, 2, rotary=False), nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)
    bare = traced(nn.Linear(3, 8), *layers, shape=(5, 3))
    order = torch.randperm(8, generator=generator())
    for what, chosen, out, up in (
        ("without residual connections", bare, "1.o", "2"),
        ("with residual connections", space, f"{attention}.out_proj", "1.linear1"),
    ):
        changes = {f"{out}.{part}": lambda t: t[order] for part in ("weight", "bias")}
        changes[f"{up}.weight"] = lambda w: w[:, order]
        yield Row("permuted before feed-forward", what, edited(chosen, changes, x), chosen is bare)


def norm_rows() -> Iterator[Row]:
    """The feed-forward layer, gains and shifts of norms, the residual stream of transformers."""
    x, first, last = inputs(5, 3), _transformer(norm_first=True), _transformer(norm_first=False)
    gelu = _transformer(norm_first=True, activation="gelu")
    for space, name in ((first, "relu"), (gelu, "gelu")):
        hidden = replaced(space.symmetry("trivial"), {"1.linear1": POSITIVE_MONOMIAL})
        yield Row("feed-forward", f"positive scales, {name}", symmetry_error(hidden, x), space is first)
    yield Row("feed-forward", "permutations, gelu", symmetry_error(gelu.symmetry(), x), True)
    scales = MonomialGroup("scales", permutes=False, scales="nonzero")
    folded = replaced(first.symmetry("trivial"), {g.name: scales for g in first.groups if g.tied})
    yield Row("layer norm", "gain and shift folded into readers", symmetry_error(folded, x), True)
    t = torch.tensor([0.5, -2.0, 3.0, -1.0, 0.7, -0.2, 1.5, 4.0], dtype=torch.float64)
    norm: dict[str, Change] = {f"1.norm1.{part}": lambda v: v * t for part in ("weight", "bias")}
    norm["1.linear1.weight"] = lambda w: w / t
    yield Row("layer norm", "the same where the stream reads too", edited(last, norm, x), False)
    for name, direction in (("the same number", torch.ones(8)), ("another vector", torch.arange(8) / 4)):
        along = direction.double()[:, None]
        writers = ("1.self_attn.out_proj.weight", "1.linear2.weight")
        added: dict[str, Change] = dict.fromkeys(writers, _plus(along))
        yield Row("stream behind norms", f"{name} added to all units", edited(first, added, x), "same" in name)
    stream = permuting(first, first.groups[1].name)
    yield Row("stream behind norms", "one permutation", symmetry_error(stream, x), True)
    yield Row(
        "stream behind norms", "a writer by another", torn(stream, {"1.linear2.weight", "1.linear2.bias"}, x), False
    )


def _plus(shift: Tensor) -> Change:
    return lambda t: t + shift


@cache
def _transformer(**options: Any) -> WeightSpace:
    return from_module(transformer(**options), torch.zeros(2, 5, 3))
