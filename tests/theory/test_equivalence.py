"""DWS networks as NP-NFN networks and back, graph metanetworks and maxima as DWS networks."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace.nn import (
    BatchNorm,
    Dropout,
    EquivariantLinear,
    GraphDecoder,
    GraphEncoder,
    InvariantPool,
    Pointwise,
    SinusoidalPosition,
    gmn_layer,
    ng_gnn_layer,
    relu_,
)
from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace
from weightspace.testing import assert_equivariant
from weightspace.theory import OneHotPosition, dws_to_gmn, dws_to_np, gmn_to_dws, max_to_dws, np_to_dws

CHAINS = [[2, 3, 3, 2], [2, 3, 4, 3], [3, 4, 2], [2, 3, 3, 3, 1], [1, 3, 1, 2], [1, 4, 4, 1], [3, 2]]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def draw(space, channels=1, radius=2.0, batch=10):
    """Random networks, of which one has all entries at the ends of [-radius, radius]."""
    tensors = {p.name: torch.randn(batch, *p.shape, channels, dtype=torch.float64) for p in space.parameters}
    for t in tensors.values():
        t.clamp_(-radius, radius)[0] = radius * t[0].sign()
    return space.features(tensors)


def random(module):
    """The module in float64 with random parameters, biases too."""
    module = module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)
    return module


def difference(a, b, theta):
    """The largest difference, relative to the largest output of the first."""
    with torch.no_grad():
        one, other = a(theta), b(theta)
    size = max(float(t.abs().max()) for t in one.tensors)
    return max(float((x - y).abs().max()) for x, y in zip(one.tensors, other.tensors, strict=True)) / size


def stack(space, *widths, reduction="mean", **options):
    layers = []
    for wide_in, wide_out in itertools.pairwise(widths):
        layers += [EquivariantLinear(space, wide_in, wide_out, reduction=reduction, **options), Pointwise(relu_)]
    return random(nn.Sequential(*layers[:-1]))


def graph_network(space, out=1, hidden=5, **options):
    """A GMN of two layers with ReLU."""
    layers = [gmn_layer(hidden, width, relu=True, **options) for width in (None, out)]
    return random(nn.Sequential(GraphEncoder(space, 1, hidden), *layers, GraphDecoder(space, out, hidden)))


@pytest.mark.parametrize("dims", CHAINS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_dws_layers_become_np_layers(dims, reduction):
    space = ws.mlp(dims)
    layer = stack(space, 2, 3, reduction=reduction)
    simulation = dws_to_np(layer, 2.0)
    assert difference(layer, simulation, draw(space, 2)) < 1e-13
    found = [module for module in simulation.modules() if isinstance(module, EquivariantLinear)]
    assert [module.symmetry for module in found] == 3 * [ws.models.all_permutations(space)]
    places = OneHotPosition(space).places
    assert [module.out_channels for module in found] == [5 * places, 7 * places, 3]


def test_whole_networks_and_their_bounds():
    space = ws.mlp([2, 3, 3, 2])
    net = stack(space, 1, 3, 3, 1)
    simulation, theta = dws_to_np(net, 2.0), draw(space)
    assert difference(net, simulation, theta) < 1e-13
    assert simulation.radius == 2.0
    with torch.no_grad():
        largest = max(float(t.abs().max()) for t in net(theta).tensors)
    assert largest <= simulation.bound < math.inf
    assert difference(net, simulation, draw(space, radius=8.0)) > 1e-3


def test_the_bound_is_reached_by_a_layer_of_one_sign():
    space = ws.mlp([2, 3, 3, 2])
    layer = stack(space, 1, 1, reduction="sum")
    with torch.no_grad():
        for p in layer.parameters():
            p.abs_()
    theta = draw(space).map(lambda t: torch.full_like(t, 2.0))
    with torch.no_grad():
        largest = max(float(t.max()) for t in layer(theta).tensors)
    assert dws_to_np(layer, 2.0).bound == pytest.approx(largest, rel=1e-12)


def test_simulations_are_equivariant():
    space = ws.mlp([2, 3, 3, 2])
    assert_equivariant(dws_to_np(stack(space, 1, 2, 1), 4.0), space)
    assert_equivariant(gmn_to_dws(graph_network(space), space), space)


@pytest.mark.parametrize("standardize", ["orbit", "tensor", "scale", "none"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_statistics_become_part_of_the_layers(standardize, reduction):
    space = ws.mlp([2, 4, 3])
    options = {"hidden": 3, "depth": 3, "neuron_map": "linear", "reduction": reduction, "dropout": 0.3}
    net = ws.build("dws", space, standardize=standardize, **options).double()
    theta = draw(space, batch=40)
    net.standardize.fit(theta.map(lambda t: 3 * t + 1))
    net(theta)  # running statistics
    net = random_norms(net).eval()
    before = copy.deepcopy(net.state_dict())
    assert difference(net, dws_to_np(net, 2.0), theta) < 1e-13
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    with pytest.raises(ws.TheoryError, match=r"call .eval\(\) first"):
        dws_to_np(net.train(), 2.0)


def random_norms(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


def test_networks_that_do_not_become_np_are_refused():
    space = ws.mlp([2, 3, 2])
    layer = EquivariantLinear(space, 1, 1)
    refused = {
        "reduction='max'": stack(space, 1, 1, reduction="max"),
        "found Pointwise": nn.Sequential(layer, Pointwise(torch.tanh)),
        "found InvariantPool": nn.Sequential(layer, InvariantPool(space, 1)),
        "found BatchNorm": nn.Sequential(BatchNorm(space, 1), layer),
        "found no equivariant linear layer": nn.Sequential(),
        "dropout in training mode": nn.Sequential(layer, Dropout(0.5)),
        "permutations of hidden neurons": nn.Sequential(stack(space, 1, 1, symmetry=ws.models.all_permutations(space))),
        "probes=": ws.build("dws", space, neuron_map="linear", reduction="mean", probes=2),
        "standardize='entry'": standardized(space, "entry"),
    }
    for message, network in refused.items():
        with pytest.raises(ws.TheoryError, match=message):
            dws_to_np(network, 1.0)
    with pytest.raises(ws.ModelError, match="neuron_map='linear' and without rank"):
        dws_to_np(EquivariantLinear(space, 8, 8, rank=1), 1.0)
    for radius in (0.0, math.inf, -1.0):
        with pytest.raises(ws.TheoryError, match="radius: expected a positive number"):
            dws_to_np(layer, radius)
    image = WeightSpace((NeuronGroup("a", 3),), (Parameter("filters", (Axis(3, "a", "out"), Axis(5))),))
    with pytest.raises(ws.TheoryError, match="matrices between two neuron groups"):
        dws_to_np(EquivariantLinear(image, 1, 1), 1.0)
    with pytest.raises(ws.ModelError, match="another weight space"):
        dws_to_np(layer, 1.0)(draw(ws.mlp([2, 4, 2])))


def standardized(space, mode):
    net = ws.build("dws", space, neuron_map="linear", reduction="mean", standardize=mode, hidden=2, depth=1)
    net.standardize.fit(space.sample(4))
    return net


@pytest.mark.parametrize("dims", [[2, 3, 3, 2], [1, 3, 2], [3, 4, 1], [3, 2]])
@pytest.mark.parametrize("positions", [True, False])
def test_np_networks_become_dws_networks(dims, positions):
    space = ws.mlp(dims)
    net = random(ws.build("np-nfn", space, hidden=4, depth=3, fourier=None, positions=positions))
    simulation = np_to_dws(net)
    assert difference(net, simulation, draw(space)) < 1e-13
    assert difference(net, simulation, draw(space, radius=1e3)) < 1e-13
    own = space.symmetry("permutation")
    assert all(m.symmetry == own for m in simulation.modules() if isinstance(m, EquivariantLinear))


def test_there_and_back():
    space, theta = ws.mlp([2, 3, 2]), draw(ws.mlp([2, 3, 2]))
    net = stack(space, 1, 2, 1)
    assert difference(net, np_to_dws(dws_to_np(net, 2.0)), theta) < 1e-13
    assert difference(net[0], gmn_to_dws(dws_to_gmn(net[0], 2.0)), theta) < 1e-13


def test_other_networks_do_not_become_dws():
    space = ws.mlp([2, 3, 2])
    with pytest.raises(ws.TheoryError, match="permutations of all neurons"):
        np_to_dws(stack(space, 1, 1))
    with pytest.raises(ws.TheoryError, match="found GaussianFourier"):
        np_to_dws(ws.build("np-nfn", space, hidden=4, depth=2, fourier=2))
    with pytest.raises(ws.TheoryError, match="found SinusoidalPosition"):
        dws_to_np(nn.Sequential(SinusoidalPosition(space), EquivariantLinear(space, 8, 1)), 1.0)


def test_places_are_numbered_along_both_ends():
    space = ws.mlp([3, 2])
    theta = OneHotPosition(space)(draw(space, batch=1))
    assert theta["0.weight"][0, :, :, 1:].argmax(-1).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert theta["0.bias"][0, :, 1:].argmax(-1).tolist() == [0, 1]


@pytest.mark.parametrize("dims", [[2, 3, 4, 2], [1, 3, 1, 2], [3, 2]])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "mean"},
        {"bidirectional": False},
        {"skip": False},
        {"reduction": "mean", "skip": False, "bidirectional": False},
    ],
    ids=str,
)
def test_graph_networks_become_dws_networks(dims, options):
    space = ws.mlp(dims)
    net = graph_network(space, out=2, **options)
    simulation = gmn_to_dws(net, space)
    assert simulation.radius == math.inf
    for radius in (2.0, 1e3):
        assert difference(net, simulation, draw(space, radius=radius)) < 1e-13


def test_edges_may_stay_as_they_are():
    space = ws.mlp([2, 3, 4, 2])
    net = graph_network(space, out=5, edge_update=False)
    assert difference(net, gmn_to_dws(net, space), draw(space)) < 1e-13


def test_graph_networks_that_are_no_relu_networks_are_refused():
    space = ws.mlp([2, 3, 2])
    ends = GraphEncoder(space, 1, 4), GraphDecoder(space, 4, 4)

    def between(*layers):
        return nn.Sequential(ends[0], *layers, ends[1])

    graph = ws.nn.graph_of(space)
    refused = {
        "functions with NormalizedSiLU": between(gmn_layer(4)),
        "functions with NeighbourhoodMessage": between(ng_gnn_layer([graph], 4)),
        "messages of which the maximum": between(gmn_layer(4, relu=True, reduction="max")),
        "dropout in training mode": between(gmn_layer(4, relu=True, dropout=0.5)),
        "found Identity": between(nn.Identity()),
        r"found \['MessagePassing'\]": nn.Sequential(gmn_layer(4, relu=True)),
        "standardize='none'": ws.build("gmn", space, standardize="orbit"),
        "scales of neurons": nn.Sequential(GraphEncoder(space, 1, 4, space.symmetry()), ends[1]),
        "expected a decoder that reads 3": nn.Sequential(ends[0], gmn_layer(4, 3, relu=True), ends[1]),
    }
    for message, network in refused.items():
        with pytest.raises(ws.TheoryError, match=message):
            gmn_to_dws(network, space)
    with pytest.raises(ws.TheoryError, match="pass space="):
        gmn_to_dws(graph_network(space))
    bare = WeightSpace(space.groups, tuple(p for p in space.parameters if p.name != "0.bias"))
    with pytest.raises(ws.TheoryError, match="one bias for each but the input"):
        gmn_to_dws(graph_network(bare), bare)


@pytest.mark.parametrize("n", range(2, 9))
def test_the_maximum_with_means_and_relu(n):
    x = torch.randn(2000, n, dtype=torch.float64)
    x[:500, 0] = x[:500, 1]
    x[500:700] = -x[500:700].abs()
    x[700:800] = 0.25
    net = max_to_dws(n)
    y = net(net.space.features({"set": x[..., None]}))["set"][..., 0]
    torch.testing.assert_close(y, x.amax(1, keepdim=True).expand_as(y), rtol=0, atol=1e-14)
    assert sum(isinstance(module, Pointwise) for module in net.layers) == n - 1


def test_one_layer_less_is_no_maximum():
    net = max_to_dws(4)
    fewer = nn.Sequential(*net.layers[:2], *net.layers[4:])
    x = torch.randn(1000, 4, dtype=torch.float64)
    y = fewer(net.space.features({"set": x[..., None]}))["set"][:, 0, 0]
    assert (y - x.amax(1)).abs().max() > 1e-2
    with pytest.raises(ws.TheoryError, match="at least 2 numbers"):
        max_to_dws(1)
