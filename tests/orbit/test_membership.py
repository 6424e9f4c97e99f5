import itertools

import pytest
import torch
from _orbits import networks
from _spaces import attention_space, norm_space, residual_space, small_spaces
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import Linear, Monomial
from weightspace.orbit import _search
from weightspace.testing.strategies import feed_forward_spaces

GROUPS = {
    f"{name}, {which}": group
    for name, space in small_spaces().items()
    for which, group in (("largest", space.symmetry()), ("permutation", space.symmetry("permutation")))
}
GROUPS["identity component"] = attention_space().symmetry().identity_component()
GROUPS["linear chain"] = ws.mlp([6, 4, 5], activation="identity").symmetry()


def moved(group, theta, seed=0):
    dtype = theta.dtype
    return group.act(group.sample(len(theta), torch.Generator().manual_seed(seed), dtype=dtype), theta)


def pushed(theta, size, seed=0):
    """All entries moved a little."""
    generator = torch.Generator().manual_seed(seed)
    return theta.map(lambda t: t + size * torch.randn(t.shape, generator=generator).to(t))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_random_pairs(group, dtype):
    theta = networks(group.space, 4, dtype=dtype)
    other = moved(group, theta)
    assert ws.same_orbit(theta, other, group) == [True] * 4
    assert ws.same_orbit(theta, other[[1, 2, 3, 0]], group) == [False] * 4
    small, large = (1e-14, 1e-7) if dtype == torch.float64 else (1e-7, 1e-2)
    assert ws.same_orbit(pushed(other, small), theta, group) == [True] * 4
    assert True not in ws.same_orbit(pushed(other, large), theta, group)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_perturbed_pairs_are_told_apart_in_double_precision(group):
    theta = networks(group.space, 4)
    assert ws.same_orbit(pushed(moved(group, theta), 1e-6), theta, group) == [False] * 4


@settings(max_examples=25, deadline=None)
@given(feed_forward_spaces(max_width=10), st.integers(0, 2**16))
def test_feed_forward_networks(space, seed):
    group = space.symmetry().restricted(linear=False)
    theta = networks(space, 3, seed)
    assert ws.same_orbit(theta, moved(group, theta, seed), group) == [True] * 3
    assert ws.same_orbit(theta, networks(space, 3, seed + 1), group) == [False] * 3


def test_entries_that_change_places_are_told_apart():
    """The same weights in each parameter, with biases that tie: sorted entries and biases say nothing."""
    space = ws.mlp([3, 9, 8, 2], activation="gelu")
    theta = networks(space, 4)
    theta = space.features({n: 0 * t if n.endswith("bias") else t for n, t in theta.items()})
    shuffled = space.features({**theta, "2.weight": theta["2.weight"].flatten(1).flip(1).view_as(theta["2.weight"])})
    assert ws.same_orbit(theta, shuffled) == [False] * 4
    assert ws.same_orbit(theta, moved(space.symmetry(), theta)) == [True] * 4


def test_agrees_with_all_permutations():
    """On networks 1-3-3-1 with few different weights, whose middle ones change places."""
    space = ws.mlp([1, 3, 3, 1], activation="gelu")
    theta = networks(space, 400).map(lambda t: (t > 0.5).to(t))
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(400, 9, generator=generator).argsort(dim=1)
    middle = theta["2.weight"].flatten(1).gather(1, order).view(400, 3, 3, 1)
    phi = space.features({**theta, "2.weight": middle})
    group = space.symmetry()
    expected = torch.zeros(400, dtype=torch.bool)
    for p, q in itertools.product(itertools.permutations(range(3)), repeat=2):
        element = group.identity(1)
        element |= {"hidden1": Monomial(torch.tensor([p])), "hidden2": Monomial(torch.tensor([q]))}
        expected |= (group.act(element, phi) - theta).flatten().abs().amax(1) == 0
    found = ws.same_orbit(theta, phi)
    assert found == expected.tolist()
    assert 40 < sum(found) < 360


