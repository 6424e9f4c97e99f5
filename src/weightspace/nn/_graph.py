"""The graph of the input network: neurons are nodes, weights are edges in complete bipartite blocks.

A weight matrix is one block ``[batch, out, in, channels]``: no edge index, no scatter. Residual and parallel branches
are several blocks into one neuron group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import ModelError
from ..space import NeuronGroup, SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["Graph", "GraphDecoder", "GraphEncoder", "GraphPool", "GraphProjection", "GraphState"]


class Graph:
    """Which parameters of a space are edges between two neuron groups, and which are features of one group's nodes.

    Attributes:
        groups: the neuron groups.
        edges: (position of the parameter, source group, target group, plain axes) for each weight.
        nodes: for each group the positions of its vectors.

    Raises:
        ModelError: for a parameter that is neither.
    """

    def __init__(self, space: WeightSpace) -> None:
        self.groups: tuple[NeuronGroup, ...] = space.groups
        self.edges: list[tuple[int, str, str, int]] = []
        self.nodes: dict[str, list[int]] = {group.name: [] for group in space.groups}
        for i, parameter in enumerate(space.parameters):
            labels = [axis.group for axis in parameter.axes[:2] if axis.group is not None]
            plain = math.prod(axis.size for axis in parameter.axes if axis.group is None)
            if len(parameter.groups) == len(labels) == 2 and [a.side for a in parameter.axes[:2]] == ["out", "in"]:
                self.edges.append((i, labels[1], labels[0], plain))
            elif len(parameter.groups) == len(labels) == 1 and plain == 1:
                self.nodes[labels[0]].append(i)
            else:
                raise ModelError(
                    f"parameter {parameter.name!r} with shape {parameter.shape} is neither a weight [out, in, ...] "
                    "between two neuron groups nor a vector on one"
                )
        self.vectors = max(1, *(len(members) for members in self.nodes.values()))
        self.taps = max(1, *(edge[3] for edge in self.edges))


class GraphState(NamedTuple):
    """Features of all nodes, by neuron group, and of all edges, in the order of ``Graph.edges``.

    Attributes:
        nodes: one tensor for each neuron group.
        edges: one tensor for each block of weights.
        against: features of their own for messages against the direction of the network, for each block that has such
            and None for the others; empty if no block has.
    """

    nodes: dict[str, Float[Tensor, "batch n channels"]]
    edges: list[Float[Tensor, "batch out in channels"]]
    against: Sequence[Float[Tensor, "batch out in channels"] | None] = ()


class GraphEncoder(nn.Module):
    r"""Weight features as a graph: biases become node features, weights edge features, each with a learned code.

    The codes tell apart what no symmetry relates: each input neuron, each hidden group, each output neuron, and each
    block of weights by its dense end. Input neurons, which have no bias, get the constant 1. A code is added; where the
    group scales a neuron (or an end of an edge), the map is linear and the code is a factor, so that the features are
    scaled as the weights are.

    Args:
        space: weight space of the networks.
        in_channels: channels of the features.
        channels: channels of nodes and edges.
        symmetry: the group to respect; permutations of hidden neurons if None.
        reciprocal: whether weights with an end that is scaled by positive numbers get features of their own, made of
            their reciprocals, for messages against the direction of the network (``GraphState.against``). Those go
            from i to j, where a weight is multiplied by :math:`q_i / q_j`, so theirs must be by :math:`q_j / q_i`.
            They are 1 / w once, and are then updated as edges are: a reciprocal of learned features in every layer
            would be as large, and would have a gradient of the order of their square. Of several channels w the
            reciprocal is :math:`w / \lVert w \rVert^2`; of zero it is zero.
    """

    def __init__(
        self,
        space: WeightSpace,
        in_channels: int,
        channels: int,
        symmetry: SymmetryGroup | None = None,
        *,
        reciprocal: bool = False,
    ) -> None:
        super().__init__()
        graph = self.graph = Graph(space)
        symmetry = symmetry or space.symmetry("permutation")
        kinds = {group.name: symmetry.factor(group.name).scales for group in space.groups}
        scaled = {name for name, kind in kinds.items() if kind != "none"}
        self._scaled_nodes = [group.name in scaled for group in space.groups]
        self._scaled_edges = [bool({source, target} & scaled) for _, source, target, _ in graph.edges]
        self.node = nn.Linear(graph.vectors * in_channels, channels, bias=False)
        self.edge = nn.Linear(graph.taps * in_channels, channels, bias=False)
        size = {group.name: 1 if group.kind == "hidden" else group.size for group in space.groups}
        self.node_code = nn.ParameterList(
            _code(is_scaled, size[group.name], channels)
            for group, is_scaled in zip(space.groups, self._scaled_nodes, strict=True)
        )
        self.edge_code = nn.ParameterList(
            _code(is_scaled, size[target], size[source], channels)
            for (_, source, target, _), is_scaled in zip(graph.edges, self._scaled_edges, strict=True)
        )
        self._positive = [
            n for n, (_, s, t, _) in enumerate(graph.edges) if reciprocal and "positive" in (kinds[s], kinds[t])
        ]
        if self._positive:
            self.reciprocal = nn.Linear(self.edge.in_features, channels, bias=False)
            self.reciprocal_code = nn.ParameterList(_code(True, *self.edge_code[n].shape) for n in self._positive)

    def forward(self, theta: WeightFeatures) -> GraphState:
        """Embeds a batch of networks."""
        nodes = {}
        for group, code, is_scaled in zip(self.graph.groups, self.node_code, self._scaled_nodes, strict=True):
            members = [theta.tensors[i] for i in self.graph.nodes[group.name]]
            if not members:
                constant = torch.zeros if is_scaled else torch.ones
                members = [constant(len(theta), group.size, theta.channels, dtype=theta.dtype, device=theta.device)]
            nodes[group.name] = _embed(self.node, torch.cat(members, dim=-1), code, is_scaled)
        edges = [
            _embed(self.edge, theta.tensors[i].flatten(3), code, is_scaled)
            for (i, *_), code, is_scaled in zip(self.graph.edges, self.edge_code, self._scaled_edges, strict=True)
        ]
        against: list[Tensor | None] = [None] * len(edges) if self._positive else []
        for n, code in zip(self._positive, self.reciprocal_code if self._positive else [], strict=True):
            inverse = _reciprocal(theta.tensors[self.graph.edges[n][0]].flatten(3))
            against[n] = _embed(self.reciprocal, inverse, code, True)
        return GraphState(nodes, edges, against)


def _reciprocal(w: Float[Tensor, "*entries channels"]) -> Float[Tensor, "*entries channels"]:
    largest = w.detach().abs().amax(-1, keepdim=True)  # first of order one, so that no square under- or overflows
    largest = torch.where(largest > torch.finfo(w.dtype).tiny, largest, torch.inf)
    y = w / largest
    return y / (largest * y.square().sum(-1, keepdim=True).where(largest.isfinite(), 1))


def _code(is_scaled: bool, *shape: int) -> nn.Parameter:
    return nn.Parameter((1.0 if is_scaled else 0.0) + 0.1 * torch.randn(shape))


def _embed(linear: nn.Linear, features: Tensor, code: Tensor, is_scaled: bool) -> Tensor:
    embedded: Tensor = linear(F.pad(features, (0, linear.in_features - features.shape[-1])))
    return embedded * code if is_scaled else embedded + code


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
        nodes = {group: self.node(x) for group, x in state.nodes.items()}
        return GraphState(nodes, [self.edge(e) for e in state.edges])


class GraphDecoder(nn.Module):
    """A graph as weight features: edges become weights again, nodes become vectors.

    Args:
        space: weight space of the networks.
        out_channels: channels of the weight features.

    Attributes:
        width: channels that nodes and edges must have.
    """

    def __init__(self, space: WeightSpace, out_channels: int) -> None:
        super().__init__()
        self.space, self.graph, self.out_channels = space, Graph(space), out_channels
        self.width = out_channels * max(self.graph.taps, self.graph.vectors)

    def forward(self, state: GraphState) -> WeightFeatures:
        """Takes the channels of each parameter."""
        channels = self.out_channels
        tensors: dict[int, Tensor] = {}
        for (i, _, _, taps), edge in zip(self.graph.edges, state.edges, strict=True):
            tensors[i] = edge[..., : taps * channels].reshape(len(edge), *self.space.parameters[i].shape, channels)
        for group, members in self.graph.nodes.items():
            node = state.nodes[group]
            tensors |= {i: node[..., n * channels : (n + 1) * channels] for n, i in enumerate(members)}
        return WeightFeatures(self.space, tuple(tensors[i] for i in range(len(tensors))))


class GraphPool(nn.Module):
    """Invariant features of a graph: nodes of hidden groups averaged, input and output nodes side by side.

    Args:
        space: weight space of the networks.
        channels: channels of the nodes.

    Attributes:
        out_features: length of the vector.
    """

    def __init__(self, space: WeightSpace, channels: int) -> None:
        super().__init__()
        self.groups = space.groups
        self.out_features = channels * sum(1 if group.kind == "hidden" else group.size for group in space.groups)

    def forward(self, state: GraphState) -> Float[Tensor, "batch out_features"]:
        """Pools the nodes."""
        parts = [
            state.nodes[group.name].mean(1) if group.kind == "hidden" else state.nodes[group.name].flatten(1)
            for group in self.groups
        ]
        return torch.cat(parts, dim=-1)
