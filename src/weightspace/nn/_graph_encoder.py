"""Weight features as graphs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..space import PaddedFeatures, SymmetryGroup, WeightFeatures, WeightSpace
from ._blocks import Block, NodeSet
from ._codes import Codes, RoleMaps
from ._family import SpaceFamily, family_of, set_key
from ._graph import Graph, GraphState, graph_of

__all__ = ["GraphEncoder", "kinds"]


def kinds(space: WeightSpace, symmetry: SymmetryGroup) -> dict[str, str]:
    """How a group scales each set of nodes: "none", "signs", "positive" or "nonzero"."""
    sets = graph_of(space).sets
    return {name: str(symmetry.factor(name).scales) if len(s.factors) == 1 else "none" for name, s in sets.items()}


class GraphEncoder(nn.Module):
    r"""Weight features as a graph: biases become node features, weights edge features, each with a learned code.

    Each role of a parameter (weights with k plain axes, biases, second biases, ...) has a linear map of its own. Codes
    tell apart what no symmetry relates: each input neuron, each hidden set, each output neuron; a block of weights has
    the sum of a code for its target and one for its source. Nodes with no vector, as those of the input, get a learned
    constant. A code is added; where the group scales a neuron (or an end of an edge), the map is linear and 1 plus the
    code is a factor, so that the features are scaled as the weights are.

    Args:
        space: weight space of the networks; or a family of them, whose hidden sets get a code of their activation too.
        in_channels: channels of the features.
        channels: channels of nodes and edges.
        symmetry: the group to respect; permutations of hidden neurons if None.
        reciprocal: whether weights with an end that is scaled by other numbers than signs get features of their own,
            made of their reciprocals, for messages against the direction of the network (``GraphState.against``). Those
            go from i to j, where a weight is multiplied by :math:`q_i / q_j`, so theirs must be by :math:`q_j / q_i`.
            They are 1 / w once, and are then updated as edges are: a reciprocal of learned features in every layer
            would be as large, and would have a gradient of the order of their square. Of several channels w the
            reciprocal is :math:`w / \lVert w \rVert^2`; of zero it is zero.
    """

    def __init__(
        self,
        space: WeightSpace | SpaceFamily,
        in_channels: int,
        channels: int,
        symmetry: SymmetryGroup | None = None,
        *,
        reciprocal: bool = False,
    ) -> None:
        super().__init__()
        family = family_of(space)
        self.kinds = {} if symmetry is None else kinds(symmetry.space, symmetry)
        self.node = RoleMaps(family.nodes, in_channels, channels)
        self.node_code = Codes(family.sets, channels)
        self.constant = nn.Parameter(torch.rand(channels) * 2 - 1)
        self.edge = _EdgeEmbedding(family, in_channels, channels)
        self.activations = family.activations
        self.activation = nn.Embedding(len(self.activations), channels) if isinstance(space, SpaceFamily) else None
        self._space, self._graph = family.spaces[0], graph_of(family.spaces[0])
        inverted = reciprocal and any(self._inverted(block) for block in self._graph.blocks)
        self.reciprocal = _EdgeEmbedding(family, in_channels, channels) if inverted else None

    def forward(self, theta: WeightFeatures | PaddedFeatures) -> GraphState:
        """Embeds a batch of networks."""
        padded = theta if isinstance(theta, PaddedFeatures) else None
        features = theta.features if isinstance(theta, PaddedFeatures) else theta
        # torch.compile warns of calls to functions with a cache
        graph = self._graph if features.space is self._space else graph_of(features.space)
        nodes = {name: self._nodes(graph, node_set, features) for name, node_set in graph.sets.items()}
        masks: dict[str, Tensor] = {}
        if padded is not None and padded.ragged:
            masks = {name: padded.mask(node_set.factors) for name, node_set in graph.sets.items()}
        if self.activation is not None:
            self._add_activations(nodes, graph, padded)
        edges = [self.edge(graph, block, features, any(self._scaled(block))) for block in graph.blocks]
        against: list[Tensor | None] = []
        if self.reciprocal is not None:
            against = [
                self.reciprocal(graph, b, features, True, inverse=True) if self._inverted(b) else None
                for b in graph.blocks
            ]
        return GraphState(graph, nodes, edges, against, masks)

    def _scaled(self, block: Block) -> list[str]:
        """How the ends of a block are scaled."""
        ends = (self.kinds.get(name, "none") for name in (block.target, block.source))
        return [kind for kind in ends if kind != "none"]

    def _inverted(self, block: Block) -> bool:
        """Whether messages against a block's direction need the reciprocals of its weights."""
        return bool(block.members) and any(kind != "signs" for kind in self._scaled(block))

    def _nodes(self, graph: Graph, node_set: NodeSet, theta: WeightFeatures) -> Tensor:
        batch, code = len(theta), self.node_code(node_set)
        scaled = self.kinds.get(node_set.name, "none") != "none"
        members = graph.nodes[node_set.name]
        if not members:
            constant: Tensor = torch.zeros_like(self.constant) if scaled else self.constant + code
            return constant.expand(batch, node_set.size, -1)
        parts = [self.node.encode(m, m.fold(theta, batch, node_set.size)) for m in members]
        x = sum(parts[1:], start=parts[0])
        return torch.mul(x, 1 + code) if scaled else torch.add(x, code)

    def _add_activations(self, nodes: dict[str, Tensor], graph: Graph, padded: PaddedFeatures | None) -> None:
        """Adds to the nodes of each hidden set the code of their activation."""
        spaces, counts = ([graph.space], [1]) if padded is None else (padded.spaces, padded.counts)
        place = {group.name: i for i, group in enumerate(graph.space.groups)}
        hidden = {n: place[s.factors[0]] for n, s in graph.sets.items() if s.kind == "hidden" and len(s.factors) == 1}
        names = [[space.unit_activations[i] for i in hidden.values()] for space in spaces]
        if unknown := {name for row in names for name in row}.difference(self.activations):
            raise ModelError(
                f"this network takes the activations {', '.join(self.activations)}; build it with a space that has "
                f"{', '.join(sorted(unknown))} too"
            )
        where = self.constant.device
        index = torch.tensor([[self.activations.index(name) for name in row] for row in names], device=where)
        assert self.activation is not None
        codes = self.activation(index).repeat_interleave(torch.tensor(counts, device=where), dim=0)
        for name, code in zip(hidden, codes.unbind(1), strict=True):
            nodes[name] = nodes[name] + code.unsqueeze(1)