@pytest.mark.parametrize("group", [None, "permutation"])
def test_the_pair_that_refinement_does_not_tell_apart(group):
    theta, phi = ws.theory.wl_pair()
    assert ws.same_orbit(theta, phi, group) == [False]
    for seed in range(5):
        assert ws.same_orbit(theta, moved(theta.space.symmetry(group), theta, seed), group) == [True]


def test_all_orbits_of_the_census_are_told_apart():
    orbits = ws.theory.binary_orbits()
    assert ws.same_orbit(orbits, moved(orbits.space.symmetry("permutation"), orbits), "permutation") == [True] * 317
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randint(0, 317, (2, 600), generator=generator)
    assert ws.same_orbit(orbits[ours], orbits[theirs], "permutation") == (ours == theirs).tolist()


def cycles(*lengths):
    """A network 1-n-n-1 of one colour in each layer: its middle weights are cycles of twice these lengths."""
    n = sum(lengths)
    space = ws.mlp([1, n, n, 1], activation="gelu")
    middle = torch.block_diag(*(torch.eye(k) + torch.eye(k).roll(1, dims=1) for k in lengths))
    constant = {p.name: torch.ones(1, *p.shape, 1, dtype=torch.float64) for p in space.parameters}
    return space.features({**constant, "2.weight": middle[None, ..., None].double()})


def test_larger_regular_graphs():
    theta = cycles(12)
    assert ws.same_orbit(theta, moved(theta.space.symmetry(), theta)) == [True]
    assert ws.same_orbit(theta, cycles(6, 6)) == [False]
    assert ws.same_orbit(cycles(3, 6, 3), moved(cycles(12).space.symmetry(), cycles(6, 3, 3))) == [True]
    assert ws.same_orbit(cycles(3, 5), cycles(4, 4)) == [False]


def test_none_where_the_search_is_too_large(monkeypatch):
    monkeypatch.setattr(_search, "_BRANCHES", 8)
    assert ws.same_orbit(cycles(16), cycles(8, 8)) == [None]
    assert ws.same_orbit(cycles(8), cycles(4, 4)) == [False]


def test_clones_can_be_exchanged():
    space = ws.mlp([2, 6, 5, 1])
    theta = networks(space, 3)
    clones = {"0.weight": 1, "0.bias": 1, "2.weight": 2}
    tensors = dict(theta)
    for name, axis in clones.items():
        tensors[name] = theta[name].index_select(axis, torch.tensor([0, 1, 2, 2, 2, 2]))
    theta = space.features(tensors)
    for group in (space.symmetry(), space.symmetry("permutation")):
        assert ws.same_orbit(theta, moved(group, theta), group) == [True] * 3
        assert ws.same_orbit(theta, moved(group, theta)[[1, 2, 0]], group) == [False] * 3
    # clones that differ in what leaves them are none
    split = theta["2.weight"].clone()
    split[:, 0, 3] += 1
    other = space.features({**theta, "2.weight": split})
    assert ws.same_orbit(theta, other) == [False] * 3


def test_none_where_a_scale_is_open():
    space = ws.mlp([2, 4, 1])
    theta = networks(space, 2)
    dead = {name: theta[name].clone() for name in ("0.weight", "0.bias")}
    for tensor in dead.values():
        tensor[1, 2] = 0
    theta = space.features({**theta, **dead})
    assert ws.same_orbit(theta, theta) == [True, True]
    other = space.features({**theta, "2.weight": theta["2.weight"] * torch.tensor([1, 1, 2, 1])[:, None].double()})
    assert ws.same_orbit(theta, other) == [False, None]
    assert ws.same_orbit(theta, other, "permutation") == [False, False]
    # what carries none of it decides all the same
    different = space.features({**other, "2.bias": theta["2.bias"] + 1})
    assert ws.same_orbit(theta, different) == [False, False]


def test_none_where_a_sign_is_open():
    """A bias of the size of the tolerance, on both sides of zero."""
    space = ws.mlp([2, 3, 1], activation="tanh")
    theta = networks(space, 1)
    bias = torch.tensor([[0.5, -0.9, 1e-12]], dtype=torch.float64)[..., None]
    theta = space.features({**theta, "0.bias": bias})
    other = space.features({**theta, "0.bias": bias * torch.tensor([1, 1, -1])[:, None]})
    assert ws.same_orbit(theta, other) == [None]
    assert ws.same_orbit(theta, other, "permutation") == [True]
    # an exact zero is none: the weights decide
    zero = space.features({**theta, "0.bias": bias * torch.tensor([1, 1, 0])[:, None]})
    assert ws.same_orbit(zero, moved(space.symmetry(), zero)) == [True]
    assert ws.same_orbit(zero, networks(space, 1, 5)) == [False]


