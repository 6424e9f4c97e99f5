import math

import pytest
import torch
from _orbits import check_form, error, networks, orders
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL
from weightspace.orbit import canonical_element
from weightspace.space import SymmetryGroup
from weightspace.testing.strategies import feed_forward_spaces

GROUPS = [
    ws.mlp([3, 6, 5, 2], activation="gelu").symmetry(),
    ws.mlp([3, 6, 5, 2], activation="tanh").symmetry("permutation"),
    ws.mlp([3, 6, 5, 2], activation="tanh").symmetry(),
    ws.siren([2, 8, 7, 6, 1]).symmetry(),
    ws.mlp([3, 6, 5, 4, 2], activation="relu").symmetry(),
    SymmetryGroup(ws.mlp([3, 4, 5, 6, 2]), (TRIVIAL, SIGNED_PERMUTATION, POSITIVE_MONOMIAL, PERMUTATION, TRIVIAL)),
    SymmetryGroup(ws.mlp([3, 4, 5, 6, 2]), (TRIVIAL, POSITIVE_MONOMIAL, TRIVIAL, SIGNED_PERMUTATION, PERMUTATION)),
]
IDS = ["/".join(f.name for f in g.factors[1:-1]) + " on " + g.space.summary() for g in GROUPS]
every_group = pytest.mark.parametrize("group", GROUPS, ids=IDS)


@settings(max_examples=25, deadline=None)
@given(feed_forward_spaces(max_width=12), st.booleans(), st.integers(0, 2**16))
def test_the_form_is_constant_on_orbits_and_the_element_leads_there(space, largest, seed):
    group = space.symmetry(None if largest else "permutation").restricted(linear=False)
    check_form(group, seed)


@every_group
def test_invariance_under_wide_scales(group):
    theta = networks(group.space)
    form = ws.canonicalize(theta, group)
    for seed in range(3):
        element = group.sample(5, torch.Generator().manual_seed(seed), dtype=torch.float64, scale_range=1e3)
        again = ws.canonicalize(group.act(element, theta), group)
        assert error(again.theta, form.theta) <= 1e-12
        torch.testing.assert_close(again.margin, form.margin, rtol=1e-9, atol=0)


@every_group
def test_networks_of_different_orbits_have_different_forms(group):
    theta = networks(group.space, 2)
    form = ws.canonicalize(theta, group)
    assert error(form.theta[0], form.theta[1]) > 0.1


@every_group
def test_what_the_form_looks_like(group):
    space = group.space
    form = ws.canonicalize(networks(space), group).theta
    layers = zip(group.factors[1:], form.tensors[::2], form.tensors[1::2], strict=True)
    for factor, weight, bias in ((factor, weight[..., 0], bias[..., 0]) for factor, weight, bias in layers):
        if factor.permutes:
            assert (bias.diff(dim=1) > 0).all()
        if factor.scales == "signs":
            assert (bias >= 0).all()
        if factor.scales == "positive":
            norms = (weight.square().sum(2) + bias.square()).sqrt()
            torch.testing.assert_close(norms, torch.ones_like(norms), rtol=1e-12, atol=0)


def test_the_largest_group_is_the_default():
    space = ws.mlp([3, 6, 2], activation="tanh")
    theta = networks(space)
    assert torch.equal(ws.canonicalize(theta).theta.flatten(), ws.canonicalize(theta, space.symmetry()).theta.flatten())
    assert (ws.canonicalize(theta).theta["0.bias"] >= 0).all()


