import pytest
import torch
from torch.nn import functional as F

import weightspace as ws
from weightspace.nn import Graph, GraphState, Pairs, PairsFromGraph, PairsToGraph, RelationalAttention
from weightspace.space import Activation, Axis, NeuronGroup, Parameter, WeightSpace

BOTH = pytest.mark.parametrize("attend", ["all", "edges"])


def random_graph(space, channels, batch=2):
    nodes = {g.name: torch.randn(batch, g.size, channels, dtype=torch.float64) for g in space.groups}
    graph = Graph(space)
    shapes = [(block.rows, block.columns) for block in graph.blocks]
    return GraphState(graph, nodes, [torch.randn(batch, *s, channels, dtype=torch.float64) for s in shapes])


def make(space, attend, layers=2, heads=2):
    torch.manual_seed(0)
    pairs = Pairs(Graph(space), attend)
    stack = [PairsFromGraph(pairs, 6, 4), *(RelationalAttention(pairs, 6, 4, 8, heads) for _ in range(layers))]
    net = torch.nn.Sequential(*stack, PairsToGraph(pairs)).double()
    for p in net.parameters():  # biases and norms too
        p.data += 0.3 * torch.randn_like(p)
    return net


def slow_pairs(lift, state, attend):
    """Vectors of nodes by (group, number) and of the pairs that attend, by two nodes, for each network."""
    nodes = {(g, n): x[:, n] for g, x in state.nodes.items() for n in range(x.shape[1])}
    zero = torch.zeros(len(state.edges[0]), lift.along.out_features, dtype=torch.float64)
    pairs = {(a, b): zero for a in nodes for b in nodes if attend == "all" or a == b}
    for block, e in zip(state.graph.blocks, state.edges, strict=True):
        source, target = block.source, block.target
        for i in range(e.shape[1]):
            for j in range(e.shape[2]):
                pairs[(target, i), (source, j)] = lift.along(e[:, i, j])
                pairs[(source, j), (target, i)] = lift.against(e[:, i, j])
    return nodes, pairs


def slow_relational_attention(layer, nodes, pairs):
    """The layer node by node and pair by pair, with the vectors of every pair written out."""
    width = layer.value.out_features
    size = width // layer.heads
    query, key, value = layer.of_node.weight.split(width)

    def update(module, x, new):
        x = module.norm[0](x + new)
        return module.norm[1](x + module.mlp(x))

    new_nodes = {}
    for a, x in nodes.items():
        sources = [b for c, b in pairs if c == a]
        q = [F.linear(x, query) + layer.query(pairs[a, b]) for b in sources]
        k = [F.linear(nodes[b], key) + layer.key(pairs[a, b]) for b in sources]
        v = [F.linear(nodes[b], value) * layer.gate(pairs[a, b]) + layer.value(pairs[a, b]) for b in sources]
        heads = []
        for h in range(layer.heads):
            s = slice(h * size, (h + 1) * size)
            scores = torch.stack([(q[n][:, s] * k[n][:, s]).sum(-1) for n in range(len(sources))]) / width**0.5
            heads.append(sum(w[:, None] * v[n][:, s] for n, w in enumerate(scores.softmax(0))))
        new_nodes[a] = update(layer.node_update, x, layer.out(torch.cat(heads, -1)))
    m = layer.pair_update
    new_pairs = {}
    for (a, b), e in pairs.items():
        h = m.own(e) + m.reverse(pairs[b, a]) + m.target(new_nodes[a]) + m.source(new_nodes[b])
        new_pairs[a, b] = update(m.update, e, m.out(F.gelu(h)))
    return new_nodes, new_pairs


@BOTH
@pytest.mark.parametrize("dims", [(2, 3, 4, 1), (1, 2, 1), (2, 3)])
def test_agrees_with_a_slow_twin(dims, attend):
    space = ws.mlp(dims)
    net = make(space, attend)
    state = random_graph(space, 6)
    lift, *layers, _ = net
    with torch.no_grad():
        found = net(state)
        nodes, pairs = slow_pairs(lift, state, attend)
        for layer in layers:
            nodes, pairs = slow_relational_attention(layer, nodes, pairs)
    for group, x in found.nodes.items():
        expected = torch.stack([nodes[group, n] for n in range(x.shape[1])], 1)
        torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-12)
    for block, e in zip(found.graph.blocks, found.edges, strict=True):
        s, t = block.source, block.target
        rows = [torch.stack([pairs[(t, i), (s, j)] for j in range(e.shape[2])], 1) for i in range(e.shape[1])]
        torch.testing.assert_close(e, torch.stack(rows, 1), rtol=1e-10, atol=1e-12)


