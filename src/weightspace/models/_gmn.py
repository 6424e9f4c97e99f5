"""GMN: graph metanetworks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn import GraphEncoder, GraphState, MessagePassing, Standardization, Standardize, check_space, head
from ..space import WeightFeatures, WeightSpace
from ._registry import Task, register

__all__ = ["GMN"]


@register("gmn")
class GMN(nn.Module):
    """Message passing on the graph of the input network, in both directions.

    Source: Lim et al. (2024), arXiv 2312.04501, in the configuration of Kalogeropoulos et al. (2024),
    arXiv 2406.10685, with the permutation group.

    Args:
        space: weight space of the networks.
        task: "equivariant" or "invariant".
        in_channels: channels of the input.
        out_channels: channels of an equivariant output.
        out_features: length of an invariant output.
        hidden: channels of nodes and edges.
        depth: number of layers; by default 10 for an equivariant and 4 for an invariant task.
        bidirectional: pass messages backwards too.
        dropout: probability.
        standardize: of the input; see `Standardize`. The published networks take raw weights.

    Attributes:
        symmetry: the group that the network respects: permutations of hidden neurons, or nothing where the input is
            standardised per entry.
    """

    def __init__(
        self,
        space: WeightSpace,
        task: Task = "equivariant",
        in_channels: int = 1,
        out_channels: int = 1,
        out_features: int = 1,
        hidden: int = 128,
        depth: int | None = None,
        bidirectional: bool = True,
        dropout: float = 0.1,
        standardize: Standardization = "none",
    ) -> None:
        super().__init__()
        self.space, self.in_channels = space, in_channels
        self.symmetry = space.symmetry("trivial" if standardize == "entry" else "permutation")
        self.standardize = Standardize(space, standardize, in_channels)
        self.encoder = GraphEncoder(space, in_channels, hidden)
        depth = depth or (10 if task == "equivariant" else 4)
        equivariant = task == "equivariant"
        self.out_channels = out_channels
        graph = self.encoder.graph
        self.layers = nn.Sequential(
            *(
                MessagePassing(
                    graph,
                    hidden,
                    out_channels * max(graph.taps, graph.vectors) if equivariant and i == depth - 1 else None,
                    bidirectional=bidirectional,
                    edge_update=equivariant or i < depth - 1,
                    dropout=dropout if i < depth - 1 else 0.0,
                )
                for i in range(depth)
            )
        )
        self.head: nn.Module | None = None
        if not equivariant:
            exposed = sum(group.size for group in space.groups if group.kind != "hidden")
            hidden_groups = sum(group.kind == "hidden" for group in space.groups)
            self.head = head((exposed + hidden_groups) * hidden, hidden, out_features, dropout)

    def forward(self, theta: WeightFeatures) -> WeightFeatures | Tensor:
        """Weight features for an equivariant task, ``[batch, out_features]`` for an invariant one."""
        check_space(self.space, theta, self.in_channels, like=next(self.parameters()))
        state: GraphState = self.layers(self.encoder(self.standardize(theta)))
        return self._weights(state) if self.head is None else self.head(self._pool(state))

    def _weights(self, state: GraphState) -> WeightFeatures:
        """Edges become weights again, nodes become vectors."""
        graph, channels = self.encoder.graph, self.out_channels
        tensors: dict[int, Tensor] = {}
        for (i, _, _, taps), edge in zip(graph.edges, state.edges, strict=True):
            tensors[i] = edge[..., : taps * channels].reshape(len(edge), *self.space.parameters[i].shape, channels)
        for group, members in graph.nodes.items():
            node = state.nodes[group]
            tensors |= {i: node[..., n * channels : (n + 1) * channels] for n, i in enumerate(members)}
        return WeightFeatures(self.space, tuple(tensors[i] for i in range(len(tensors))))

    def _pool(self, state: GraphState) -> Tensor:
        """Nodes of hidden groups averaged, input and output nodes side by side."""
        parts = [
            state.nodes[group.name].mean(1) if group.kind == "hidden" else state.nodes[group.name].flatten(1)
            for group in self.space.groups
        ]
        return torch.cat(parts, dim=-1)
