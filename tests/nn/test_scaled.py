"""The functions of ScaleGMN, edge by edge and neuron by neuron."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

import weightspace as ws
from weightspace.nn import Graph, GraphEncoder, kinds, scaled_layer
from weightspace.space import Activation, WeightSpace


def mixed(dims, activations):
    """A multilayer perceptron with an activation of its own for every hidden layer."""
    space = ws.mlp(dims)
    names = ["identity", *activations, "identity"]
    groups = tuple(
        dataclasses.replace(group, activation=Activation(name)) for group, name in zip(space.groups, names, strict=True)
    )
    return WeightSpace(groups, space.parameters)


def phi(function, h):
    return function.last(F.silu(function.between.norm(h)))


def first_half(invariant, kind, signs, z):
    """The linear map of |z|, of rho(z) + rho(-z), or of z / |z|, of a vector z for each network."""
    if kind == "signs" and signs == "symmetrized":
        z = sum(F.silu(invariant.between.norm(s * (z @ invariant.rho.weight.T) + invariant.rho.bias)) for s in (1, -1))
    elif kind == "signs":
        z = z.abs()
    elif kind == "positive":
        z = z / z.norm(dim=-1, keepdim=True)
    return z @ invariant.linear.weight.T + invariant.linear.bias


def slow_message(function, kind, signs, e, x):
    z = function.of_edge(e) * function.of_sender(x)
    value = 1.0 if kind == "none" else function.value(z)
    return value * phi(function, first_half(function.first, kind, signs, z))


def slow_edge(function, ends, signs, e, xi, xj):
    (target, source) = ends
    h = first_half(function.of_source[source], source, signs, xj)
    h = h + first_half(function.of_target[target], target, signs, xi)
    return function.value(e) * phi(function, h) + function.skip(e)


def slow_plain_edge(function, e, xi, xj):
    h = function.of_edge(e) + function.of_source(xj) + function.of_target(xi)
    return phi(function, h) + function.skip(e)


def slow_node(function, kind, signs, x, incoming):
    z = torch.cat([x, *incoming], -1)
    if kind == "none":
        return phi(function, function.first(z)) + function.skip(x)
    return function.value(z) * phi(function, first_half(function.first, kind, signs, z)) + function.skip(x)


def slow_layer(layer, kind, signs, state):
    """New nodes, edges and backward features of a layer in both directions."""
    zeros = {g: [torch.zeros_like(x[:, 0]) for _ in range(x.shape[1])] for g, x in state.nodes.items()}
    inbox = {direction: {g: list(parts) for g, parts in zeros.items()} for direction in ("along", "against")}
    edges, against = [], []
    for n, block in enumerate(state.graph.blocks):
        s, t = block.source, block.target
        e, own = state.edges[n], state.against[n] if state.against else None
        back = e if own is None else own
        new = [[None] * e.shape[2] for _ in range(e.shape[1])]
        new_back = [[None] * e.shape[2] for _ in range(e.shape[1])]
        for i in range(e.shape[1]):
            for j in range(e.shape[2]):
                xi, xj = state.nodes[t][:, i], state.nodes[s][:, j]
                along, backward = layer.along[kind[t]], layer.against[kind[s]]
                inbox["along"][t][i] = inbox["along"][t][i] + slow_message(along, kind[t], signs, e[:, i, j], xj)
                message = slow_message(backward, kind[s], signs, back[:, i, j], xi)
                inbox["against"][s][j] = inbox["against"][s][j] + message
                if kind[s] == kind[t] == "none":
                    new[i][j] = slow_plain_edge(layer.edge["none"], e[:, i, j], xi, xj)
                else:
                    new[i][j] = slow_edge(layer.edge["scaled"], (kind[t], kind[s]), signs, e[:, i, j], xi, xj)
                if own is not None:
                    update = layer.reciprocal[kind[s]]
                    new_back[i][j] = slow_edge(update, (kind[t], kind[s]), signs, own[:, i, j], xi, xj)
        edges.append(torch.stack([torch.stack(row, 1) for row in new], 1))
        against.append(None if own is None else torch.stack([torch.stack(row, 1) for row in new_back], 1))
    nodes = {}
    for g, x in state.nodes.items():
        received = zip(inbox["along"][g], inbox["against"][g], strict=True)
        new = [slow_node(layer.update[kind[g]], kind[g], signs, x[:, i], pair) for i, pair in enumerate(received)]
        nodes[g] = torch.stack(new, 1)
    return nodes, edges, against


SPACES = {
    "relu": ws.mlp((2, 3, 4, 2)),
    "tanh": ws.mlp((2, 3, 3, 1), activation="tanh"),
    "gelu": ws.mlp((2, 3, 2), activation="gelu"),
    "mixed": mixed((2, 3, 4, 3, 3, 2), ("relu", "tanh", "gelu", "relu")),
    "one layer": ws.mlp((2, 3)),
}


@pytest.mark.parametrize("signs", ["absolute", "symmetrized"])
@pytest.mark.parametrize("name", SPACES)
def test_agrees_with_a_slow_twin(name, signs):
    space = SPACES[name]
    torch.manual_seed(0)
    kind = kinds(space, space.symmetry())
    encoder = GraphEncoder(space, 1, 6, space.symmetry(), reciprocal=True).double()
    layer = scaled_layer(Graph(space), kind, 6, signs=signs, against="all", reciprocal="all").double()
    with torch.no_grad():
        state = encoder(space.sample(2).to(torch.float64))
        nodes, edges, against = slow_layer(layer, kind, signs, state)
        found = layer(state)
    assert found.nodes.keys() == nodes.keys()
    for group, expected in nodes.items():
        torch.testing.assert_close(found.nodes[group], expected, rtol=1e-10, atol=1e-12)
    for e, expected in zip(found.edges, edges, strict=True):
        torch.testing.assert_close(e, expected, rtol=1e-10, atol=1e-12)
    assert bool(found.against) is ("positive" in kind.values())
    for r, expected in zip(found.against, against if found.against else (), strict=True):
        assert (r is None) is (expected is None)
        if r is not None:
            torch.testing.assert_close(r, expected, rtol=1e-10, atol=1e-12)


def test_backward_features_are_reciprocals_where_an_end_is_scaled_by_positive_numbers():
    space = mixed((2, 3, 3, 3, 2), ("relu", "tanh", "gelu"))
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 4, space.symmetry(), reciprocal=True).double()
    with torch.no_grad():
        theta = space.sample(2).to(torch.float64)
        theta["0.weight"][0, 0, 0] = 0.0
        against = encoder(theta).against
        inverse = (1 / theta["0.weight"]).where(theta["0.weight"] != 0, 0.0)
        weight, sets = encoder.reciprocal.maps.weight["weight_0_0"], Graph(space).sets
        code = encoder.reciprocal.target(sets["hidden1"])[:, None] + encoder.reciprocal.source(sets["input"])
        torch.testing.assert_close(against[0], inverse @ weight.mT * (1 + code))
    # input -> relu, relu -> tanh; not tanh -> gelu, gelu -> output
    assert [r is not None for r in against] == [True, True, False, False]


def test_gradients_at_zero_are_finite_and_features_stay_zero():
    """A positively scaled group whose features vanish is fixed by all scales, so it must stay at zero."""
    space = ws.mlp((2, 3, 2))
    torch.manual_seed(0)
    encoder = GraphEncoder(space, 1, 4, space.symmetry(), reciprocal=True)
    layer = scaled_layer(Graph(space), kinds(space, space.symmetry()), 4, against="all", reciprocal="all")
    state = encoder(space.sample(1) * 0.0)
    out = layer(state)
    assert not out.nodes["hidden1"].any()
    assert not any(e.any() for e in out.edges)
    sum(x.sum() for x in (*out.nodes.values(), *out.edges)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in (*layer.parameters(), *encoder.parameters()))
