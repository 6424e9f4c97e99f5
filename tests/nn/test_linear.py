import cmath
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
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces


def group_of(space, permuted):
    """Permutations of hidden neurons, or of all."""
    return SymmetryGroup(
        space, tuple(PERMUTATION if permuted == "all" or g.kind == "hidden" else TRIVIAL for g in space.groups)
    )


def commutant_dimension(space, group):
    """dim Hom_G(V, V) = mean over the group of |trace|², by enumerating the group.

    Positive scales are replaced by cube roots of unity, which commute with the same maps: a scale occurs in the
    entries of such a map with an exponent from -2 to 2, and none of these but 0 is a multiple of 3.
    """
    roots = {"none": 1, "signs": 2, "positive": 3}
    fixed = []
    for g, factor in zip(space.groups, group.factors, strict=True):
        permutations = itertools.permutations(range(g.size)) if factor.permutes else [tuple(range(g.size))]
        units = [cmath.exp(2j * cmath.pi * k / roots[factor.scales]) for k in range(roots[factor.scales])]
        fixed.append(
            [
                sum(d for i, (p, d) in enumerate(zip(permutation, scales, strict=True)) if i == p)
                for permutation in permutations
                for scales in itertools.product(units, repeat=g.size)
            ]
        )
    total, count = 0.0, 0
    for combination in itertools.product(*fixed):
        value = {g.name: s for g, s in zip(space.groups, combination, strict=True)}
        trace = 0
        for p in space.parameters:
            out = [value[a.group] if a.side == "out" else value[a.group].conjugate() for a in p.axes]
            trace += math.prod(out)
        total, count = total + abs(trace) ** 2, count + 1
    return total / count


def loop_space(size=3):
    """A recurrent network: its weight carries the hidden group twice."""
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("h", size), NeuronGroup("output", 1, "output"))
    out, into = Axis(size, "h", "out"), Axis(size, "h", "in")
    parameters = (
        Parameter("embed", (out, Axis(2, "input", "in"))),
        Parameter("loop", (out, into)),
        Parameter("bias", (out,)),
        Parameter("read", (Axis(1, "output", "out"), into)),
    )
    return WeightSpace(groups, parameters)


def cube_space():
    """A parameter with three groups, one of them twice in another parameter."""
    groups = (NeuronGroup("a", 2), NeuronGroup("b", 3), NeuronGroup("c", 2))
    axis = {g.name: Axis(g.size, g.name, "out") for g in groups}
    parameters = (
        Parameter("cube", (axis["a"], axis["b"], axis["c"])),
        Parameter("pair", (axis["b"], axis["a"])),
        Parameter("vector", (axis["c"],)),
    )
    return WeightSpace(groups, parameters)


CHAINS = [(2, 3, 3, 2), (2, 3, 2), (1, 2, 3, 2), (2, 2, 2, 2, 1), (1, 4, 4, 1), (3, 1, 2), (3, 2)]
PERMUTED = [(ws.mlp(dims), permuted) for dims in CHAINS for permuted in ("hidden", "all")]
GROUPS = [(space, group_of(space, permuted)) for space, permuted in PERMUTED]
GROUPS += [
    (ws.mlp(dims, activation=a), None) for dims in [(2, 3, 3, 2), (2, 3, 2), (1, 2, 3, 1)] for a in ("relu", "tanh")
]
GROUPS += [(loop_space(4), None), (cube_space(), None)]


@pytest.mark.parametrize(("space", "group"), GROUPS, ids=lambda x: x.summary() if hasattr(x, "summary") else "")
def test_there_is_one_coefficient_for_each_dimension_of_the_commutant(space, group):
    group = (group or space.symmetry()).restricted(linear=False)
    layer = EquivariantLinear(space, 1, 1, symmetry=group)
    assert sum(p.numel() for p in layer.linear_parameters()) == pytest.approx(commutant_dimension(space, group))


def test_dimensions_that_are_known():
    """Counted by hand, or by enumerating the permutations."""
    for dims, hidden, everything in [((2, 3, 3, 2), 114, 62), ((2, 3, 2), 74, 32)]:
        space = ws.mlp(dims)
        for permuted, expected in (("hidden", hidden), ("all", everything)):
            layer = EquivariantLinear(space, 1, 1, symmetry=group_of(space, permuted))
            assert sum(p.numel() for p in layer.linear_parameters()) == expected
    # positive scales, 2-3-3-2: W_1 and b_1 mix (3 x 3), W_2 and b_2 alone, W_3 mixes its 2 rows, b_3 its 2 entries
    relu, tanh = ws.mlp((2, 3, 3, 2)), ws.mlp((2, 3, 3, 2), activation="tanh")
    assert sum(p.numel() for p in EquivariantLinear(relu, 1, 1, symmetry=relu.symmetry()).linear_parameters()) == 19
    # signs: beside these b_2 and the columns of W_3 mix: 2 x 2 more
    assert sum(p.numel() for p in EquivariantLinear(tanh, 1, 1, symmetry=tanh.symmetry()).linear_parameters()) == 23