class _EdgeEmbedding(nn.Module):
    """Features of edges from weights: a linear map for each role, and a code for each end."""

    def __init__(self, family: SpaceFamily, in_channels: int, channels: int) -> None:
        super().__init__()
        self.maps, self.channels = RoleMaps(family.edges, in_channels, channels), channels
        target: set[str] = set()
        source: set[str] = set()
        for graph in map(graph_of, family.spaces):
            target |= {set_key(graph.sets[block.target]) for block in graph.blocks}
            source |= {set_key(graph.sets[block.source]) for block in graph.blocks}
        self.target, self.source = (
            Codes({k: n for k, n in family.sets.items() if k in used or k.startswith("hidden")}, channels)
            for used in (target, source)
        )

    def forward(
        self, graph: Graph, block: Block, theta: WeightFeatures, scaled: bool, *, inverse: bool = False
    ) -> Float[Tensor, "blocks rows columns channels"]:
        """Embeds the weights of a block, or their reciprocals."""
        shape = len(theta) * block.shared, block.rows, block.columns
        rows, columns = (
            code[None] if len(code) == 1 else split(code.expand(len(theta) if block.shared > 1 else 1, *code.shape))
            for code, split in (
                (self.target(graph.sets[block.target]), block.targets),
                (self.source(graph.sets[block.source]), block.sources),
            )
        )
        code = rows.unsqueeze(2) + columns.unsqueeze(1)
        if not block.members:
            return code.new_zeros(*shape, self.channels) if scaled else code.expand(*shape, -1)
        folded = (member.fold(theta, *shape) for member in block.members)
        parts = [
            self.maps.encode(member, _reciprocal(w) if inverse else w)
            for member, w in zip(block.members, folded, strict=True)
        ]
        x = sum(parts[1:], start=parts[0])
        return x * (1 + code) if scaled else x + code


def _reciprocal(w: Float[Tensor, "*entries channels"]) -> Float[Tensor, "*entries channels"]:
    largest = w.detach().abs().amax(-1, keepdim=True)  # first of order one, so that no square under- or overflows
    largest = torch.where(largest > torch.finfo(w.dtype).tiny, largest, torch.inf)
    y = w / largest
    return y / (largest * y.square().sum(-1, keepdim=True).where(largest.isfinite(), 1))
