"""Engine 1: all equivariant linear maps on weight features, computed by pooling and broadcasting."""

from __future__ import annotations

import math
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from .._errors import ModelError
from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._layout import Way, check_space, layouts
from ._pool import Reduction, add_rows_and_columns, map_and_pool, reduce
from ._set_attention import SetAttention
from ._terms import Kind, Reader, diagonal, kinds

__all__ = ["EquivariantLinear", "InvariantPool"]


class EquivariantLinear(nn.Module):
    r"""The general affine map V ⊗ R^C → V ⊗ R^C' that commutes with a group of permutations, signs or scales.

    A basis of these maps is indexed by an output parameter, an input parameter, and a partition of their axes: axes in
    one part share an index, input axes that share none with the output are pooled, output axes that share none with
    the input are broadcast over. Where every parameter carries a neuron group at most once, that is: a set T of groups
    that both carry is tied, the others are pooled or broadcast over. Axes that the group does not move are dense.
    Indices over neurons that the group scales must be tied, with the same factor on both sides. With
    ``reduction="mean"`` or ``"sum"`` and linear neuron maps the layer has exactly one coefficient for each basis
    element, that is, as many as the commutant of the group has dimensions (plus the invariant biases).

    Every parameter is pooled once. All basis elements with the same indices are one matrix product: per entry, per
    neuron of each group, and for one global vector of the network. The time is O(#weights · C · C') plus a product for
    the global vector that grows with depth² · C · C'; nothing else depends on pairs of parameters.

    Sources: Navon et al. (2023), arXiv 2301.12780 (hidden neurons permuted, "DWS"; also "HNP" in the next); Zhou et al.
    (2023), arXiv 2302.14040 ("NP", all neurons permuted); Zhou et al. (2024), arXiv 2402.05232 (any axes, "universal
    neural functionals"); Tran et al. (2024), arXiv 2409.11697 (signs and scales, "monomial").

    Args:
        space: weight space of the networks.
        in_channels: channels C of the input.
        out_channels: channels C' of the output.
        symmetry: the group; permutations of hidden neurons if None.
        reduction: how axes are pooled: "mean", "sum" or "max" ("max" is not linear).
        neuron_map: "linear", or "attention" over the neurons of each group (the set layers of DWS; not linear).
        heads: attention heads.
        gain: variance of the output relative to that of the input at initialisation; 2 in front of a ReLU.

    Raises:
        ModelError: for a group that scales neurons and does not permute them, attention over neurons that are scaled,
            or an unknown option.

    Note:
        Gradients are fused by hand, so the transforms of `torch.func` (vmap, jvp) do not go through the layer. Where
        the maximum is taken by several neurons, its gradient goes to the first of them. A parameter that carries one
        group several times has more partitions than basis elements if that group has very few units.

    Example:
        >>> import weightspace as ws
        >>> sum(p.numel() for p in EquivariantLinear(ws.mlp([2, 3, 3, 2]), 1, 1).linear_parameters())
        114
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        out_channels: int,
        *,
        symmetry: SymmetryGroup | None = None,
        reduction: Reduction = "mean",
        neuron_map: Literal["linear", "attention"] = "linear",
        heads: int = 8,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if neuron_map not in ("linear", "attention") or reduction not in get_args(Reduction):
            raise ModelError(
                "expected neuron_map 'linear' or 'attention' and reduction 'mean', 'sum' or 'max', "
                f"found {neuron_map!r} and {reduction!r}"
            )
        self.space, self.in_channels, self.out_channels, self.reduction = space, in_channels, out_channels, reduction
        self._layouts = layouts(space, symmetry or space.symmetry("permutation"))
        self._kinds = kinds(self._layouts)
        self.maps = nn.ModuleList()
        for kind in self._kinds:
            sizes = sum(self._widths(kind.reads, in_channels)), sum(self._widths(kind.writes, out_channels))
            if len(kind.labels) != 1 or neuron_map == "linear":
                self.maps.append(nn.Linear(*sizes, bias=not kind.labels))
            elif kind.labels[0][1] != 0:
                raise ModelError(
                    "attention over neurons does not commute with scales or signs: use neuron_map='linear'"
                )
            else:
                self.maps.append(SetAttention(*sizes, heads))
        self.reset_parameters(gain)

    def _widths(self, some: list[Way], channels: int) -> list[int]:
        return [channels * self._layouts[way.parameter].multiplicity for way in some]

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draws the coefficients so that the terms of each output share its variance equally.

        Set layers keep torch's smaller default: their residuals add up, and large inputs saturate the attention.
        """
        written = [way.parameter for kind in self._kinds for way in kind.writes]
        for kind, linear in zip(self._kinds, self.maps, strict=True):
            if isinstance(linear, nn.Linear):
                alone = all(written.count(way.parameter) == 1 for way in kind.writes)
                nn.init.normal_(linear.weight, std=math.sqrt(gain / (1 if alone else 2) / linear.in_features))
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)

    def linear_parameters(self) -> list[nn.Parameter]:
        """The coefficients of the linear part, without the invariant biases."""
        biases = [m.bias for m in self.maps if isinstance(m, nn.Linear)]
        return [p for p in self.parameters() if not any(p is bias for bias in biases)]

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        check_space(self.space, theta, self.in_channels)
        reader = Reader(self._layouts, theta, self.reduction)
        terms: list[dict[tuple[tuple[int, ...], ...], dict[tuple[int, ...], Tensor]]] = [{} for _ in self._layouts]
        for kind, module in zip(self._kinds, self.maps, strict=True):
            y = self._product(kind, module, reader)
            parts = [y] if len(kind.writes) == 1 else y.split(self._widths(kind.writes, self.out_channels), dim=-1)
            for way, part in zip(kind.writes, parts, strict=True):
                terms[way.parameter].setdefault(way.blocks, {})[way.kept] = part
        tensors = []
        for parameter, layout, by_blocks in zip(self.space.parameters, self._layouts, terms, strict=True):
            sizes = [parameter.axes[i - 1].size for i in layout.order[1 : 1 + len(layout.groups)]]
            tensors.append(layout.unfold(_assemble(by_blocks, sizes)))
        return WeightFeatures(self.space, tuple(tensors))

    def _product(self, kind: Kind, module: nn.Module, reader: Reader) -> Tensor:
        """The terms of one kind: the readings side by side, times the coefficients."""
        readings = [reader.read(way) for way in kind.reads]
        x = readings[0] if len(readings) == 1 else torch.cat(readings, dim=-1)
        if len(kind.labels) != 2 or all(charge for _, charge in kind.labels):
            out: Tensor = module(x)
            return out
        # the pools of these entries are wanted by the kinds with one index, and cost least beside the product
        y, rows, columns = map_and_pool(x, cast(nn.Linear, module).weight.mT, self.reduction)
        widths = self._widths(kind.reads, self.in_channels)
        for way, row, column in zip(kind.reads, rows.split(widths, -1), columns.split(widths, -1), strict=True):
            reader.keep(way, 0, row)
            reader.keep(way, 1, column)
        return y

    def extra_repr(self) -> str:
        """Shows the channels and the reduction."""
        return f"{self.in_channels} -> {self.out_channels}, reduction={self.reduction}"