@pytest.mark.parametrize(
    ("space", "group"),
    [
        *((ws.mlp((2, 3, 3, 2)), group_of(ws.mlp((2, 3, 3, 2)), p)) for p in ("hidden", "all")),
        (ws.mlp((2, 3, 3, 2), activation="tanh"), None),
        (loop_space(4), None),
        (cube_space(), None),
    ],
    ids=lambda x: x.summary() if hasattr(x, "summary") else "",
)
def test_the_coefficients_are_linearly_independent(space, group):
    """So the layer spans the whole commutant: as many coefficients as dimensions, none redundant."""
    group = (group or space.symmetry()).restricted(linear=False)
    layer = EquivariantLinear(space, 1, 1, symmetry=group, reduction="sum").double()
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
    outputs = [torch.zeros(len(theta), *p.shape, layer.out_channels, dtype=torch.float64) for p in space.parameters]
    for kind, module in zip(layer._kinds, layer.maps, strict=True):
        tied = tuple(name for name, _ in kind.labels)
        reached = [i for i, p in enumerate(space.parameters) if set(tied) <= set(p.groups)]
        dense = {i: math.prod(a.size for a in space.parameters[i].axes if a.group not in names) for i in reached}
        for place in itertools.product(*(range(space.group(t).size) for t in tied)):
            at = dict(zip(tied, place, strict=True))
            features = []
            for i in reached:
                x = theta.tensors[i]
                for j in reversed(range(len(space.parameters[i].axes))):
                    name = space.parameters[i].axes[j].group
                    if name in at:
                        x = x.select(1 + j, at[name])
                    elif name in names:
                        x = x.mean(1 + j)
                features.append(x.flatten(1))
            result = module(torch.cat(features, 1))
            for i, part in zip(reached, result.split([dense[i] * layer.out_channels for i in reached], 1), strict=True):
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
    layer = EquivariantLinear(space, 2, 3, symmetry=group_of(space, permuted)).double()
    torch.nn.init.normal_(layer.maps[-1].bias)
    theta = space.features({p.name: torch.randn(2, *p.shape, 2, dtype=torch.float64) for p in space.parameters})
    with torch.no_grad():
        for found, expected in zip(layer(theta).tensors, slow_layer(layer, space, theta, permuted), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
@pytest.mark.parametrize(
    "space", [loop_space(3), loop_space(2), loop_space(1), cube_space()], ids=["3", "2", "1", "cube"]
)
def test_any_axis_labels(space, reduction):
    """Universal neural functionals: one neuron group twice on a parameter, or three groups."""
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 2, 3, reduction=reduction)
    assert_equivariant(layer, space, channels=2)
    theta = space.features({p.name: torch.randn(2, *p.shape, 2) for p in space.parameters})
    layer(theta).flatten().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_a_recurrent_weight_sees_its_transpose_and_its_diagonal():
    space = loop_space(4)
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 1, 1).double()
    theta = space.features({p.name: torch.zeros(1, *p.shape, 1, dtype=torch.float64) for p in space.parameters})
    theta["loop"][0, 1, 2] = 1.0
    background, change = layer(theta)["loop"][0, ..., 0], torch.zeros(4, 4, dtype=torch.float64)
    (entry,) = [m for k, m in zip(layer._kinds, layer.maps, strict=True) if len(k.labels) == 2]
    with torch.no_grad():
        entry.weight.zero_()
    change = background - layer(theta)["loop"][0, ..., 0]
    assert change[1, 2] != 0
    assert change[2, 1] != 0
    assert change[1, 2] != change[2, 1]
    assert (change != 0).sum() == 2


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 999))
def test_the_whole_symmetry_group(activation, dims, seed):
    space = ws.mlp(dims, activation=activation)
    torch.manual_seed(seed)
    group = space.symmetry().restricted(linear=False)  # no linear layer of this kind respects general matrices
    layer = EquivariantLinear(space, 2, 3, symmetry=group)
    assert_equivariant(layer, space, group, channels=2, seed=seed)
    if len(dims) > 2 and activation in ("relu", "tanh"):
        with pytest.raises(ws.ModelError, match="attention over neurons does not commute"):
            EquivariantLinear(space, 2, 3, symmetry=space.symmetry(), neuron_map="attention")


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
    group = group_of(space, permuted)
    layer = EquivariantLinear(space, 2, 3, symmetry=group, reduction=reduction, neuron_map=neuron_map)
    assert_equivariant(layer, space, group, channels=2, seed=seed)
    for keep_dense in (True, False):
        pool = InvariantPool(space, 2, symmetry=group, reduction=reduction, keep_dense=keep_dense)
        assert_invariant(pool, space, group, channels=2)


@pytest.mark.parametrize(("reduction", "pooled"), [("mean", torch.mean), ("sum", torch.sum), ("max", torch.amax)])
def test_dense_axes_are_pooled_if_not_kept(reduction, pooled):
    """Input and output neurons of an MLP: one vector of channels for each parameter."""
    space = ws.mlp([3, 8, 8, 2])
    theta = space.features({name: torch.randn(5, *shape, 2) for name, shape in space.shapes.items()})
    found = InvariantPool(space, 2, reduction=reduction, keep_dense=False)(theta)
    expected = torch.cat([pooled(tensor, tuple(range(1, tensor.dim() - 1))) for tensor in theta.tensors], -1)
    torch.testing.assert_close(found, expected)


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


def test_parallel_branches_and_taps():
    """Two weights between the same groups, one of them with taps: a convolution beside a dense skip."""
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
