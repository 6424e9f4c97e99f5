"""DWS networks as graph metanetworks, and these as NG-GNNs."""

import math

import pytest
import torch
from _spaces import small_spaces
from torch import nn

import weightspace as ws
from weightspace.nn import (
    EquivariantLinear,
    GraphDecoder,
    GraphEncoder,
    GraphPool,
    GraphProjection,
    MessagePassing,
    Pointwise,
    SpaceFamily,
    gmn_layer,
    graph_of,
    ng_gnn_layer,
    relu_,
    scaled_layer,
)
from weightspace.testing import assert_equivariant
from weightspace.theory import dws_to_gmn, dws_to_np, gmn_to_dws, gmn_to_ng
from weightspace.theory._gmn_to_ng import Senders

CHAINS = {
    "linear": ([2, 3], 1, 2),
    "one hidden": ([3, 4, 2], 2, 2),
    "two hidden": ([2, 3, 3, 2], 1, 1),
    "widths": ([2, 3, 4, 3], 2, 3),
    "one unit": ([2, 1, 3, 1], 1, 2),
    "three hidden": ([2, 3, 3, 3, 1], 1, 2),
}


def in_ball(space, radius, channels=1, batch=10):
    """Entries in [-R, R], those of the first network at the ends of it."""
    generator = torch.Generator().manual_seed(1)

    def draw(shape):
        x = torch.rand(batch, *shape, channels, generator=generator, dtype=torch.float64) * 2 - 1
        x[0] = x[0].sign()
        return radius * x

    return space.features({p.name: draw(p.shape) for p in space.parameters})


def linear(space, channels, out, reduction="mean", **options):
    layer = EquivariantLinear(space, channels, out, reduction=reduction, **options).double()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return layer


def difference(first, second, theta):
    """The largest difference, relative to the largest output."""
    with torch.no_grad():
        a, b = first(theta), second(theta)
    if isinstance(a, torch.Tensor):
        return float((a - b).abs().max() / b.abs().max())
    return float((a.flatten() - b.flatten()).abs().max() / b.flatten().abs().max())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_linear_layer_becomes_message_passing(name, reduction):
    dims, channels, out = CHAINS[name]
    space = ws.mlp(dims)
    layer = linear(space, channels, out, reduction)
    simulation = dws_to_gmn(layer, radius=2.0)
    theta = in_ball(space, 2.0, channels)
    assert difference(simulation, layer, theta) < 1e-14
    assert layer(theta).flatten().abs().max() <= simulation.bound < math.inf
    assert simulation.radius == 2.0
    encoder, *layers, decoder = simulation.layers
    assert isinstance(encoder, GraphEncoder)
    assert isinstance(decoder, GraphDecoder)
    assert all(isinstance(module, MessagePassing) for module in layers)
    assert len(layers) == max(len(dims) - 1, 2) + 2


@pytest.mark.parametrize("dims", [[2, 3, 3, 2], [1, 4, 4, 4, 1]])
def test_a_network_becomes_message_passing(dims):
    space = ws.mlp(dims)
    network = nn.Sequential(
        linear(space, 1, 3),
        Pointwise(relu_),
        linear(space, 3, 3, "sum"),
        linear(space, 3, 2),
        Pointwise(nn.ReLU()),
        linear(space, 2, 1, "sum"),
        Pointwise(torch.relu),
    )
    simulation = dws_to_gmn(network, radius=1.0)
    theta = in_ball(space, 1.0)
    out = network(theta).flatten()
    assert 0 == out.min() < out.max() <= simulation.bound
    assert difference(simulation, network, theta) < 1e-13
    assert len(simulation.layers) == 4 * (len(dims) + 1) + 2
    assert assert_equivariant(simulation, space, space.symmetry("permutation")) < 1e-12


