"""Single coefficients of equivariant linear layers, by the names of their term."""

import pytest
import torch

import weightspace as ws
from weightspace.nn import EquivariantLinear
from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace

HIDDEN = frozenset({"hidden1", "hidden2"})
EVERY = HIDDEN | {"input", "output"}


def symmetry(space, permuted):
    return ws.models.all_permutations(space) if permuted == EVERY else space.symmetry("permutation")


def by_hand(space, theta, term, coefficients, permuted, reduction):
    """The formula of one term: dense axes contracted, permuted axes tied, or pooled and broadcast."""
    letters = dict(zip((g.name for g in space.groups), "abcd", strict=True))
    by_name = {p.name: p for p in space.parameters}
    written, read = by_name[term.output].groups, by_name[term.input].groups
    out = [letters[g] if g in term.tied else letters[g].upper() for g in written]
    dense_out = [letters[g].upper() for g in written if g not in permuted]
    dense_in = [letters[g] for g in read if g not in permuted]
    into = [letters[g] for g in read]
    kept = [i for i in out if i in into or i in dense_out]
    subscripts = f"o{''.join(dense_out)}x{''.join(dense_in)},n{''.join(into)}x->n{''.join(kept)}o"
    y = torch.einsum(subscripts, coefficients, theta[term.input])
    if reduction == "mean":
        pooled = [g for g in read if g in permuted and g not in term.tied]
        y = y / torch.tensor([space.group(g).size for g in pooled]).prod()
    for axis, index in enumerate(out):
        if index not in kept:
            y = y.unsqueeze(1 + axis)
    return y.expand(len(theta), *by_name[term.output].shape, -1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("permuted", [HIDDEN, EVERY], ids=["hidden", "every"])
def test_each_term_is_its_formula(permuted, reduction):
    space = ws.mlp([2, 3, 4, 2])
    layer = EquivariantLinear(space, 2, 3, symmetry=symmetry(space, permuted), reduction=reduction).double()
    theta = space.features({p.name: torch.randn(2, *p.shape, 2, dtype=torch.float64) for p in space.parameters})
    shapes = {p.name: [space.group(g).size for g in p.groups if g not in permuted] for p in space.parameters}
    assert sum(layer.coefficients(*t).numel() for t in layer.terms()) == sum(
        p.numel() for p in layer.linear_parameters()
    )
    for term in layer.terms():
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
            layer.coefficients(*term).normal_()
        coefficients = layer.coefficients(*term)
        assert list(coefficients.shape) == [3, *shapes[term.output], 2, *shapes[term.input]]
        y = layer(theta)
        expected = by_hand(space, theta, term, coefficients, permuted, reduction)
        torch.testing.assert_close(y[term.output], expected, rtol=0, atol=1e-12)
        assert all(not y[p.name].any() for p in space.parameters if p.name != term.output)


@pytest.mark.parametrize("permuted", [HIDDEN, EVERY], ids=["hidden", "every"])
def test_biases_are_added_along_dense_axes(permuted):
    space = ws.mlp([2, 3, 4, 2])
    layer = EquivariantLinear(space, 1, 3, symmetry=symmetry(space, permuted)).double()
    zero = space.features({p.name: torch.zeros(1, *p.shape, 1, dtype=torch.float64) for p in space.parameters})
    with torch.no_grad():
        for p in space.parameters:
            layer.biases(p.name).normal_()
    y = layer(zero)
    for p in space.parameters:
        bias = layer.biases(p.name)
        for axis, group in enumerate(p.groups):
            if group in permuted:
                bias = bias.unsqueeze(1 + axis)
        assert torch.equal(y[p.name][0], bias.movedim(0, -1).expand(*p.shape, 3))
    assert layer.biases("4.bias").shape == ((3,) if permuted == EVERY else (3, 2))


def test_coefficients_take_part_in_gradients():
    layer = EquivariantLinear(ws.mlp([2, 3, 1]), 1, 1)
    layer.coefficients("0.bias", "0.bias", ["hidden1"]).sum().backward()
    assert sum(float(p.grad.sum()) for p in layer.parameters() if p.grad is not None) == 1


def test_terms_that_do_not_exist_are_refused():
    space = ws.mlp([2, 3, 3, 2])
    layer = EquivariantLinear(space, 1, 1)
    with pytest.raises(ws.ModelError, match=r"no term from parameter '0.bias' to '4.bias' tied along \['hidden1'\]"):
        layer.coefficients("4.bias", "0.bias", ["hidden1"])
    with pytest.raises(ws.ModelError, match=r"no term from parameter '9.bias' to '4.bias'.*parameters: 0.weight"):
        layer.coefficients("4.bias", "9.bias")
    with pytest.raises(ws.ModelError, match=r"parameter '9.bias' has no bias"):
        layer.biases("9.bias")


@pytest.mark.parametrize("options", [{"rank": 1}, {"neuron_map": "attention"}])
def test_factored_and_attentive_maps_are_refused(options):
    layer = EquivariantLinear(ws.mlp([2, 3, 3, 2]), 8, 8, **options)
    with pytest.raises(ws.ModelError, match="single coefficients need a layer with neuron_map='linear'"):
        layer.coefficients("4.bias", "4.bias")


def test_parameters_that_carry_units_twice_are_refused():
    out, into = Axis(3, "h", "out"), Axis(3, "h", "in")
    space = WeightSpace((NeuronGroup("h", 3),), (Parameter("loop", (out, into)), Parameter("bias", (out,))))
    with pytest.raises(ws.ModelError, match="carries the same units several times"):
        EquivariantLinear(space, 1, 1).terms()
