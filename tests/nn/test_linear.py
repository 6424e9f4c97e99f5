import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION, TRIVIAL
from weightspace.nn import EquivariantLinear, InvariantPool
from weightspace.nn._pool import add_rows_and_columns, fan_out, map_and_pool
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces


def group_of(space, permuted):
    """Permutations of hidden neurons, or of all."""
    return SymmetryGroup(
        space, tuple(PERMUTATION if permuted == "all" or g.kind == "hidden" else TRIVIAL for g in space.groups)
    )


def commutant_dimension(space, permuted):
    """dim Hom_G(V, V) = mean over the group of the squared trace, by enumerating the group."""
    sizes = [g.size for g in space.groups]
    moving = [i for i, g in enumerate(space.groups) if permuted == "all" or g.kind == "hidden"]
    fixed_points = [
        [sum(i == p for i, p in enumerate(perm)) for perm in itertools.permutations(range(sizes[i]))] for i in moving
    ]
    traces = []
    for combination in itertools.product(*fixed_points):
        count = dict(enumerate(sizes)) | dict(zip(moving, combination, strict=True))
        names = {g.name: count[i] for i, g in enumerate(space.groups)}
        traces.append(sum(math.prod(names[a.group] for a in p.axes) for p in space.parameters))
    return sum(t * t for t in traces) / len(traces)


@pytest.mark.parametrize("permuted", ["hidden", "all"])
@pytest.mark.parametrize(
    "dims", [(2, 3, 3, 2), (2, 3, 2), (1, 2, 3, 2), (2, 2, 2, 2, 1), (1, 4, 4, 1), (3, 1, 2), (3, 2)]
)
def test_there_is_one_coefficient_for_each_dimension_of_the_commutant(dims, permuted):
    space = ws.mlp(dims)
    layer = EquivariantLinear(space, 1, 1, permuted=permuted)
    assert sum(p.numel() for p in layer.linear_parameters()) == commutant_dimension(space, permuted)


@pytest.mark.parametrize("permuted", ["hidden", "all"])
def test_the_coefficients_are_linearly_independent(permuted):
    """So the layer spans the whole commutant: as many coefficients as dimensions, none redundant."""
    space = ws.mlp((2, 3, 3, 2))
    layer = EquivariantLinear(space, 1, 1, permuted=permuted, reduction="sum").double()
    eye = torch.eye(space.num_parameters, dtype=torch.float64)
    pieces = dict(
        zip(
            (p.name for p in space.parameters),
            eye.split([math.prod(p.shape) for p in space.parameters], 1),
            strict=True,
        )
    )
    basis = space.features({p.name: pieces[p.name].reshape(-1, *p.shape, 1) for p in space.parameters})
    columns = []
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for parameter in layer.linear_parameters():
            for i in range(parameter.numel()):
                parameter.view(-1)[i] = 1
                columns.append(layer(basis).flatten().flatten())
                parameter.view(-1)[i] = 0
    assert torch.linalg.matrix_rank(torch.stack(columns)) == len(columns)


def slow_layer(layer, space, theta, permuted):
    """The layer entry by entry: one term for every tied subset, written with loops and no shared pools."""
    names = {g.name for g in space.groups if g.size > 1 and (permuted == "all" or g.kind == "hidden")}
    pools = layer._pools
    coefficient = {pair: w for pair, w in zip(pools.of_pair, layer.entry, strict=True)}
    coefficient |= {(name,): m.weight.mT for name, m in zip(pools.of_single, layer.neuron, strict=True)}
    coefficient[()] = layer.network.weight.mT
    reached = {t: [i for i, p in enumerate(space.parameters) if set(t) <= set(p.groups)] for t in coefficient}
    folded = {i: [j for j, a in enumerate(p.axes) if a.group not in names] for i, p in enumerate(space.parameters)}
    outputs = [torch.zeros(len(theta), *p.shape, layer.out_channels, dtype=torch.float64) for p in space.parameters]
    for tied, weight in coefficient.items():
        widths = [math.prod(space.parameters[i].shape[j] for j in folded[i]) for i in reached[tied]]
        for place in itertools.product(*(range(space.group(t).size) for t in tied)):
            at = dict(zip(tied, place, strict=True))
            features = []
            for i in reached[tied]:
                x = theta.tensors[i]
                for j in reversed(range(len(space.parameters[i].axes))):
                    name = space.parameters[i].axes[j].group
                    if name in at:
                        x = x.select(1 + j, at[name])
                    elif name in names:
                        x = x.mean(1 + j)
                features.append(x.flatten(1))
            result = torch.cat(features, 1) @ weight + (layer.network.bias if tied == () else 0)
            for i, part in zip(reached[tied], result.split([w * layer.out_channels for w in widths], 1), strict=True):
                axes = space.parameters[i].axes
                where = [slice(None), *(at.get(a.group, slice(None)) for a in axes), slice(None)]
                shape = [
                    len(theta),
                    *(a.size if a.group not in names else 1 for a in axes if a.group not in at),
                    layer.out_channels,
                ]
                outputs[i][tuple(where)] += part.reshape(shape)
    return outputs


