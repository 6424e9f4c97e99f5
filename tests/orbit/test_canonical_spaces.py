import pytest
import torch
from _orbits import check_form, error, networks, orders
from _spaces import attention_space, norm_space, residual_space, small_spaces
from torch import nn

import weightspace as ws
from weightspace.group import MONOMIAL, PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace


def hand_made(parameters):
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("a", 4), NeuronGroup("output", 1, "output"))
    out = {g.name: Axis(g.size, g.name, "out") for g in groups}
    into = {g.name: Axis(g.size, g.name, "in") for g in groups}
    return WeightSpace(groups, tuple(parameters(out, into)))


CONVOLUTION = hand_made(
    lambda out, into: [
        Parameter("conv", (Axis(3), out["a"], into["input"], Axis(2))),
        Parameter("shift", (out["a"],)),
        Parameter("gain", (out["a"],)),
        Parameter("head", (out["output"], into["a"])),
    ]
)


@pytest.mark.parametrize("factor", [PERMUTATION, SIGNED_PERMUTATION, POSITIVE_MONOMIAL], ids=lambda f: f.name)
def test_taps_and_several_vectors(factor):
    group = SymmetryGroup(CONVOLUTION, (TRIVIAL, factor, TRIVIAL))
    theta = networks(CONVOLUTION)
    form = ws.canonicalize(theta, group)
    moved = group.act(group.sample(5, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
    assert error(ws.canonicalize(moved, group).theta, form.theta) <= 1e-12
    assert (form.theta["shift"].diff(dim=1) > 0).all()
    assert not (form.theta["gain"].diff(dim=1) > 0).all()


def monomial_everywhere(space):
    """Every scale but 0 on all hidden units: no symmetry of the function, but a group like others."""
    return SymmetryGroup(space, tuple(MONOMIAL if g.kind == "hidden" else TRIVIAL for g in space.groups))


OTHER_GROUPS = {
    f"{name}, {which}": group
    for name, space in small_spaces().items()
    for which, group in (
        ("largest", space.symmetry()),
        ("permutation", space.symmetry("permutation")),
        ("identity component", space.symmetry().identity_component()),
    )
}
OTHER_GROUPS |= {
    "nonzero scales": monomial_everywhere(ws.mlp([3, 5, 4, 2])),
    "nonzero scales on a stream": monomial_everywhere(residual_space(blocks=3)),
    "wide norms": norm_space((3, 8, 8, 8)).symmetry(),
    "wide attention": attention_space(2, 16, 4, 4, 8, 5, 7).symmetry(),
    "all permuted": SymmetryGroup(ws.mlp([4, 5, 3]), (PERMUTATION, POSITIVE_MONOMIAL, PERMUTATION)),
}


@pytest.mark.parametrize("group", OTHER_GROUPS.values(), ids=OTHER_GROUPS)
def test_networks_that_are_no_chains(group):
    check_form(group)


@pytest.mark.parametrize("name", ["norm", "attention", "residual"])
def test_the_element_holds_one_permutation_for_units_that_are_tied(name):
    space = small_spaces()[name]
    element = ws.canonicalize(networks(space)).element
    tied = [g for g in space.groups if g.tied or g.over]
    assert tied or name == "residual"
    for group in tied:
        assert torch.equal(element[group.name].permutation, element[group.tied or group.over].permutation)


def test_norms_have_gain_and_shift_of_norm_one():
    form = ws.canonicalize(networks(norm_space())).theta
    for i in range(2):
        gain, shift = (form[f"norm{i}.{name}"].squeeze(-1) for name in ("weight", "bias"))
        torch.testing.assert_close(gain.square() + shift.square(), torch.ones_like(gain), rtol=1e-12, atol=0)
        assert (shift.diff(dim=1) > 0).all()


def test_heads_come_in_the_order_of_their_norm():
    """Whatever bases the coordinates of the heads have, and whatever the order of the stream."""
    space = attention_space(1, 8, 4, 2)
    form = ws.canonicalize(networks(space)).theta
    heads = {(p.name, p.groups.index("heads0") + 1) for p in space.parameters if "heads0" in p.groups}
    assert len(heads) == 7
    squares = [form[name].movedim(axis, 1).flatten(2).square().sum(2) for name, axis in heads]
    assert (sum(squares).diff(dim=1) > 0).all()


BIAS_FREE = {"conv": small_spaces()["conv"], "norm": norm_space(), "attention": attention_space()}


@pytest.mark.parametrize("space", BIAS_FREE.values(), ids=BIAS_FREE)
def test_convolutions_without_biases_have_a_margin(space):
    """Their key is the mean of the largest and the smallest incoming weight."""
    kept = tuple(p for p in space.parameters if len(p.axes) > 1)
    space = WeightSpace(space.groups, kept)
    check_form(space.symmetry("permutation"))
    for parameter, tensor in ws.canonicalize(networks(space), space.symmetry("permutation")).theta.items():
        entering = tensor.flatten(2)
        if parameter in ("first.weight", "second.weight", "conv0.weight", "conv1.weight"):
            assert ((entering.amax(2) + entering.amin(2)).diff(dim=1) > 0).all()


@pytest.mark.parametrize("name", small_spaces())
def test_entries_that_move_by_less_than_half_the_margin_keep_the_order(name):
    group = small_spaces()[name].symmetry("permutation")
    theta = networks(group.space, 20)
    form = ws.canonicalize(theta, group)
    generator = torch.Generator().manual_seed(1)

    def push(tensor):
        signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
        return tensor + 0.499 * form.margin.view(-1, *(1,) * (tensor.dim() - 1)) * signs

    pushed = theta.map(push)
    again = ws.canonicalize(pushed, group)
    assert all(torch.equal(a, b) for a, b in zip(orders(again.element), orders(form.element), strict=True))
    assert orders(form.element)


@pytest.mark.parametrize("name", small_spaces())
def test_single_precision(name):
    group = small_spaces()[name].symmetry()
    theta = networks(group.space, dtype=torch.float32)
    moved = group.act(group.sample(5, torch.Generator().manual_seed(0)), theta)
    form, again = ws.canonicalize(theta), ws.canonicalize(moved)
    assert form.theta.dtype == form.margin.dtype == torch.float32
    assert (form.margin > 0).all()
    assert error(again.theta, form.theta) <= 1e-3
    assert error(form.theta.to(torch.float64), ws.canonicalize(theta.to(torch.float64)).theta) <= 1e-3


RECURRENT = hand_made(
    lambda out, into: [
        Parameter("in", (out["a"], into["input"])),
        Parameter("shift", (out["a"],)),
        Parameter("loop", (out["a"], into["a"])),
        Parameter("head", (out["output"], into["a"])),
    ]
)
NO_BIAS = hand_made(lambda out, into: [Parameter("w", (out["a"], into["input"])), Parameter("b", (into["a"],))])
READ_ONLY = hand_made(lambda out, into: [Parameter("head", (out["output"], into["a"]))])


@pytest.mark.parametrize("space", [RECURRENT, NO_BIAS, READ_ONLY], ids=["recurrent", "no bias", "read only"])
@pytest.mark.parametrize("factor", [PERMUTATION, SIGNED_PERMUTATION, POSITIVE_MONOMIAL, MONOMIAL], ids=lambda f: f.name)
def test_what_determines_the_scales(space, factor):
    """A loop does not; what leaves the units does where nothing enters them."""
    check_form(SymmetryGroup(space, (TRIVIAL, factor, TRIVIAL)), positive=space is not READ_ONLY)


LOOP_ONLY = hand_made(lambda out, into: [Parameter("loop", (out["a"], into["a"]))])


def test_a_loop_alone_orders_its_units_by_colours():
    check_form(LOOP_ONLY.symmetry("permutation"), positive=False)


@pytest.mark.parametrize("factor", [SIGNED_PERMUTATION, POSITIVE_MONOMIAL])
def test_a_loop_alone_does_not_determine_scales(factor):
    message = r"neuron group 'a': no parameter determines its scales.* are none. Leave .*: group=\"permutation\", or"
    with pytest.raises(ws.SymmetryError, match=message):
        ws.canonicalize(networks(LOOP_ONLY), SymmetryGroup(LOOP_ONLY, (TRIVIAL, factor, TRIVIAL)))


def test_what_the_message_about_scales_says_works():
    net = nn.Sequential(nn.Linear(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))
    space = ws.from_module(net, torch.randn(4, 3))
    theta = networks(space)
    with pytest.raises(ws.SymmetryError, match=r"Leave the scales out: group=\"permutation\", or restricted"):
        ws.canonicalize(theta)
    for group in (space.symmetry("permutation"), space.symmetry().restricted(scales=False)):
        moved = group.act(group.sample(len(theta), dtype=theta.dtype), theta)
        assert error(ws.canonicalize(moved, group).theta, ws.canonicalize(theta, group).theta) <= 1e-12
