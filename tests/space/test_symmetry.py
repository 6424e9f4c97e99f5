import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.testing.strategies import feed_forward_spaces


def wide_weights(space, batch, seed):
    """Weights that make arguments of order one, so that no symmetry holds by smallness and nothing is chaotic."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    tensors = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return space.features({n: t / space.groups[1].activation.frequency for n, t in tensors.items()})


@settings(max_examples=60, deadline=None)
@given(feed_forward_spaces(max_width=12), st.integers(0, 2**16))
def test_the_largest_group_preserves_the_function(space, seed):
    theta = wide_weights(space, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    group = space.symmetry()
    g, h = (group.sample(4, generator, dtype=torch.float64) for _ in range(2))
    x = torch.randn(7, space.groups[0].size, generator=generator, dtype=torch.float64)
    expected = space.realize(theta, x)
    assert (space.realize(group.act(g, theta), x) - expected).abs().max() <= 1e-11 * expected.abs().max()
    twice = group.act(h, group.act(g, theta)).flatten()
    assert (group.act(group.compose(h, g), theta).flatten() - twice).abs().max() <= 1e-12 * twice.abs().max()
    back = group.act(group.inverse(g), group.act(g, theta)).flatten()
    assert (back - theta.flatten()).abs().max() <= 1e-11 * theta.flatten().abs().max()
    assert torch.equal(group.act(group.identity(4), theta).flatten(), theta.flatten())


def test_permuted_sirens_show_the_same_image_to_1e_12():
    space = ws.siren([2, 32, 32, 1])
    theta = space.sample(8, torch.Generator().manual_seed(0)).to(torch.float64)
    g = space.symmetry("permutation").sample(8, torch.Generator().manual_seed(1))
    x = torch.rand(100, 2, dtype=torch.float64) * 2 - 1
    moved = space.symmetry("permutation").act(g, theta)
    assert (moved.flatten() - theta.flatten()).abs().max() > 1e-3
    assert (space.realize(moved, x) - space.realize(theta, x)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("relu", "positive_monomial"),
        ("tanh", "signed_permutation"),
        ("sine", "signed_permutation"),
        ("gelu", "permutation"),
        ("silu", "permutation"),
        ("identity", "general_linear"),
    ],
)
def test_largest_group_of_each_activation(activation, name):
    factors = ws.mlp([3, 4, 5, 2], activation=activation).symmetry().factors
    assert [factor.name for factor in factors] == ["trivial", name, name, "trivial"]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("relu", "signed_permutation"),
        ("tanh", "positive_monomial"),
        ("sine", "positive_monomial"),
        ("gelu", "signed_permutation"),
        ("silu", "positive_monomial"),
    ],
)
def test_a_group_that_changes_the_function_is_refused_and_does_change_it(activation, name):
    space = ws.mlp([3, 6, 2], activation=activation)
    with pytest.raises(ws.SymmetryError, match=rf"{name} would change .*'hidden1' has activation '{activation}'"):
        space.symmetry(name)
    # the refusal is right: acting with it all the same changes what the network computes
    by_name = {"signed_permutation": ws.group.SIGNED_PERMUTATION, "positive_monomial": ws.group.POSITIVE_MONOMIAL}
    factors = tuple(by_name[name] if g.kind == "hidden" else ws.group.TRIVIAL for g in space.groups)
    forced = ws.space.SymmetryGroup(space, factors)
    theta = wide_weights(space, 4, 0)
    x = torch.randn(7, 3, dtype=torch.float64)
    moved = forced.act(forced.sample(4, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
    assert (space.realize(moved, x) - space.realize(theta, x)).abs().max() > 0.1


def test_unknown_group():
    with pytest.raises(ws.SymmetryError, match="unknown group 'braid'; known: trivial, permutation"):
        ws.mlp([2, 3, 1]).symmetry("braid")


def test_an_element_that_does_not_fit_is_refused():
    space, other = ws.mlp([2, 3, 1]), ws.mlp([2, 4, 1])
    group = space.symmetry()
    with pytest.raises(ws.SymmetryError, match="another weight space: widths: expected 2-3-1, found 2-4-1"):
        group.act(group.sample(2), other.sample(2))
    with pytest.raises(ws.SymmetryError, match=r"'hidden1' has a scale of shape \(3, 3\); expected \(2 or 1, 3\)"):
        group.act(group.sample(3), space.sample(2))
    with pytest.raises(ws.SymmetryError, match="no matrix for neuron group 'hidden1'"):
        group.act({"input": ws.group.Monomial(), "output": ws.group.Monomial()}, space.sample(2))


def test_one_element_acts_on_a_whole_batch_and_leaves_channels_alone():
    space = ws.mlp([2, 5, 1])
    theta = space.features({p.name: torch.randn(4, *p.shape, 3) for p in space.parameters})
    group = space.symmetry()
    g = group.sample(1, torch.Generator().manual_seed(0))
    moved = group.act(g, theta)
    for channel in range(3):
        single = theta.map(lambda t, c=channel: t[..., c : c + 1])
        for name, tensor in group.act(g, single).items():
            assert torch.equal(moved[name][..., channel : channel + 1], tensor)


def test_elements_can_be_drawn_on_a_device():
    space = ws.mlp([2, 3, 1], activation="tanh")
    group = space.symmetry()
    for element in (group.sample(2, device="meta"), group.identity(2, device="meta")):
        assert {part.device.type for part in element["hidden1"]} == {"meta"}
        assert element["input"] == ws.group.Monomial()
