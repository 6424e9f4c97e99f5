import pytest
import torch
from _spaces import grouped_space, small_spaces
from torch.nn import functional as F

import weightspace as ws
from weightspace.nn import Graph, GraphEncoder, GraphState, gmn_layer


def slow_message_passing(layer, state):
    """The layer neuron by neuron and edge by edge, each MLP on the concatenated features."""
    nodes, edges = state.nodes, state.edges
    along, against, update, edge = (m["none"] for m in (layer.along, layer.against, layer.update, layer.edge))

    def middle(function, h):
        return F.silu(function.between.norm(h))

    def message(function, e, sender):
        return function.last(middle(function, function.of_edge(e) + function.of_sender(sender)))

    incoming = {
        g: [torch.zeros(x.shape[0], x.shape[-1], dtype=x.dtype) for _ in range(x.shape[1])] for g, x in nodes.items()
    }
    outgoing = {
        g: [torch.zeros(x.shape[0], x.shape[-1], dtype=x.dtype) for _ in range(x.shape[1])] for g, x in nodes.items()
    }
    new_edges = []
    for block, own in zip(state.graph.blocks, edges, strict=True):
        s, t = block.source, block.target
        there = block.spread(torch.ones_like(own[..., :1]))[0, ..., 0] > 0
        e = block.spread(own)
        new = torch.zeros(*e.shape[:-1], edge.last.out_features, dtype=e.dtype)
        for i in range(e.shape[1]):
            for j in range(e.shape[2]):
                if not there[i, j]:
                    continue
                xi, xj = nodes[t][:, i], nodes[s][:, j]
                incoming[t][i] = incoming[t][i] + message(along, e[:, i, j], xj)
                outgoing[s][j] = outgoing[s][j] + message(against, e[:, i, j], xi)
                h = edge.of_edge(e[:, i, j]) + edge.of_source(xj) + edge.of_target(xi)
                new[:, i, j] = edge.last(middle(edge, h)) + edge.skip(e[:, i, j])
        new_edges.append(block.gather(new))
    new_nodes = {}
    for g, x in nodes.items():
        rows = []
        for i in range(x.shape[1]):
            h = update.first(torch.cat([x[:, i], incoming[g][i], outgoing[g][i]], -1))
            rows.append(update.last(middle(update, h)) + update.skip(x[:, i]))
        new_nodes[g] = torch.stack(rows, 1)
    return GraphState(state.graph, new_nodes, new_edges)


SPACES = {str(dims): ws.mlp(dims) for dims in ((2, 3, 4, 1), (1, 2, 1), (2, 3), (2, 3, 2, 3, 2))}
SPACES |= small_spaces() | {"grouped": grouped_space()}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_agrees_with_a_slow_twin(space):
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 6).double()
    layer = gmn_layer(6, 5).double()
    with torch.no_grad():
        state = encoder(space.sample(2).to(torch.float64))
        expected = slow_message_passing(layer, state)
        found = layer(state)
    for group in expected.nodes:
        torch.testing.assert_close(found.nodes[group], expected.nodes[group], rtol=1e-10, atol=1e-12)
    for a, b in zip(found.edges, expected.edges, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradients():
    space = ws.mlp((2, 3, 2))
    torch.manual_seed(0)
    graph = Graph(space)
    layer = gmn_layer(3).double()
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    nodes = [torch.randn(1, g.size, 3, dtype=torch.float64, requires_grad=True) for g in space.groups]
    edges = [torch.randn(1, b.rows, b.columns, 3, dtype=torch.float64, requires_grad=True) for b in graph.blocks]

    def run(*tensors):
        weights = dict(zip(names, tensors, strict=False))
        rest = tensors[len(names) :]
        by_name = {g.name: x for g, x in zip(space.groups, rest, strict=False)}
        state = GraphState(graph, by_name, list(rest[len(nodes) :]))
        out = torch.func.functional_call(layer, weights, (state,))
        return (*out.nodes.values(), *out.edges)

    assert torch.autograd.gradcheck(run, (*values, *nodes, *edges))


def test_one_way_messages_only_flow_forward():
    space = ws.mlp((2, 3, 3, 1))
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 4)
    state = encoder(space.sample(1))
    changed = state._replace(nodes={**state.nodes, "hidden2": state.nodes["hidden2"] + 1})
    for bidirectional in (False, True):
        layer = gmn_layer(4, bidirectional=bidirectional)
        same = torch.allclose(layer(state).nodes["hidden1"], layer(changed).nodes["hidden1"], atol=1e-6)
        assert same is not bidirectional


def test_codes_tell_input_neurons_apart_but_not_hidden_ones():
    space = ws.mlp((2, 3, 2))
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 4)
    zero = space.sample(1) * 0.0
    _, nodes, edges, *_ = encoder(zero)
    assert not torch.allclose(nodes["input"][:, 0], nodes["input"][:, 1])
    assert not torch.allclose(nodes["output"][:, 0], nodes["output"][:, 1])
    assert torch.equal(nodes["hidden1"][:, 0], nodes["hidden1"][:, 1])
    assert torch.equal(edges[0][:, 0], edges[0][:, 1])
    assert not torch.allclose(edges[0][:, :, 0], edges[0][:, :, 1])
