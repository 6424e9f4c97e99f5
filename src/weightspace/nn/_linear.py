"""Engine 1: all equivariant linear maps on weight features, computed by pooling and broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..space import SymmetryGroup, WeightFeatures, WeightSpace
from ._coefficients import Coefficients, Term
from ._layout import Way, check_space, layouts
from ._pool import Reduction, map_and_pool
from ._set_attention import SetAttention
from ._terms import Kind, Reader, Terms, assemble, kinds

__all__ = ["EquivariantLinear"]


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
        rank: bound on the rank of each matrix of coefficients that has more entries than its two factors of that
            rank would have; every entry then also has a map of its own channels, which goes around the factors. None
            for all coefficients: their number grows with the square of the plain and dense entries (784 pixels, 197
            positions) and of the parameters that share a neuron group (a residual stream).
        gain: variance of the output relative to that of the input at initialisation; 2 in front of a ReLU.

    Raises:
        ModelError: for a general linear group, a group that scales neurons and does not permute them, attention over
            neurons that are scaled, a maximum where there are signs, an unknown option, or a matrix of more than 2^28
            coefficients.

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
        rank: int | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if neuron_map not in ("linear", "attention") or reduction not in get_args(Reduction):
            raise ModelError(
                "expected neuron_map 'linear' or 'attention' and reduction 'mean', 'sum' or 'max', "
                f"found {neuron_map!r} and {reduction!r}"
            )
        self.space, self.in_channels, self.out_channels, self.reduction = space, in_channels, out_channels, reduction
        self.symmetry = symmetry = symmetry or space.symmetry("permutation")
        if reduction == "max" and any(factor.scales in ("signs", "nonzero") for factor in symmetry.factors):
            raise ModelError("a maximum does not commute with signs: use reduction='mean' or 'sum'")
        self._layouts = layouts(space, symmetry)
        self._kinds = kinds(self._layouts)
        self.maps = nn.ModuleList(self._coefficients(kind, neuron_map, heads, rank) for kind in self._kinds)
        self.around = nn.ModuleDict()
        for kind, module in zip(self._kinds, self.maps, strict=True):
            for way in kind.writes if isinstance(module, nn.Sequential) else ():
                if len(way.kept) == len(self._layouts[way.parameter].units):
                    self.around[str(way.parameter)] = nn.Linear(in_channels, out_channels, bias=False)
        self.reset_parameters(gain)

    def _coefficients(self, kind: Kind, neuron_map: str, heads: int, rank: int | None) -> nn.Module:
        """The map of one kind of terms: linear or a set layer, through a bottleneck if it is large."""
        inputs, outputs = (
            sum(self._widths(kind.reads, self.in_channels)),
            sum(self._widths(kind.writes, self.out_channels)),
        )
        low = rank is not None and rank * (inputs + outputs) < inputs * outputs
        size = rank * max(inputs, outputs) if low and rank is not None else inputs * outputs
        if size > 2**28:
            raise ModelError(
                f"the terms of neuron groups {[name for name, _ in kind.labels]} have {inputs} features in and "
                f"{outputs} out for each index, which takes a matrix of {size} coefficients; pass a smaller rank or "
                "fewer channels, or take np-nfn or nft, which see input and output neurons one by one"
            )
        attention = len(kind.labels) == 1 and neuron_map == "attention"
        if attention and kind.labels[0][1]:
            raise ModelError("attention over neurons does not commute with scales or signs: use neuron_map='linear'")
        if low and rank is not None:
            middle = [SetAttention(rank, rank, heads)] if attention else []
            return nn.Sequential(
                nn.Linear(inputs, rank, bias=False), *middle, nn.Linear(rank, outputs, bias=not kind.labels)
            )
        return SetAttention(inputs, outputs, heads) if attention else nn.Linear(inputs, outputs, bias=not kind.labels)

    def _widths(self, some: list[Way], channels: int) -> list[int]:
        return [channels * self._layouts[way.parameter].multiplicity for way in some]

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draws the coefficients so that the terms of each output share its variance equally.

        Set layers keep torch's smaller default: their residuals add up, and large inputs saturate the attention.
        """
        written = [way.parameter for kind in self._kinds for way in kind.writes]
        for kind, module in zip(self._kinds, self.maps, strict=True):
            share = gain if all(written.count(way.parameter) == 1 for way in kind.writes) else gain / 2
            if isinstance(module, nn.Linear):
                _draw(module, share)
            elif isinstance(module, nn.Sequential):
                _draw(cast(nn.Linear, module[0]), 1.0)
                _draw(cast(nn.Linear, module[-1]), share / 2)
        for linear in self.around.values():
            _draw(cast(nn.Linear, linear), gain / 2)

    def linear_parameters(self) -> list[nn.Parameter]:
        """The coefficients of the linear part, without the invariant biases."""
        return [p for name, p in self.named_parameters() if not name.endswith("bias")]

    def terms(self) -> tuple[Term, ...]:
        """All terms: parameters to write and to read, and the neuron groups along which they are tied."""
        return self._by_name.terms

    def coefficients(
        self, output: str, input: str, tied: Iterable[str] = ()
    ) -> Float[Tensor, "out *dense_out channels *dense_in"]:
        """The coefficients of one term, as a view: what is written there, under `torch.no_grad`, is the layer's.

        The term adds to every entry of the output parameter these coefficients times the input parameter, pooled over
        its permuted axes that are not tied. Axes that no permutation moves, and those of one unit, are dense.

        Args:
            output: name of the parameter that is written.
            input: name of the parameter that is read.
            tied: names of the neuron groups whose index is the same in both.

        Raises:
            ModelError: if there is no such term, if the layer has a rank or attention, and if a parameter carries the
                same units several times.

        Example:
            >>> import weightspace as ws
            >>> layer = EquivariantLinear(ws.mlp([2, 5, 1]), 3, 4)
            >>> layer.coefficients("0.weight", "0.bias", ["hidden1"]).shape
            torch.Size([4, 2, 3])
        """
        return self._by_name.of(self.maps, Term(output, input, frozenset(tied)))

    def biases(self, output: str) -> Float[Tensor, "out *dense_out"]:
        """The invariant biases of one parameter, as a view; refused as `coefficients` are."""
        return self._by_name.bias(self.maps, output)

    @cached_property
    def _by_name(self) -> Coefficients:
        if not all(isinstance(linear, nn.Linear) for linear in self.maps):
            raise ModelError(
                "single coefficients need a layer with neuron_map='linear' and without rank; this one has factored or "
                "attentive maps"
            )
        return Coefficients(self.space, self._layouts, self._kinds, (self.in_channels, self.out_channels))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        check_space(self.space, theta, self.in_channels)
        reader = Reader(self._layouts, theta, self.reduction)
        terms: list[Terms] = [{} for _ in self._layouts]
        for kind, module in zip(self._kinds, self.maps, strict=True):
            y = self._product(kind, module, reader)
            parts = [y] if len(kind.writes) == 1 else y.split(self._widths(kind.writes, self.out_channels), dim=-1)
            for way, part in zip(kind.writes, parts, strict=True):
                terms[way.parameter].setdefault(way.blocks, {})[way.kept] = part
        tensors = []
        for i, (layout, by_blocks) in enumerate(zip(self._layouts, terms, strict=True)):
            out = layout.unfold(assemble(by_blocks, layout.sizes))
            tensors.append(out + self.around[str(i)](theta.tensors[i]) if str(i) in self.around else out)
        return WeightFeatures(self.space, tuple(tensors))

    def _product(self, kind: Kind, module: nn.Module, reader: Reader) -> Tensor:
        """The terms of one kind: the readings side by side, times the coefficients."""
        readings = [reader.read(way) for way in kind.reads]
        x = readings[0] if len(readings) == 1 else torch.cat(readings, dim=-1)
        if len(kind.labels) != 2 or all(charge for _, charge in kind.labels):
            out: Tensor = module(x)
            return out
        # the pools of these entries are wanted by the kinds with one index, and cost least beside the product
        first, *rest = module if isinstance(module, nn.Sequential) else [module]
        y, rows, columns = map_and_pool(x, cast(nn.Linear, first).weight.mT, self.reduction)
        for linear in rest:
            y = linear(y)
        widths = self._widths(kind.reads, self.in_channels)
        for way, row, column in zip(kind.reads, rows.split(widths, -1), columns.split(widths, -1), strict=True):
            reader.keep(way, 0, row)
            reader.keep(way, 1, column)
        return y

    def extra_repr(self) -> str:
        """Shows the channels and the reduction."""
        return f"{self.in_channels} -> {self.out_channels}, reduction={self.reduction}"


def _draw(linear: nn.Linear, gain: float) -> None:
    nn.init.normal_(linear.weight, std=math.sqrt(gain / linear.in_features))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