def test_a_layer_of_zeros():
    space = ws.mlp([2, 3, 1])
    layer = linear(space, 1, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert dws_to_gmn(layer, 1.0)(in_ball(space, 1.0)).flatten().abs().max() == 0


def test_beyond_the_radius_it_is_wrong():
    space = ws.mlp([2, 3, 3, 2])
    layer = linear(space, 1, 1)
    simulation = dws_to_gmn(layer, radius=2.0)
    assert difference(simulation, layer, 3 * in_ball(space, 2.0)) > 0.1


def test_types_and_every_hop_are_needed():
    space = ws.mlp([2, 3, 3, 2])
    layer, theta = linear(space, 1, 1), in_ball(space, 1.0)
    fewer = dws_to_gmn(layer, radius=1.0)
    del fewer.layers[2]
    assert difference(fewer, layer, theta) > 0.01
    without = dws_to_gmn(layer, radius=1.0)
    with torch.no_grad():
        for table in without.layers[0].edge.source.table.values():
            table.zero_()
    assert difference(without, layer, theta) > 0.1


def test_hidden_neurons_are_told_apart_by_nothing_but_their_weights():
    space = ws.mlp([2, 5, 5, 1])
    codes = dws_to_gmn(linear(space, 1, 1), radius=1.0).layers[0].node_code.table
    assert {name: table.shape[0] for name, table in codes.items()} == {
        "input0": 2,
        "hidden0": 1,
        "hidden1": 1,
        "output0": 1,
    }


def test_statistics_become_part_of_the_layers():
    space = ws.mlp([2, 4, 4, 2])
    network = ws.build("dws", space, hidden=4, depth=3, reduction="mean", neuron_map="linear", dropout=0.0).double()
    theta = space.sample(50).map(lambda t: t.double() + 0.1)
    network.standardize.fit(theta)
    network(theta)  # running statistics
    network.eval()
    radius = float(theta.flatten().abs().max())
    graph = dws_to_gmn(network, radius)
    assert difference(graph, network, theta) < 1e-13
    assert difference(gmn_to_ng(graph), network, theta[:4]) < 1e-13


def test_architectures_in_a_row():
    """DWS - NP - DWS, and DWS - GMN - NG, and back."""
    space = ws.mlp([2, 3, 2])
    layer, theta = linear(space, 1, 1), in_ball(space, 1.0)
    gmn = dws_to_gmn(layer, 1.0)
    assert difference(dws_to_np(layer, 1.0), gmn, theta) < 1e-12
    ng = gmn_to_ng(gmn)
    assert (ng.radius, ng.bound) == (gmn.radius, gmn.bound)
    assert difference(ng, layer, theta) < 1e-12
    assert difference(gmn_to_dws(gmn, space), layer, theta) < 1e-12


@pytest.mark.parametrize("options", [{"neuron_map": "attention"}, {"rank": 1}])
def test_layers_that_are_not_linear_are_refused(options):
    space = ws.mlp([2, 8, 8, 2])
    with pytest.raises(ws.WeightspaceError, match="linear"):
        dws_to_gmn(EquivariantLinear(space, 8, 8, **options), 1.0)


def test_other_networks_are_refused():
    space = ws.mlp([2, 3, 2])
    layer = linear(space, 1, 1)
    with pytest.raises(ws.TheoryError, match="reduction='max'"):
        dws_to_gmn(EquivariantLinear(space, 1, 1, reduction="max"), 1.0)
    with pytest.raises(ws.TheoryError, match="radius: expected a positive number, found 0"):
        dws_to_gmn(layer, 0)
    with pytest.raises(ws.TheoryError, match="begin with an equivariant linear layer, found a ReLU"):
        dws_to_gmn(nn.Sequential(Pointwise(relu_), layer), 1.0)
    with pytest.raises(ws.TheoryError, match="permutations of hidden neurons, found others"):
        dws_to_gmn(EquivariantLinear(space, 1, 1, symmetry=ws.models.all_permutations(space)), 1.0)
    with pytest.raises(ws.TheoryError, match="expected equivariant linear layers with ReLU between"):
        dws_to_gmn(nn.Sequential(layer, Pointwise(torch.tanh), layer), 1.0)
    with pytest.raises(ws.TheoryError, match=r"call \.eval"):
        dws_to_gmn(ws.build("dws", space, reduction="mean", neuron_map="linear", dropout=0.0), 1.0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.up, self.down, self.out = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        x = self.embed(x)
        return self.out(x + self.down(torch.relu(self.up(x))))


def test_weight_spaces_that_are_no_chains_are_refused():
    residual = ws.from_module(Residual(), torch.zeros(1, 2))
    with pytest.raises(ws.TheoryError, match="takes chains of layers"):
        dws_to_gmn(EquivariantLinear(residual, 1, 1), 1.0)
    with pytest.raises(ws.TheoryError, match="takes weight spaces of matrices"):
        dws_to_gmn(EquivariantLinear(small_spaces()["conv"], 1, 1), 1.0)


def test_traced_chains_and_sirens_are_taken():
    chain = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
    for space in (ws.from_module(chain, torch.zeros(1, 2)), ws.siren([2, 3, 1])):
        layer = linear(space, 1, 1)
        assert difference(dws_to_gmn(layer, 1.0), layer, in_ball(space, 1.0)) < 1e-14


def gmn(space, *, depth=2, hidden=6, **options):
    decoder = GraphDecoder(space, 1, hidden)
    layers = [gmn_layer(hidden, decoder.width if i == depth - 1 else None, relu=True, **options) for i in range(depth)]
    return nn.Sequential(GraphEncoder(space, 1, hidden), *layers, decoder).double()


SPACES = {"mlp": ws.mlp([2, 3, 4, 2]), "linear": ws.mlp([2, 3]), "deep": ws.mlp([1, 4, 4, 4, 1])} | small_spaces()


@pytest.mark.parametrize("name", SPACES)
def test_a_gmn_becomes_an_ng_gnn(name):
    space = SPACES[name]
    network = gmn(space)
    theta = space.sample(3).to(torch.float64)
    assert difference(gmn_to_ng(network), network, theta) < 1e-14
    assert difference(gmn_to_ng(network), network, 1e4 * theta) < 1e-14


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": False}, {"skip": False}, {"edge_update": False}], ids=str)
def test_configurations_of_gmn(reduction, options):
    space = ws.mlp([2, 3, 4, 2])
    theta = space.sample(3).to(torch.float64)
    pool = GraphPool(space, 6)
    layers = [gmn_layer(6, relu=True, reduction=reduction, **options) for _ in range(3)]
    network = nn.Sequential(GraphEncoder(space, 1, 6), *layers, pool, nn.Linear(pool.out_features, 2)).double()
    assert difference(gmn_to_ng(network), network, theta) < 1e-13


def test_one_layer_on_graphs():
    space = ws.mlp([2, 3, 4, 2])
    layer = gmn_layer(5, 4, relu=True).double()
    state = GraphEncoder(space, 1, 5).double()(space.sample(3).to(torch.float64))
    converted = gmn_to_ng(layer)
    expected, found = layer(state), converted(state)
    for a, b in zip([*expected.edges, *expected.nodes.values()], [*found.edges, *found.nodes.values()], strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-15)
    assert [type(m) for m in converted] == [Senders, MessagePassing, MessagePassing, GraphProjection]
    assert all(m.late_edges for m in converted if isinstance(m, MessagePassing))


def test_the_number_of_senders_is_no_part_of_the_weights():
    """One NG-GNN for networks of all widths."""
    spaces = [ws.mlp([2, 3, 4, 2]), ws.mlp([2, 5, 2, 2]), ws.mlp([2, 9, 2])]
    network = gmn(SpaceFamily(spaces))
    converted = gmn_to_ng(network)
    for space in spaces:
        assert difference(converted, network, space.sample(2).to(torch.float64)) < 1e-14


def test_other_graph_networks_are_refused():
    space = ws.mlp([2, 3, 2])
    with pytest.raises(ws.TheoryError, match=r"expected ReLU alone .* found NormalizedSiLU in Message"):
        gmn_to_ng(ws.build("gmn", space, hidden=4, depth=2))
    with pytest.raises(ws.TheoryError, match="edges see the new nodes"):
        gmn_to_ng(ng_gnn_layer([graph_of(space)], 4))
    kinds = {name: "signs" if s.kind == "hidden" else "none" for name, s in graph_of(space).sets.items()}
    with pytest.raises(ws.TheoryError, match="respects the scales 'signs'"):
        gmn_to_ng(scaled_layer(graph_of(space), kinds, 4))
    with pytest.raises(ws.TheoryError, match="found Sequential without any"):
        gmn_to_ng(nn.Sequential(linear(space, 1, 1)))
    with pytest.raises(ws.TheoryError, match="found Linear"):
        gmn_to_ng(nn.Linear(1, 1))


def test_padded_networks_are_refused():
    spaces = [ws.mlp([2, 3, 2]), ws.mlp([2, 5, 2])]
    padded = ws.pad([space.sample(1).to(torch.float64) for space in spaces])
    converted = gmn_to_ng(gmn(SpaceFamily(spaces)))
    with pytest.raises(ws.TheoryError, match="networks of one architecture, found padded ones"):
        converted(padded.buckets[0])


def test_a_graph_metanetwork_of_the_registry_converts_with_relu():
    space = ws.mlp([2, 3, 3, 2])
    net = ws.build("gmn", space, hidden=6, depth=2, relu=True).double().eval()
    theta = space.sample(5, torch.Generator().manual_seed(0)).to(torch.float64)
    with torch.no_grad():
        for convert in (gmn_to_dws, gmn_to_ng):
            assert (convert(net)(theta) - net(theta)).flatten().abs().max() < 1e-13
    with pytest.raises(ws.TheoryError):
        gmn_to_dws(ws.build("gmn", space, hidden=6, depth=2).double().eval())