def _assemble(by_blocks: dict[tuple[tuple[int, ...], ...], dict[tuple[int, ...], Tensor]], sizes: list[int]) -> Tensor:
    """The sum of all terms of one parameter: [batch, *sizes, channels]."""
    whole: Tensor | None = None
    for blocks, terms in sorted(by_blocks.items(), key=lambda item: -len(item[0])):
        total = _broadcast_sum(terms, [sizes[block[0]] for block in blocks])
        if whole is None:
            whole = total if len(blocks) == len(sizes) else _on_diagonal(total, blocks, sizes)
        else:
            whole = whole + _on_diagonal(total, blocks, sizes)
    assert whole is not None
    return whole


def _broadcast_sum(terms: dict[tuple[int, ...], Tensor], sizes: list[int]) -> Tensor:
    """The sum of terms that each have some of the indices, in any order."""
    natural = {}
    for kept, term in terms.items():
        order = sorted(kept)
        places = [1 + kept.index(b) for b in order]
        natural[tuple(order)] = term if places == sorted(places) else term.permute(0, *places, -1)
    alone = natural.pop((), None)
    if alone is not None and sizes:
        key = (0,) if len(sizes) > 1 or not natural else next(iter(natural))
        alone = alone.unsqueeze(1)
        natural[key] = natural[key] + alone if key in natural else alone.expand(-1, sizes[0], -1)
    elif alone is not None:
        return alone
    if len(sizes) == 2 and (0, 1) in natural:
        return add_rows_and_columns(natural[0, 1].contiguous(), natural.get((0,)), natural.get((1,)))
    total: Tensor | None = None
    for kept, term in natural.items():
        for b in range(len(sizes)):
            if b not in kept:
                term = term.unsqueeze(1 + b)
        total = term if total is None else total + term
    assert total is not None
    return total.expand(-1, *sizes, -1)


def _on_diagonal(x: Tensor, blocks: tuple[tuple[int, ...], ...], sizes: list[int]) -> Tensor:
    """[batch, *blocks, channels] -> [batch, *axes, channels]: zero but where the axes of each block agree."""
    full = x.new_zeros(x.shape[0], *sizes, x.shape[-1])
    diagonal(full, blocks).copy_(x)
    return full


class InvariantPool(nn.Module):
    """Every parameter pooled over all its permuted axes, dense axes kept: invariant features of a network.

    Args:
        space: weight space of the networks.
        channels: channels of the input.
        symmetry: the group of permutations; those of hidden neurons if None.
        reduction: "mean", "sum" or "max".

    Attributes:
        out_features: length of the vector, ``channels`` for each parameter and each of its dense entries.
    """

    def __init__(
        self,
        space: WeightSpace,
        channels: int,
        *,
        symmetry: SymmetryGroup | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.space, self.channels, self.reduction = space, channels, reduction
        self._layouts = layouts(space, (symmetry or space.symmetry("permutation")).restricted(scales=False))
        self.out_features = channels * sum(layout.multiplicity for layout in self._layouts)

    def forward(self, theta: WeightFeatures) -> Tensor:
        """Maps weight features to ``[batch, out_features]``."""
        check_space(self.space, theta, self.channels)
        parts = []
        for layout, tensor in zip(self._layouts, theta.tensors, strict=True):
            x = layout.fold(tensor)
            for _ in layout.groups:
                x = reduce(x, 1, self.reduction)
            parts.append(x)
        return torch.cat(parts, dim=-1)
