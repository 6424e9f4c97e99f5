"""Engine 3: attention between the neurons of the input network, with a feature for each pair of neurons."""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ._dropout import dropout
from ._pairs import Pairs, PairState
from ._pool import fan_out

__all__ = ["RelationalAttention"]


class RelationalAttention(nn.Module):
    r"""One layer of the relational transformer.

    Node i attends to the nodes j with which it forms pairs; with H heads and maps per head,

    .. math::
        q_{ij} = q(x_i) + q_e(e_{ij}), \quad k_{ij} = k(x_j) + k_e(e_{ij}), \quad
        v_{ij} = v(x_j) \odot w_e(e_{ij}) + v_e(e_{ij}), \\
        x_i \leftarrow LN(x_i + W_o \sum_j softmax_j(\langle q_{ij}, k_{ij} \rangle / \sqrt{width}) v_{ij}), \quad
        x \leftarrow LN(x + MLP(x)), \\
        e_{ij} \leftarrow LN(e_{ij} + W_1 GELU(W_e e_{ij} + W_r e_{ji} + W_s x_i + W_t x_j)), \quad
        e \leftarrow LN(e + MLP(e))

    The scale is that of the full width, not of one head. The map v_e acts on the mean of e under the attention
    weights, so no pair holds its result. Time grows with the number of pairs times (width · pair_channels), memory
    with the number of pairs times width.

    Sources: Diao and Loynd (2023), arXiv 2210.05062; Kofinas et al. (2024), arXiv 2403.12143 (the product with w_e).

    Args:
        pairs: which pairs there are.
        channels: channels of the nodes.
        pair_channels: channels of the pairs.
        width: channels of queries, keys and values.
        heads: wanted number of heads; the greatest common divisor with ``width`` is taken.
        pair_update: compute new features of the pairs; otherwise they are returned as they are.
        dropout: probability.
    """

    def __init__(
        self,
        pairs: Pairs,
        channels: int,
        pair_channels: int,
        width: int,
        heads: int,
        *,
        pair_update: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks, self.heads, self.dropout = pairs.blocks, math.gcd(heads, width), dropout
        self.of_node = nn.Linear(channels, 3 * width, bias=False)
        self.query, self.key, self.gate, self.value = (nn.Linear(pair_channels, width, bias=False) for _ in range(4))
        self.out = nn.Linear(width, channels)
        self.node_update = _Update(channels)
        self.pair_update = _PairUpdate(pairs, channels, pair_channels, dropout) if pair_update else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, state: PairState) -> PairState:
        """Applies the layer."""
        sums = self._attend(state)
        nodes = {
            name: self.node_update(x, dropout(self.out(sums[name]), self.dropout, self.training))
            for name, x in state.nodes.items()
        }
        return PairState(nodes, state.pairs if self.pair_update is None else self.pair_update(nodes, state.pairs))

    def _attend(self, state: PairState) -> dict[str, Tensor]:
        """The attention-weighted sum of the values at each node."""
        projected = {name: self.of_node(x).chunk(3, dim=-1) for name, x in state.nodes.items()}
        terms: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in state.nodes}
        for block, e in zip(self.blocks, state.pairs, strict=True):
            q, k, gate = fan_out(e, self.query.weight, self.key.weight, self.gate.weight)
            q = block.add_ends(q, target=projected[block.target][0])
            k = block.add_ends(k, source=projected[block.source][1])
            gated = gate * block.source_side(projected[block.source][2])
            terms[block.target].append((self._by_head(q * k).sum(-1), self._by_head(gated), e))
        return {name: self._mix(blocks) for name, blocks in terms.items()}

    def _mix(self, blocks: list[tuple[Tensor, Tensor, Tensor]]) -> Float[Tensor, "batch i width"]:
        """The sum over all blocks (scores, gated values, pairs) into one set of nodes, with one softmax over j."""
        scores = torch.cat([score for score, _, _ in blocks], dim=2) * self.value.out_features**-0.5
        weights = scores.softmax(dim=2).split([score.shape[2] for score, _, _ in blocks], dim=2)
        value = self.value.weight.unflatten(0, (self.heads, -1))
        sums = [
            (gated * weight.unsqueeze(-1)).sum(2) + torch.einsum("bihc,hdc->bihd", weight.transpose(2, 3) @ e, value)
            for weight, (_, gated, e) in zip(weights, blocks, strict=True)
        ]
        total: Tensor = functools.reduce(torch.add, sums).flatten(2)
        return total

    def _by_head(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads


class _Update(nn.Module):
    """``x <- LN(x + new)``, then ``x <- LN(x + MLP(x))`` with an MLP of twice the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor, new: Tensor) -> Tensor:
        x = self.norm[0](x + new)
        out: Tensor = self.norm[1](x + self.mlp(x))
        return out


class _PairUpdate(nn.Module):
    """The new features of the pairs, from both directions and both ends."""

    def __init__(self, pairs: Pairs, channels: int, pair_channels: int, dropout: float) -> None:
        super().__init__()
        self.blocks, self.dropout, hidden = pairs.blocks, dropout, 2 * pair_channels
        self.own, self.reverse = (nn.Linear(pair_channels, hidden, bias=False) for _ in range(2))
        self.target, self.source = nn.Linear(channels, hidden), nn.Linear(channels, hidden, bias=False)
        self.out = nn.Linear(hidden, pair_channels)
        self.update = _Update(pair_channels)

    def forward(self, nodes: dict[str, Tensor], pairs: list[Tensor]) -> list[Tensor]:
        target = {name: self.target(x) for name, x in nodes.items()}
        source = {name: self.source(x) for name, x in nodes.items()}
        parts = [fan_out(e, self.own.weight, self.reverse.weight) for e in pairs]
        new = []
        for block, e, (h, _) in zip(self.blocks, pairs, parts, strict=True):
            other = parts[block.reverse][1]
            h = h + (other if block.own else other.transpose(1, 2))
            h = block.add_ends(h, target[block.target], source[block.source])
            new.append(self.update(e, dropout(self.out(F.gelu(h)), self.dropout, self.training)))
        return new
