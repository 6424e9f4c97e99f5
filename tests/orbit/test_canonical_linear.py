import pytest
import torch
from _orbits import check_form, error, networks
from _spaces import attention_space

import weightspace as ws
from weightspace.group import (
    GENERAL_LINEAR,
    MONOMIAL,
    PERMUTATION,
    POSITIVE_MONOMIAL,
    TRIVIAL,
    GeneralLinearGroup,
    Linear,
)
from weightspace.space import SymmetryGroup

BETWEEN = ws.mlp([6, 4, 5], activation="identity")
CHAIN = ws.mlp([9, 5, 4, 4, 8], activation="identity")  # wide ends, so that random weights are well conditioned
HEADS = attention_space(1, 8, 3, 3)
SMALL_HEADS = attention_space()


@pytest.mark.parametrize("space", [BETWEEN, CHAIN, HEADS], ids=["one layer", "chain", "heads"])
@pytest.mark.parametrize("component", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_general_linear_groups(space, component, seed):
    group = space.symmetry()
    check_form(group.identity_component() if component else group, seed)


@pytest.mark.parametrize("dims", [[4, 9, 4, 7, 3], [4, 9, 5, 7, 3], [9, 6, 4, 3]])
@pytest.mark.parametrize("factors", [(POSITIVE_MONOMIAL, GENERAL_LINEAR, MONOMIAL), (PERMUTATION, GENERAL_LINEAR)])
def test_linear_units_among_others(dims, factors):
    """What enters and leaves them is permuted."""
    hidden = (factors * 2)[: len(dims) - 2]
    check_form(SymmetryGroup(ws.mlp(dims), (TRIVIAL, *hidden, TRIVIAL)))


def test_the_function_is_preserved():
    theta, x = networks(CHAIN), torch.randn(20, 9, dtype=torch.float64)
    expected = CHAIN.realize(theta, x)
    assert (CHAIN.realize(ws.canonicalize(theta).theta, x) - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_the_decomposition_is_balanced():
    form = ws.canonicalize(networks(BETWEEN))
    out = torch.cat([form.theta["0.weight"].squeeze(-1), form.theta["0.bias"]], dim=2)
    into = form.theta["2.weight"].squeeze(-1).mT
    values = torch.linalg.svdvals(out.mT @ into)[:, :4]
    for side in (out, into):
        torch.testing.assert_close(side @ side.mT, torch.diag_embed(values), rtol=0, atol=1e-12 * float(values.max()))
    assert ((out.amax(2) + out.amin(2)) > 0).all()
    gaps = torch.cat([-values.diff(dim=1), values[:, -1:]], 1).amin(1) / values[:, 0]
    assert (form.margin <= gaps * (1 + 1e-9)).all()


def test_heads_are_balanced_by_all_parameters_of_their_coordinates():
    form = ws.canonicalize(networks(HEADS)).theta
    for out, into in (("query", "key"), ("value", "out")):
        first = torch.cat([form[f"0.{out}.weight"].squeeze(-1), form[f"0.{out}.bias"]], dim=3)
        second = form[f"0.{into}.weight"].squeeze(-1)
        second = second.permute(0, 2, 3, 1) if into == "out" else torch.cat([second, form["0.key.bias"]], dim=3)
        torch.testing.assert_close(first @ first.mT, second @ second.mT, rtol=0, atol=1e-11)


def test_one_side_that_is_too_narrow_leaves_orthonormal_rows():
    theta = networks(ws.mlp([6, 4, 2], activation="identity"))
    form = ws.canonicalize(theta).theta
    out = torch.cat([form["0.weight"].squeeze(-1), form["0.bias"]], dim=2)
    torch.testing.assert_close(out @ out.mT, torch.eye(4, dtype=torch.float64).expand(5, 4, 4), rtol=0, atol=1e-13)


def test_reflections_are_told_apart_by_the_identity_component():
    group = BETWEEN.symmetry().identity_component()
    theta = networks(BETWEEN)
    reflection = torch.diag(torch.tensor([-1.0, 1, 1, 1])).double()[None]
    element = {**group.identity(1), "hidden1": Linear(reflection)}
    moved = group.act(element, theta)
    assert error(ws.canonicalize(moved).theta, ws.canonicalize(theta).theta) <= 1e-12
    assert error(ws.canonicalize(moved, group).theta, ws.canonicalize(theta, group).theta) > 0.1
    assert ws.same_orbit(moved, theta) == [True] * 5
    assert ws.same_orbit(moved, theta, group) == [False] * 5
    determinant = torch.linalg.det(ws.canonicalize(theta, group).element["hidden1"].matrix)
    assert (determinant > 0).all()
    assert group.factors[1] == GeneralLinearGroup("positive_general_linear", positive=True)


@pytest.mark.parametrize("space", [BETWEEN, CHAIN, SMALL_HEADS], ids=["one layer", "chain", "heads"])
def test_gradients(space):
    theta = networks(space, 1)

    def flat_form(*tensors):
        return ws.canonicalize(ws.WeightFeatures(space, tensors)).theta.flatten()

    assert torch.autograd.gradcheck(flat_form, tuple(t.requires_grad_() for t in theta.tensors), fast_mode=True)


def test_a_matrix_without_full_rank_stays_and_has_margin_zero():
    theta = networks(HEADS, 2)
    key = theta["0.key.weight"].clone()
    key[1, 1] = 0
    bias = theta["0.key.bias"].clone()
    bias[1, 1] = 0
    theta = HEADS.features({**theta, "0.key.weight": key, "0.key.bias": bias}).map(lambda t: t.requires_grad_())
    form = ws.canonicalize(theta)
    assert form.margin[0] > 0
    assert form.margin[1] == 0
    matrix = form.element["qk0"].matrix
    assert torch.equal(matrix[1, 1], torch.eye(3, dtype=torch.float64))
    assert not torch.equal(matrix[0, 1], torch.eye(3, dtype=torch.float64))
    form.theta.flatten().square().sum().backward()
    assert all(t.grad.isfinite().all() for t in theta.tensors)


@pytest.mark.parametrize("dims", [[2, 8, 1], [3, 6, 5, 2]])
def test_more_units_than_entries_on_either_side_are_refused(dims):
    space = ws.mlp(dims, activation="identity")
    with pytest.raises(ws.SymmetryError, match=r"'hidden1': to normalise general matrices on \d units takes"):
        ws.canonicalize(networks(space))
    check_form(space.symmetry().restricted(linear=False))