@BOTH
def test_gradients(attend):
    space = ws.mlp((1, 2, 1))
    net = make(space, attend, layers=1, heads=1)
    names = [name for name, _ in net.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    graph, nodes, edges, *_ = random_graph(space, 6, batch=1)
    inputs = [t.requires_grad_() for t in (*nodes.values(), *edges)]

    def run(*tensors):
        rest = tensors[len(names) :]
        state = GraphState(graph, dict(zip(nodes, rest, strict=False)), list(rest[len(nodes) :]))
        out = torch.func.functional_call(net, dict(zip(names, tensors, strict=False)), (state,))
        return (*out.nodes.values(), *out.edges)

    assert torch.autograd.gradcheck(run, (*values, *inputs), fast_mode=True)


def test_on_edges_a_node_sees_itself_and_its_neighbours_only():
    space = ws.mlp((2, 3, 3, 1))
    state = random_graph(space, 6)
    for changed in ("input", "hidden1", "hidden2", "output"):
        other = state._replace(nodes={**state.nodes, changed: state.nodes[changed] + 1})
        for attend in ("all", "edges"):
            net = make(space, attend, layers=1)
            before, after = (net(s).nodes["hidden1"] for s in (state, other))
            assert torch.equal(before, after) is (attend == "edges" and changed == "output")


def test_without_an_update_pairs_stay_as_they_are():
    space = ws.mlp((2, 3, 1))
    torch.manual_seed(0)
    pairs = Pairs(Graph(space), "edges")
    state = PairsFromGraph(pairs, 6, 4).double()(random_graph(space, 6))
    layer = RelationalAttention(pairs, 6, 4, 8, 2, pair_update=False).double()
    assert all(torch.equal(a, b) for a, b in zip(layer(state).pairs, state.pairs, strict=True))


def test_dropout_acts_in_training_only():
    space = ws.mlp((2, 3, 1))
    torch.manual_seed(0)
    pairs = Pairs(Graph(space))
    state = PairsFromGraph(pairs, 6, 4).double()(random_graph(space, 6))
    layer = RelationalAttention(pairs, 6, 4, 8, 2, dropout=0.5).double()
    assert not torch.equal(layer(state).pairs[0], layer(state).pairs[0])
    layer.eval()
    assert torch.equal(layer(state).pairs[0], layer(state).pairs[0])


def grouped_beside_dense():
    """A grouped convolution and a dense one between the same channels: a pair of neurons has one feature."""
    names = ("groups", "before", "after")
    groups = tuple(NeuronGroup(name, 2, activation=Activation("gelu")) for name in names)
    (g_out, _, out), (g_in, before, _) = ([Axis(2, name, side) for name in names] for side in ("out", "in"))
    both = Axis(2, "groups", "out", ("groups", "in"))
    parameters = (Parameter("dense", (g_out, out, g_in, before)), Parameter("grouped", (both, out, before)))
    return WeightSpace(groups, parameters)


def test_dense_beside_grouped_weights_need_edges():
    graph = Graph(grouped_beside_dense())
    assert [(b.source, b.target, b.shared) for b in graph.blocks[:2]] == [
        ("groups*before", "groups*after", shared) for shared in (1, 2)
    ]
    with pytest.raises(ws.ModelError, match="several weights join the same two neuron groups; use attend='edges'"):
        Pairs(graph, "all")
    Pairs(graph, "edges")


def test_unknown_pairs_are_refused():
    with pytest.raises(ws.ModelError, match="attend: expected 'all' or 'edges', found 'near'"):
        Pairs(Graph(ws.mlp((2, 3, 1))), "near")
    vectors = WeightSpace((NeuronGroup("a", 3),), (Parameter("gain", (Axis(3, "a", "out"),)),))
    with pytest.raises(ws.ModelError, match="no parameter is a weight between two of them"):
        Pairs(Graph(vectors))
