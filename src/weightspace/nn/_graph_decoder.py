"""Graphs as weight features, and invariant features of graphs."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..space import WeightFeatures, WeightSpace
from ._codes import RoleMaps
from ._family import SpaceFamily, family_of
from ._graph import GraphState, graph_of

__all__ = ["GraphDecoder", "GraphPool", "GraphProjection"]

_SIDE_BY_SIDE = 1024  # of more input or output nodes than that the mean is read out


class GraphProjection(nn.Module):
    """Linear - ReLU - linear on nodes and on edges.

    Args:
        node_channels: channels of the nodes.
        edge_channels: channels of the edges.
        out_channels: channels of both in the result.
    """

    def __init__(self, node_channels: int, edge_channels: int, out_channels: int) -> None:
        super().__init__()
        self.node, self.edge = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out_channels))
            for width in (node_channels, edge_channels)
        )

    def forward(self, state: GraphState) -> GraphState:
        """Maps all nodes and edges."""
        nodes = {name: self.node(x) for name, x in state.nodes.items()}
        return state._replace(nodes=nodes, edges=[self.edge(e) for e in state.edges], against=())


class GraphDecoder(nn.Module):
    """A graph as weight features: edges become weights again, nodes become vectors.

    Where a node or an edge stands for several numbers (a bias and gains, the taps of a convolution), each role has a
    linear map of its own; where it stands for one, its features are those of the parameter.

    Args:
        space: weight space of the networks, or a family of them.
        out_channels: channels of the weight features.
        channels: channels of nodes and edges, if there is a linear map.

    Attributes:
        width: channels that nodes and edges must have: ``channels``, or ``out_channels`` if there is no linear map.
    """

    def __init__(self, space: WeightSpace | SpaceFamily, out_channels: int, channels: int) -> None:
        super().__init__()
        family = family_of(space)
        self.out_channels, self.width = out_channels, out_channels if family.single else channels
        self.node, self.edge = (
            None if family.single else RoleMaps(roles, out_channels, channels, decode=True)
            for roles in (family.nodes, family.edges)
        )

    def forward(self, state: GraphState) -> WeightFeatures:
        """Reads each parameter; what stands in the padding of networks that are padded is arbitrary."""
        graph, batch = state.graph, len(next(iter(state.nodes.values())))
        tensors: dict[int, Tensor] = {}
        for maps, own, x in (
            *((self.node, graph.nodes[name], x) for name, x in state.nodes.items()),
            *((self.edge, block.members, x) for block, x in zip(graph.blocks, state.edges, strict=True)),
        ):
            for member in own:
                features = x if maps is None else maps.decode(member, x)
                tensors[member.parameter] = member.unfold(features, batch, self.out_channels)
        return WeightFeatures(graph.space, tuple(tensors[i] for i in range(len(tensors))))


class GraphPool(nn.Module):
    """Invariant features of a graph: nodes of hidden sets averaged, input and output nodes side by side.

    Of more than 1024 input or output nodes the mean is taken too. Where a family has networks of different depths,
    hidden sets that one does not have are zeros.

    Args:
        space: weight space of the networks, or a family of them.
        channels: channels of the nodes.

    Attributes:
        out_features: length of the vector.
    """

    def __init__(self, space: WeightSpace | SpaceFamily, channels: int) -> None:
        super().__init__()
        family = family_of(space)
        sets = [s for space in family.spaces for s in graph_of(space).sets.values()]
        self.slots: dict[tuple[str, int], int] = {}
        for kind in ("input", "hidden", "output", "whole"):
            places = {s.place: s.size if s.kind in ("input", "output") else 1 for s in sets if s.kind == kind}
            if kind == "hidden":
                places = dict.fromkeys(range(family.depth), 1)
            self.slots |= {(kind, p): n if n <= _SIDE_BY_SIDE else 1 for p, n in sorted(places.items())}
        self.channels, self.out_features = channels, channels * sum(self.slots.values())

    def forward(self, state: GraphState) -> Float[Tensor, "batch out_features"]:
        """Pools the nodes."""
        names: dict[tuple[str, int], str] = {(s.kind, s.place): name for name, s in state.graph.sets.items()}
        batch = len(next(iter(state.nodes.values())))
        parts = []
        for slot, size in self.slots.items():
            x = state.nodes.get(names.get(slot, ""))
            if x is None:
                parts.append(next(iter(state.nodes.values())).new_zeros(batch, size * self.channels))
            elif size > 1 or x.shape[1] == 1:
                parts.append(x.flatten(1))
            else:
                parts.append(_mean(x, state.masks.get(names[slot])))
        return torch.cat(parts, dim=-1)


def _mean(x: Float[Tensor, "batch n channels"], mask: Bool[Tensor, "batch n"] | None) -> Tensor:
    if mask is None:
        return x.mean(1)
    return torch.einsum("bnc,bn->bc", x, mask.to(x.dtype)) / mask.sum(1, keepdim=True)
