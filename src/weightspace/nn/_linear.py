"""Engine 1: all permutation-equivariant linear maps on weight features, computed by pooling and broadcasting."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .._errors import ModelError
from ..space import WeightFeatures, WeightSpace
from ._layout import Permuted, check_space, layouts, permuted_groups
from ._pool import Reduction, add_rows_and_columns, map_and_pool, reduce
from ._set_attention import SetAttention

__all__ = ["EquivariantLinear", "InvariantPool"]


class _Pools:
    """One feature vector per entry, per neuron and per network: every parameter pooled over each subset of its axes.

    ``pairs`` and ``singles`` list the tied neuron groups; ``of_pair``, ``of_single`` and ``all`` hold the positions of
    the parameters that reach each of them.
    """

    def __init__(self, space: WeightSpace, permuted: Permuted) -> None:
        self.layouts = layouts(space, permuted)
        self.of_single: dict[str, list[int]] = {name: [] for name in permuted_groups(space, permuted)}
        self.of_pair: dict[tuple[str, ...], list[int]] = {}
        for i, layout in enumerate(self.layouts):
            if len(layout.groups) == 2:
                pair = layout.groups if layout.groups[::-1] not in self.of_pair else layout.groups[::-1]
                self.of_pair.setdefault(pair, []).append(i)
            for name in layout.groups:
                self.of_single[name].append(i)
        self.of_single = {name: members for name, members in self.of_single.items() if members}

    def width(self, members: list[int], channels: int) -> int:
        """Channels of the parameters in ``members`` side by side, dense axes folded in."""
        return channels * sum(self.layouts[i].multiplicity for i in members)

    def oriented(self, i: int, tensor: Tensor) -> Tensor:
        """A folded two-group tensor with its groups in the order of their pair (an involution)."""
        return tensor if self.layouts[i].groups in self.of_pair else tensor.transpose(1, 2)


class EquivariantLinear(nn.Module):
    r"""The general affine map V ⊗ R^C → V ⊗ R^C' that commutes with permutations of the neurons.

    A basis of these maps is indexed by (output parameter, input parameter, set T of neuron groups that both carry):
    tie the axes in T, pool the other permuted input axes, broadcast over the other permuted output axes, and be dense
    over the rest. With ``reduction="mean"`` or ``"sum"`` and linear neuron maps the layer has exactly one coefficient
    for each basis element, that is, as many as the commutant of the group has dimensions (plus the invariant biases).

    Every parameter is pooled once. All basis elements with the same T are one matrix product: per entry, per neuron of
    each group, and for one global vector of the network. The time is O(#weights · C · C') plus a product for the
    global vector that grows with depth² · C · C'; nothing else depends on pairs of parameters.

    Sources: Navon et al. (2023), arXiv 2301.12780 (hidden neurons permuted, "DWS"; also "HNP" in the next); Zhou et al.
    (2023), arXiv 2302.14040 ("NP", all neurons permuted).

    Args:
        space: weight space of the networks.
        in_channels: channels C of the input.
        out_channels: channels C' of the output.
        permuted: "hidden" neurons only, or "all", input and output neurons too.
        reduction: how axes are pooled: "mean", "sum" or "max" ("max" is not linear).
        neuron_map: "linear", or "attention" over the neurons of each group (the set layers of DWS; not linear).
        heads: attention heads.
        gain: variance of the output relative to that of the input at initialisation; 2 in front of a ReLU.

    Raises:
        ModelError: if a parameter carries more than two permuted neuron groups, or one of them twice, or for an unknown
            option.

    Note:
        Gradients are fused by hand, so the transforms of `torch.func` (vmap, jvp) do not go through the layer. Where
        the maximum is taken by several neurons, its gradient goes to the first of them.

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
        permuted: Permuted = "hidden",
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
        pools = self._pools = _Pools(space, permuted)
        everything = list(range(len(pools.layouts)))
        self.entry = nn.ParameterList()
        for members in pools.of_pair.values():
            entry = nn.Linear(pools.width(members, in_channels), pools.width(members, out_channels), bias=False)
            self.entry.append(nn.Parameter(entry.weight.detach().mT.contiguous()))
        self.neuron = nn.ModuleList()
        for members in pools.of_single.values():
            sizes = pools.width(members, in_channels), pools.width(members, out_channels)
            self.neuron.append(nn.Linear(*sizes, bias=False) if neuron_map == "linear" else SetAttention(*sizes, heads))
        self.network = nn.Linear(pools.width(everything, in_channels), pools.width(everything, out_channels))
        self.reset_parameters(gain)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draws the coefficients so that the terms of each output share its variance equally.

        Set layers keep torch's smaller default: their residuals add up, and large inputs saturate the attention.
        """
        for weight in self.entry:
            nn.init.normal_(weight, std=math.sqrt(gain / 2 / weight.shape[0]))
        for linear in self.neuron:
            if isinstance(linear, nn.Linear):
                nn.init.normal_(linear.weight, std=math.sqrt(gain / 2 / linear.in_features))
        nn.init.normal_(self.network.weight, std=math.sqrt(gain / 2 / self.network.in_features))
        nn.init.zeros_(self.network.bias)

    def linear_parameters(self) -> list[nn.Parameter]:
        """The coefficients of the linear part, without the invariant biases."""
        return [p for name, p in self.named_parameters() if name != "network.bias"]

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        check_space(self.space, theta, self.in_channels)
        pools = self._pools
        folded = [layout.fold(t) for layout, t in zip(pools.layouts, theta.tensors, strict=True)]
        entries, pooled = self._entries(folded)
        neurons: dict[tuple[str, int], Tensor] = {}
        totals: dict[int, Tensor] = {i: folded[i] for i, layout in enumerate(pools.layouts) if not layout.groups}
        for (name, members), module in zip(pools.of_single.items(), self.neuron, strict=True):
            features = [pooled[name, i] if (name, i) in pooled else folded[i] for i in members]
            for i, feature in zip(members, features, strict=True):
                if i not in totals:
                    totals[i] = reduce(feature, 1, self.reduction)
            parts = module(torch.cat(features, dim=-1)).split(self._widths(members), dim=-1)
            neurons |= {(name, i): part for i, part in zip(members, parts, strict=True)}
        everything = range(len(folded))
        network = self.network(torch.cat([totals[i] for i in everything], dim=-1)).split(self._widths(everything), -1)
        outputs = [self._assemble(i, entries, neurons, network[i]) for i in everything]
        return WeightFeatures(self.space, tuple(outputs))

    def _entries(self, folded: list[Tensor]) -> tuple[dict[int, Tensor], dict[tuple[str, int], Tensor]]:
        """Per-entry products of the two-group parameters, and their pools by (group that is left, parameter)."""
        pools = self._pools
        entries: dict[int, Tensor] = {}
        pooled: dict[tuple[str, int], Tensor] = {}
        for ((first, second), members), weight in zip(pools.of_pair.items(), self.entry, strict=True):
            x = [pools.oriented(i, folded[i]) for i in members]
            y, rows, columns = map_and_pool(x[0] if len(x) == 1 else torch.cat(x, -1), weight, self.reduction)
            outs = [y] if len(x) == 1 else [part.contiguous() for part in y.split(self._widths(members), -1)]
            widths = self._widths(members, self.in_channels)
            for i, out, row, column in zip(
                members, outs, rows.split(widths, -1), columns.split(widths, -1), strict=True
            ):
                entries[i], pooled[first, i], pooled[second, i] = out, row, column
        return entries, pooled

    def _assemble(
        self, i: int, entries: dict[int, Tensor], neurons: dict[tuple[str, int], Tensor], network: Tensor
    ) -> Tensor:
        """The sum of the entry-wise, the neuron-wise and the global term of one output parameter."""
        layout = self._pools.layouts[i]
        if not layout.groups:
            return layout.unfold(network)
        if len(layout.groups) == 1:
            return layout.unfold(neurons[layout.groups[0], i] + network.unsqueeze(1))
        first, second = layout.groups if layout.groups in self._pools.of_pair else layout.groups[::-1]
        row = neurons[first, i] + network.unsqueeze(1)
        total = add_rows_and_columns(entries[i], row, neurons[second, i])
        return layout.unfold(self._pools.oriented(i, total))

    def _widths(self, members: list[int] | range, channels: int | None = None) -> list[int]:
        return [self._pools.width([i], channels or self.out_channels) for i in members]

    def extra_repr(self) -> str:
        """Shows the channels and the reduction."""
        return f"{self.in_channels} -> {self.out_channels}, reduction={self.reduction}"


class InvariantPool(nn.Module):
    """Every parameter pooled over all its permuted axes, dense axes kept: invariant features of a network.

    Args:
        space: weight space of the networks.
        channels: channels of the input.
        permuted: "hidden" neurons only, or "all".
        reduction: "mean", "sum" or "max".

    Attributes:
        out_features: length of the vector, ``channels`` for each parameter and each of its dense entries.
    """

    def __init__(
        self, space: WeightSpace, channels: int, *, permuted: Permuted = "hidden", reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.space, self.channels, self.reduction = space, channels, reduction
        self._layouts = layouts(space, permuted)
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
