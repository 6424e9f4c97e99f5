"""Principal neighbourhood aggregation on dense blocks."""

import math

import pytest
import torch
from torch.nn import functional as F

import weightspace as ws
from weightspace.nn import Graph, GraphEncoder, ng_gnn_layer
from weightspace.nn._aggregate import aggregate, modulate


def slow_messages(function, receiver, sender, pairs):
    """(network, channels) aggregated over the list of (edge, sender's features)."""
    messages = []
    for e in pairs:
        u = function.of_receiver(receiver) + function.of_sender(sender[len(messages)])
        messages.append(function.scale(e) * u + function.shift(e))
    m = torch.stack(messages)
    std = ((m - m.mean(0)).square().mean(0) + 1e-5).sqrt()
    a = torch.cat([m.mean(0), m.min(0).values, m.max(0).values, std], -1)
    return torch.cat([a, a * math.log(len(messages) + 1) / function.mean_log_degree], -1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("dims", [(2, 3, 4, 1), (3, 2), (1, 3, 1)])
def test_agrees_with_a_slow_twin(dims, bidirectional):
    space = ws.mlp(dims)
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 5).double()
    layer = ng_gnn_layer([Graph(space)], 5, bidirectional=bidirectional).double()
    with torch.no_grad():
        state = encoder(space.sample(2).to(torch.float64))
        found = layer(state)
        into = {b.target: (b.source, e) for b, e in zip(state.graph.blocks, state.edges, strict=True)}
        out_of = {b.source: (b.target, e) for b, e in zip(state.graph.blocks, state.edges, strict=True)}
        nodes = {}
        for group, x in state.nodes.items():
            rows = []
            for i in range(x.shape[1]):
                parts = [x[:, i]]
                for functions, blocks, axis in ((layer.along, into, 1), (layer.against, out_of, 2)):
                    if not functions:
                        continue
                    if group not in blocks:
                        parts.append(x.new_zeros(len(x), 40))
                        continue
                    other, e = blocks[group]
                    edges = e.select(axis, i).unbind(1)
                    parts.append(slow_messages(functions["none"], x[:, i], state.nodes[other].unbind(1), edges))
                rows.append(F.silu(layer.finish.norm(layer.update["none"].linear(torch.cat(parts, -1)))))
            nodes[group] = torch.stack(rows, 1)
        update = layer.edge["none"]
        for block, e, new in zip(state.graph.blocks, state.edges, found.edges, strict=True):
            s, t = block.source, block.target
            for i in range(e.shape[1]):
                for j in range(e.shape[2]):
                    h = update.of_edge(e[:, i, j]) + update.of_source(nodes[s][:, j]) + update.of_target(nodes[t][:, i])
                    torch.testing.assert_close(new[:, i, j], update.last(F.silu(h)), rtol=1e-9, atol=1e-11)
    for group, expected in nodes.items():
        torch.testing.assert_close(found.nodes[group], expected, rtol=1e-9, atol=1e-11)


def test_mean_log_degree_is_that_of_the_graph():
    layer = ng_gnn_layer([Graph(ws.mlp((2, 3, 4)))], 4)
    along = (2 * math.log(1) + 3 * math.log(3) + 4 * math.log(4)) / 9
    against = (2 * math.log(4) + 3 * math.log(5) + 4 * math.log(1)) / 9
    assert layer.along["none"].mean_log_degree == pytest.approx(along)
    assert layer.against["none"].mean_log_degree == pytest.approx(against)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (1, 1, 1, 3)])
def test_aggregation_and_its_gradient(axis, shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    mean, smallest, largest, std = aggregate(x, axis).chunk(4, -1)
    torch.testing.assert_close(mean, x.mean(axis))
    torch.testing.assert_close(smallest, x.amin(axis))
    torch.testing.assert_close(largest, x.amax(axis))
    torch.testing.assert_close(std, (x.var(axis, correction=0) + 1e-5).sqrt())
    assert torch.autograd.gradcheck(lambda x: aggregate(x, axis), (x,))


def test_modulation_and_its_gradient():
    torch.manual_seed(0)
    shapes = ((2, 3, 4, 2), (2, 3, 4, 2), (2, 3, 2), (2, 4, 2))
    scale, shift, row, column = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    expected = scale * (row[:, :, None] + column[:, None]) + shift
    torch.testing.assert_close(modulate(scale, shift.clone(), row, column), expected)
    assert torch.autograd.gradcheck(lambda a, b, c, d: modulate(a, b.clone(), c, d), (scale, shift, row, column))