@pytest.mark.parametrize("permuted", ["hidden", "all"])
@pytest.mark.parametrize("dims", [(2, 3, 4, 2), (1, 2, 1, 3), (2, 3), (2, 4, 3, 2, 2)])
def test_agrees_with_a_slow_twin(dims, permuted):
    space = ws.mlp(dims)
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 2, 3, permuted=permuted).double()
    torch.nn.init.normal_(layer.network.bias)
    theta = space.features({p.name: torch.randn(2, *p.shape, 2, dtype=torch.float64) for p in space.parameters})
    with torch.no_grad():
        for found, expected in zip(layer(theta).tensors, slow_layer(layer, space, theta, permuted), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    feed_forward_spaces(min_layers=1),
    st.sampled_from(["mean", "sum", "max"]),
    st.sampled_from(["linear", "attention"]),
    st.sampled_from(["hidden", "all"]),
    st.integers(0, 999),
)
def test_every_configuration_is_equivariant(space, reduction, neuron_map, permuted, seed):
    torch.manual_seed(seed)
    layer = EquivariantLinear(space, 2, 3, permuted=permuted, reduction=reduction, neuron_map=neuron_map)
    assert_equivariant(layer, space, group_of(space, permuted), channels=2, seed=seed)
    assert_invariant(
        InvariantPool(space, 2, permuted=permuted, reduction=reduction), space, group_of(space, permuted), channels=2
    )


def test_it_is_not_equivariant_under_more():
    """Negative controls: permuting input and output neurons, or rescaling hidden ones, is another matter."""
    space = ws.mlp([3, 8, 8, 2])
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 1, 2)
    assert equivariance_error(layer, space, group_of(space, "all")) > 1e-2
    assert equivariance_error(layer, space, space.symmetry("positive_monomial")) > 1e-2
    with pytest.raises(AssertionError, match="not equivariant under positive_monomial/trivial on 3-8-8-2"):
        assert_equivariant(layer, space, space.symmetry("positive_monomial"))
    with pytest.raises(AssertionError, match="returns Tensor, this one returns WeightFeatures"):
        assert_invariant(layer, space)


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
@pytest.mark.parametrize("dims", [(2, 3, 3, 2), (2, 3, 1)])
def test_gradients(dims, reduction):
    space = ws.mlp(dims)
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 2, 2, reduction=reduction).double()
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    inputs = [torch.randn(2, *p.shape, 2, dtype=torch.float64, requires_grad=True) for p in space.parameters]

    def run(*tensors):
        theta = ws.WeightFeatures(space, tensors[len(values) :])
        weights = dict(zip(names, tensors[: len(values)], strict=True))
        return torch.func.functional_call(layer, weights, (theta,)).tensors

    assert torch.autograd.gradcheck(run, (*values, *inputs))


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
def test_fused_passes_equal_the_formula(reduction):
    torch.manual_seed(0)
    x, w = torch.randn(3, 4, 5, 2, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    y, row, column = map_and_pool(x, w, reduction)
    pool = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}[reduction]
    torch.testing.assert_close(y, x @ w)
    torch.testing.assert_close(row, pool(x, 2))
    torch.testing.assert_close(column, pool(x, 1))
    total = add_rows_and_columns(y.clone(), (x @ w).mean(2), (x @ w).mean(1))
    torch.testing.assert_close(total, y + y.mean(2, keepdim=True) + y.mean(1, keepdim=True))
    a, b = fan_out(x, w.mT, 2 * w.mT)
    torch.testing.assert_close(a, y)
    torch.testing.assert_close(b, 2 * y)


def test_autocast_and_bfloat16():
    space = ws.mlp([2, 4, 4, 1])
    layer = EquivariantLinear(space, 1, 3)
    theta = space.sample(2)
    exact = layer(theta).flatten()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(theta).flatten()
    low = layer.bfloat16()(theta.to(torch.bfloat16)).flatten()
    for found in (mixed, low):
        torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.05)


def test_wrong_spaces_and_channels_are_refused():
    space = ws.mlp([2, 4, 1])
    layer = EquivariantLinear(space, 2, 2)
    with pytest.raises(ws.ModelError, match="widths: expected 2-4-1, found 2-5-1"):
        layer(ws.mlp([2, 5, 1]).sample(2))
    with pytest.raises(ws.ModelError, match="with 2 channels, found 1"):
        layer(space.sample(2))


def test_a_parameter_with_one_group_twice_is_refused():
    from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace

    loop = Parameter("w", (Axis(3, "hidden", "out"), Axis(3, "hidden", "in")))
    space = WeightSpace((NeuronGroup("input", 2, "input"), NeuronGroup("hidden", 3)), (loop,))
    with pytest.raises(ws.ModelError, match=r"'w' carries the permuted neuron groups \('hidden', 'hidden'\)"):
        EquivariantLinear(space, 1, 1)


def test_parallel_branches_and_taps():
    """Two weights between the same groups, one of them with taps: a convolution beside a dense skip."""
    from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace

    groups = (
        NeuronGroup("input", 2, "input"),
        NeuronGroup("a", 3),
        NeuronGroup("b", 4),
        NeuronGroup("output", 1, "output"),
    )
    out = {g.name: Axis(g.size, g.name, "out") for g in groups}
    into = {g.name: Axis(g.size, g.name, "in") for g in groups}
    parameters = (
        Parameter("first", (out["a"], into["input"])),
        Parameter("conv", (out["b"], into["a"], Axis(3), Axis(3))),
        Parameter("back", (out["a"], into["b"])),
        Parameter("dense", (out["b"], into["a"])),
        Parameter("last", (out["output"], into["b"])),
    )
    space = WeightSpace(groups, parameters)
    for neuron_map in ("linear", "attention"):
        layer = EquivariantLinear(space, 2, 3, neuron_map=neuron_map)
        assert_equivariant(layer, space, channels=2)
