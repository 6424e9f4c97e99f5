import math

import pytest
import torch
from _orbits import networks
from _spaces import attention_space, small_spaces

import weightspace as ws
from weightspace.theory import general_position_probability, in_general_position, quantise


def with_biases(*biases):
    """Networks 1-n-1 with given hidden biases and equal weights."""
    bias = torch.tensor(biases, dtype=torch.float64)[..., None]
    space = ws.mlp([1, bias.shape[1], 1])
    ones = {p.name: torch.ones(len(bias), *p.shape, 1, dtype=torch.float64) for p in space.parameters}
    return space.features(ones | {"0.bias": bias})


def test_the_margin_of_biases_is_their_smallest_gap():
    found = in_general_position(with_biases([0, 1, 3], [5, 2, 2.25], [1, 2, 1]))
    assert found.margin.tolist() == [1, 0.25, 0]
    assert found.holds.tolist() == [True, True, False]


def test_the_margin_of_colours_is_where_chains_of_entries_tie():
    """Biases 0, 1, 3 have steps of 1 and 2: bridging 1 is enough to make two neurons look alike."""
    assert in_general_position(with_biases([0, 1, 3], [1, 2, 1]), "wl").margin.tolist() == [1, 0]
    theta = with_biases([0, 1, 3])
    tensors = dict(theta.items()) | {"2.weight": torch.tensor([0.0, 5, 5], dtype=torch.float64).view(1, 1, 3, 1)}
    assert in_general_position(theta.space.features(tensors), "wl").margin.tolist() == [2]


@pytest.mark.parametrize("name", small_spaces())
def test_any_space(name):
    """The margin is that of the canonical form, and colours never tell fewer networks apart."""
    theta = networks(small_spaces()[name], 6)
    colors = in_general_position(theta, "wl")
    assert colors.holds.all()
    group = theta.space.symmetry("permutation")
    moved = group.act(group.sample(6), theta)
    assert torch.equal(in_general_position(moved, "wl").margin, colors.margin)
    if name.startswith("attention"):
        with pytest.raises(ws.TheoryError, match=r'neuron group .* has no bias to be told apart by; take level="wl"'):
            in_general_position(theta)
    else:
        found = in_general_position(theta)
        torch.testing.assert_close(found.margin, ws.canonicalize(theta, "permutation").margin, rtol=0, atol=0)
        assert (colors.margin >= found.margin).all()


@pytest.mark.parametrize("seed", range(3))
def test_networks_that_move_by_less_than_half_the_margin_stay_in_general_position(seed):
    theta = quantise(networks(ws.mlp([2, 6, 5, 2]), 20, seed), 5)  # with many ties
    found = in_general_position(theta, "wl")
    assert found.holds.any()
    signs = torch.Generator().manual_seed(seed)
    by = 0.499 * found.margin

    def moved(t):
        up = torch.randint(0, 2, t.shape, generator=signs).to(t) * 2 - 1
        return t + up * by.view(-1, *[1] * (t.dim() - 1))

    assert in_general_position(theta.map(moved), "wl").holds[found.holds].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_precision(dtype):
    """Entries are compared as they are, although half precision cannot count them."""
    theta = networks(ws.mlp([2, 64, 64, 1]), 1).to(dtype)
    found = in_general_position(theta, "wl")
    exact = in_general_position(theta.to(torch.float64), "wl")
    assert found.margin.dtype == dtype
    assert found.holds == exact.holds
    torch.testing.assert_close(found.margin.double(), exact.margin, rtol=0.01, atol=1e-6)


def test_more_entries_than_half_precision_can_count():
    """Neighbouring numbers on neighbouring neurons, 8000 in all; everything else is constant."""
    space = ws.mlp([1, 2, 4000, 1])
    tensors = {p.name: torch.ones(1, *p.shape, 1, dtype=torch.float16) for p in space.parameters}
    numbers = torch.arange(1, 8001, dtype=torch.int16).view(torch.float16)
    assert in_general_position(space.features(tensors | {"2.weight": numbers.view(1, 4000, 2, 1)}), "wl").holds


def test_one_unit_or_none_is_always_in_general_position():
    for dims in ([3, 2], [2, 1, 2]):
        for level in ("bias", "wl"):
            assert in_general_position(networks(ws.mlp(dims), 2), level).margin.tolist() == [math.inf] * 2


def test_equal_neurons_and_regular_graphs_are_exceptions():
    clones = with_biases([1, 1, 2])
    assert not in_general_position(clones, "wl").holds
    assert not in_general_position(ws.theory.wl_pair()[0], "wl").holds