def test_equal_singular_values_leave_matrices_open():
    space = ws.mlp([4, 2, 4], activation="identity")
    theta = networks(space, 1)
    first, second = torch.eye(2, 4).double(), torch.eye(4, 2).double()
    theta = space.features(
        {n: 0 * t for n, t in theta.items()} | {"0.weight": first[None, ..., None], "2.weight": second[None, ..., None]}
    )
    assert ws.canonicalize(theta).margin.item() < 1e-12
    for seed in range(4):
        assert ws.same_orbit(theta, moved(space.symmetry(), theta, seed)) == [True]
    swapped = space.features({**theta, "2.weight": theta["2.weight"].flip(1)})
    assert ws.same_orbit(theta, swapped) == [None]
    # a reflection is none of the identity component, in which the same basis is open
    group = space.symmetry().identity_component()
    reflection = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    mirrored = group.act({**group.identity(1), "hidden1": Linear(reflection)}, theta)
    assert ws.same_orbit(theta, mirrored) == [True]
    assert ws.same_orbit(theta, mirrored, group) != [True]


def test_an_open_sign_leaves_those_open_that_it_decides():
    """Without a bias, the signs of the second layer are read off weights that the open sign of the first one flips."""
    space = ws.mlp([2, 3, 4, 1], activation="tanh")
    theta = networks(space, 1)
    bias = torch.tensor([[0.5, -0.9, 1e-12]], dtype=torch.float64)[..., None]
    weight = theta["2.weight"].clone()
    weight[:, :, 2] *= 10  # outweighs the others
    theta = space.features({**theta, "0.bias": bias, "2.weight": weight, "2.bias": 0 * theta["2.bias"]})
    other = space.features({**theta, "0.bias": bias * torch.tensor([1, 1, -1])[:, None]})
    assert ws.same_orbit(theta, other) == [None]


def test_the_tolerance_is_relative_to_the_largest_entry():
    space = ws.mlp([2, 4, 1], activation="gelu")
    theta = networks(space, 3)
    near = pushed(theta, 1e-5)
    for size in (1e-6, 1.0, 1e6):
        a, b = theta * size, near * size
        assert ws.same_orbit(a, b) == [False] * 3
        assert ws.same_orbit(a, b, tolerance=1e-3) == [True] * 3


def test_wide_networks():
    for space in (ws.mlp([20, 300, 300, 3]), ws.mlp([20, 300, 300, 3], activation="tanh"), norm_space((3, 32, 32))):
        group, theta = space.symmetry(), space.sample(2, torch.Generator().manual_seed(0))
        assert ws.same_orbit(theta, moved(group, theta)) == [True] * 2
        assert ws.same_orbit(theta, space.sample(2, torch.Generator().manual_seed(1))) == [False] * 2


def test_a_batch_of_none():
    theta = networks(residual_space(), 0)
    assert ws.same_orbit(theta, theta) == []


SPACE = ws.mlp([2, 3, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ws.same_orbit(networks(SPACE, 2), networks(SPACE, 3)), "2 networks in torch.float64, 3 in"),
        (
            lambda: ws.same_orbit(networks(SPACE, 2), networks(SPACE, 2, dtype=torch.float32)),
            "2 networks in torch.float64, 2 in torch.float32",
        ),
        (lambda: ws.same_orbit(networks(SPACE), networks(SPACE), tolerance=2), "from 0 to 1, found 2"),
        (lambda: ws.same_orbit(networks(SPACE), networks(SPACE), tolerance="1"), "from 0 to 1, found '1'"),
        (lambda: ws.same_orbit(networks(SPACE), networks(ws.mlp([2, 4, 1]))), "different weight spaces: widths"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.SymmetryError, match=message):
        call()