def test_a_form_under_permutations_alone_changes_under_signs_and_scales():
    """Negative control: the smaller group does not remove what the larger one does."""
    for activation in ("tanh", "relu"):
        space = ws.mlp([3, 6, 5, 2], activation=activation)
        theta, group = networks(space), space.symmetry("permutation")
        larger = space.symmetry()
        moved = larger.act(larger.sample(5, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
        assert error(ws.canonicalize(moved, group).theta, ws.canonicalize(theta, group).theta) > 0.1


@pytest.mark.parametrize("group", GROUPS[:4], ids=IDS[:4])
def test_biases_that_move_by_less_than_half_the_margin_keep_the_element(group):
    theta = networks(group.space, 20)
    form = ws.canonicalize(theta, group)
    generator = torch.Generator().manual_seed(1)
    push = torch.randint(0, 2, theta.flatten().shape, generator=generator, dtype=torch.float64) * 2 - 1
    push = 0.499 * push * form.margin[:, None]
    pieces = push.split([t[0].numel() for t in theta.tensors], dim=1)
    pushed = ws.WeightFeatures(
        theta.space, tuple(t + p.view(t.shape) for t, p in zip(theta.tensors, pieces, strict=True))
    )
    again = ws.canonicalize(pushed, group)
    assert all(torch.equal(a, b) for a, b in zip(orders(again.element), orders(form.element), strict=True))
    # the form moves by as much as the network: a local isometry
    torch.testing.assert_close((again.theta - form.theta).flatten().norm(dim=1), push.norm(dim=1), rtol=1e-9, atol=0)


def test_a_bias_that_moves_beyond_the_margin_changes_the_order():
    space = ws.mlp([1, 3, 1], activation="gelu")
    theta = networks(space, 1)
    bias = torch.tensor([0.5, -0.25, 0.4], dtype=torch.float64)[None, :, None]
    theta = space.features({**theta, "0.bias": bias})
    form = ws.canonicalize(theta)
    torch.testing.assert_close(form.margin, torch.tensor([0.1], dtype=torch.float64))
    assert form.element["hidden1"].permutation.tolist() == [[1, 2, 0]]
    nearer = space.features({**theta, "0.bias": bias + torch.tensor([-0.051, 0, 0.051])[None, :, None]})
    assert ws.canonicalize(nearer).element["hidden1"].permutation.tolist() == [[1, 0, 2]]


def test_the_margin_under_signs_is_the_distance_from_zero_too():
    space = ws.mlp([1, 3, 1], activation="tanh")
    bias = torch.tensor([[0.5, -0.9, 0.02]], dtype=torch.float64)[..., None]
    theta = space.features({**networks(space, 1), "0.bias": bias})
    form = ws.canonicalize(theta)
    torch.testing.assert_close(form.margin, torch.tensor([0.02], dtype=torch.float64))
    assert form.element["hidden1"].scale.tolist() == [[1, -1, 1]]
    torch.testing.assert_close(form.theta["0.bias"].flatten(), torch.tensor([0.02, 0.5, 0.9], dtype=torch.float64))


@every_group
def test_a_tie_has_margin_zero_and_colours_break_it(group):
    theta = networks(group.space, 2)
    first = next(g for g, f in zip(group.space.groups, group.factors, strict=True) if f.permutes)
    layer = [g.name for g in group.space.groups].index(first.name) - 1
    names = list(theta)[2 * layer : 2 * layer + 2]
    tied = {name: theta[name].clone() for name in names}
    # rows of equal norm and equal bias, so that the keys agree under every group; only the second network is tied
    tied[names[0]][1, 1] = tied[names[0]][1, 0].flip(0)
    tied[names[1]][1, 1] = tied[names[1]][1, 0]
    theta = group.space.features({**theta, **tied})
    form = ws.canonicalize(theta, group)
    assert form.margin[0] > 0
    assert form.margin[1] < 1e-15
    # scales leave the keys of the tied neurons equal up to rounding alone, which must not decide
    for seed in range(6):
        element = group.sample(2, torch.Generator().manual_seed(seed), dtype=torch.float64)
        again = ws.canonicalize(group.act(element, theta), group)
        assert error(again.theta, form.theta) <= 1e-12


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu"])
def test_networks_without_biases_are_sorted_by_colours(activation):
    space = ws.mlp([3, 12, 9, 2], activation=activation)
    theta = space.features({n: 0 * t if n.endswith("bias") else t for n, t in networks(space).items()})
    group = space.symmetry()
    form = ws.canonicalize(theta)
    assert (form.margin == 0).all()
    for seed in range(3):
        moved = group.act(group.sample(5, torch.Generator().manual_seed(seed), dtype=torch.float64), theta)
        assert error(ws.canonicalize(moved).theta, form.theta) <= 1e-12


def test_a_tie_that_colours_do_not_break_leaves_the_order_open():
    """Negative control: the cycle of length 8 has one colour in each layer."""
    theta, _ = ws.theory.wl_pair()
    group = theta.space.symmetry("permutation")
    form = ws.canonicalize(theta, group)
    elements = (group.sample(1, torch.Generator().manual_seed(seed)) for seed in range(4))
    assert max(error(ws.canonicalize(group.act(g, theta), group).theta, form.theta) for g in elements) > 0.1


def test_a_neuron_that_nothing_enters_keeps_its_scale_and_has_margin_zero():
    space = ws.mlp([2, 3, 1], activation="relu")
    theta = networks(space, 2)
    dead = {name: theta[name].clone() for name in ("0.weight", "0.bias")}
    for tensor in dead.values():
        tensor[1, 2] = 0
    theta = space.features({**theta, **dead}).map(lambda t: t.requires_grad_())
    form = ws.canonicalize(theta)
    assert form.margin[0] > 0
    assert form.margin[1] == 0
    assert form.theta.flatten().isfinite().all()
    form.theta.flatten().square().sum().backward()
    assert all(t.grad.isfinite().all() for t in theta.tensors)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_weights_whose_squares_are_out_of_range(size):
    space = ws.mlp([3, 6, 5, 2])
    theta = networks(space, dtype=torch.float32)
    scaled = space.features({n: t if n in ("2.weight", "4.weight") else size * t for n, t in theta.items()})
    form, usual = ws.canonicalize(scaled), ws.canonicalize(theta)
    torch.testing.assert_close(form.margin, usual.margin, rtol=1e-3, atol=0)
    assert (
        error(form.theta, space.features({n: size * t if n[0] == "4" else t for n, t in usual.theta.items()})) <= 1e-5
    )


def test_a_group_that_moves_nothing():
    space = ws.mlp([2, 1])
    theta = networks(space)
    form = ws.canonicalize(theta)
    assert torch.equal(form.theta.flatten(), theta.flatten())
    assert form.margin.tolist() == [math.inf] * 5


@every_group
def test_gradients(group):
    """The form is smooth off ties: finite differences of every entry agree with autograd."""
    space = group.space
    theta = networks(space, 1)

    def flat_form(*tensors):
        return ws.canonicalize(ws.WeightFeatures(space, tensors), group).theta.flatten()

    assert torch.autograd.gradcheck(flat_form, tuple(t.requires_grad_() for t in theta.tensors), fast_mode=True)


def test_batch_equals_one_by_one():
    for group in GROUPS:
        theta = networks(group.space, 4)
        form = ws.canonicalize(theta, group)
        for i in range(4):
            single = ws.canonicalize(theta[i], group)
            assert torch.equal(single.theta.flatten(), form.theta[i].flatten())
            assert torch.equal(single.margin, form.margin[i : i + 1])


def test_the_element_of_one_channel_acts_on_all():
    group = GROUPS[4]
    theta = networks(group.space)
    element, margin = canonical_element(theta, group)
    form = ws.canonicalize(theta, group)
    assert torch.equal(margin, form.margin)
    doubled = group.act(element, theta.concatenate(theta * 2.0))
    torch.testing.assert_close(doubled.map(lambda t: t[..., 1:]).flatten(), 2 * form.theta.flatten())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ws.canonicalize(networks(GROUPS[0].space).concatenate(networks(GROUPS[0].space))),
            "found weight features with 2",
        ),
        (
            lambda: ws.canonicalize(networks(GROUPS[0].space), ws.mlp([2, 3, 1]).symmetry()),
            "another weight space: widths: expected 3-6-5-2, found 2-3-1",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.SymmetryError, match=message):
        call()