def test_bad_input_is_refused():
    theta = networks(ws.mlp([2, 3, 1]), 2)
    with pytest.raises(ws.TheoryError, match="level: expected 'bias' or 'wl', found 'gp5'"):
        in_general_position(theta, "gp5")
    with pytest.raises(ws.TheoryError, match="1 channel; found 2"):
        in_general_position(theta.concatenate(theta))
    with pytest.raises(ws.TheoryError, match="bias"):
        in_general_position(networks(attention_space(), 2))
    for bits in (0, 33, 2.5):
        with pytest.raises(ws.TheoryError, match="bits: expected a whole number from 1 to 32"):
            quantise(theta, bits)
    with pytest.raises(ws.TheoryError, match="density: expected 'uniform' or 'normal', found 'beta'"):
        general_position_probability([4], 8, "beta")
    for widths, bits, name in (([0], 8, "width"), ([2.5], 8, "width"), ([4], 0, "bits"), ([4], 1.5, "bits")):
        with pytest.raises(ws.TheoryError, match=f"{name}: expected a whole number, at least 1"):
            general_position_probability(widths, bits)
    for level in ("bias", "wl"):
        for value in (math.nan, math.inf):
            broken = theta.map(lambda t, value=value: t * value)
            with pytest.raises(ws.TheoryError, match=r"general position: .*: expected finite numbers"):
                in_general_position(broken, level)
        with pytest.raises(ws.TheoryError, match="general position: expected at least one network"):
            in_general_position(theta[:0], level)


def test_quantised_networks_lie_on_a_grid():
    theta = networks(ws.mlp([2, 16, 16, 1]), 3)
    rounded = quantise(theta, 3)
    for before, after in zip(theta.tensors, rounded.tensors, strict=True):
        low, high = before.flatten(1).amin(1), before.flatten(1).amax(1)
        step = ((high - low) / 7).view(-1, *[1] * (before.dim() - 1))
        assert ((after - before).abs() <= step / 2 + 1e-12).all()
        assert all(len(row.unique()) <= 8 for row in after.flatten(1))
    assert quantise(theta, 32).flatten() == pytest.approx(theta.flatten(), abs=1e-8)
    again = quantise(rounded, 3).flatten()
    torch.testing.assert_close(again, rounded.flatten(), rtol=0, atol=1e-14)


def measured(width, bits, density, batch=100_000):
    """The share of networks 1-n-1 in general position after `quantise`."""
    generator = torch.Generator().manual_seed(100 * width + bits)
    bias = {"uniform": torch.rand, "normal": torch.randn}[density](
        batch, width, 1, generator=generator, dtype=torch.float64
    )
    theta = with_biases([0.0] * width)
    theta = theta.map(lambda t: t.expand(batch, *t.shape[1:]))
    rounded = quantise(theta.space.features({**theta, "0.bias": bias}), bits)
    return float(in_general_position(rounded).holds.double().mean())


SMALL = [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 3), (8, 3), (8, 6), (9, 3), (16, 7), (32, 8)]


@pytest.mark.parametrize(("width", "bits"), SMALL)
def test_the_birthday_formula_for_uniform_values_is_exact(width, bits):
    """0.0065 is 4 standard deviations of 100 000 networks, at most."""
    assert general_position_probability([width], bits) == pytest.approx(measured(width, bits, "uniform"), abs=0.0065)


@pytest.mark.parametrize(("width", "bits"), SMALL)
def test_the_birthday_formula_for_normal_values_is_near(width, bits):
    tolerance = 0.03 if width < 32 else 0.01
    found = general_position_probability([width], bits, "normal")
    assert found == pytest.approx(measured(width, bits, "normal"), abs=tolerance)


def test_layers_are_independent_and_many_neurons_collide():
    one, two = (general_position_probability(widths, 9, "normal") for widths in ([20], [20, 20]))
    assert two == pytest.approx(one**2)
    assert general_position_probability([3], 60, "normal") == pytest.approx(1)
    assert general_position_probability([257], 8) == general_position_probability([300], 8, "normal") == 0


def test_normal_values_meet_as_often_as_their_expected_range_says():
    """The expected range of 3 normal values is 3 / sqrt(pi): the formula has a single factor 1 - s."""
    collide = 1 - general_position_probability([3], 10, "normal")
    assert collide * (2**10 - 1) == pytest.approx(2 * 3 / math.sqrt(math.pi) / (2 * math.sqrt(math.pi)), rel=1e-6)
