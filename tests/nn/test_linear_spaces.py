"""Equivariant linear maps on the spaces of networks that are no plain chains of layers."""

import itertools
import math
from collections import Counter

import pytest
import torch
from _spaces import attention_space, conv_space, depthwise_space, norm_space, residual_space, small_spaces
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import MONOMIAL, PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL, MonomialGroup
from weightspace.nn import EquivariantLinear, InvariantPool
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

SPACES = small_spaces()
TINY = {
    "conv": conv_space(channels=(2, 2, 2), positions=2, outputs=1),
    "conv-tanh": conv_space("tanh", channels=(2, 2, 2), positions=2, outputs=1),
    "residual": residual_space(hidden=2, blocks=1, taps=1),
    "residual-tanh": residual_space("tanh", hidden=2, blocks=1, taps=1),
    "norm": norm_space(),
    "attention": attention_space(),
    "depthwise": depthwise_space(),
}
GROUPS = ("largest", "permutation")


def group_of(space, group):
    return space.symmetry(None if group == "largest" else group).restricted(linear=False)


def matrices(space, group, count=12):
    """For each parameter the matrices [count, entries, entries] of random group elements, by the action itself."""
    sizes = [math.prod(p.shape) for p in space.parameters]
    element = group.sample(count, torch.Generator().manual_seed(1), dtype=torch.float64, scale_range=2.0)
    eyes = [
        torch.eye(n, dtype=torch.float64).reshape(1, *p.shape, n) for n, p in zip(sizes, space.parameters, strict=True)
    ]
    channels = max(sizes)
    padded = [torch.nn.functional.pad(eye, (0, channels - eye.shape[-1])) for eye in eyes]
    theta = ws.WeightFeatures(space, tuple(t.expand(count, *t.shape[1:]) for t in padded))
    moved = group.act(element, theta)
    return [t.reshape(count, n, channels)[..., :n] for t, n in zip(moved.tensors, sizes, strict=True)]


def commutant_dimension(space, group):
    """dim {M : M g = g M for all g}, block by block, from random elements, which generate all there is."""
    total = 0
    each = matrices(space, group)
    for source, target in itertools.product(each, each):
        n, m = source.shape[1], target.shape[1]
        left = torch.einsum("gij,kl->gikjl", target, torch.eye(n, dtype=torch.float64))
        right = torch.einsum("ij,glk->gikjl", torch.eye(m, dtype=torch.float64), source)
        equations = (left - right).reshape(-1, n * m)
        values = torch.linalg.eigvalsh(equations.mT @ equations)
        assert not ((values > 1e-10) & (values < 1e-4)).any()  # zero, or clearly not
        total += int((values <= 1e-10).sum())
    return total


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", TINY)
def test_there_is_one_coefficient_for_each_dimension_of_the_commutant(name, group):
    symmetry = group_of(TINY[name], group)
    layer = EquivariantLinear(TINY[name], 1, 1, symmetry=symmetry)
    assert sum(p.numel() for p in layer.linear_parameters()) == commutant_dimension(TINY[name], symmetry)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", SPACES)
def test_it_commutes_with_the_group(name, group, rank):
    space, symmetry = SPACES[name], group_of(SPACES[name], group)
    torch.manual_seed(0)
    layer = EquivariantLinear(space, 2, 3, symmetry=symmetry, reduction="sum", rank=rank)
    assert_equivariant(layer, space, symmetry, channels=2)
    if group == "permutation":
        layer = EquivariantLinear(space, 2, 3, reduction="max", neuron_map="attention", rank=rank)
        assert_equivariant(layer, space, channels=2)
        assert_invariant(InvariantPool(space, 2), space, channels=2)


@pytest.mark.parametrize("name", SPACES)
def test_permutations_alone_are_not_the_whole_group(name):
    """Negative control: the scales of the largest group break a map that respects its permutations."""
    space = SPACES[name]
    torch.manual_seed(0)
    assert equivariance_error(EquivariantLinear(space, 1, 2), space, space.symmetry().restricted(linear=False)) > 1e-2


SCALED = {
    "positive": POSITIVE_MONOMIAL,
    "signs": SIGNED_PERMUTATION,
    "nonzero": MONOMIAL,
    "none": PERMUTATION,
}


@st.composite
def labelled_spaces(draw):
    """Any axes: up to three for each parameter, of groups, of tied groups, of both on a diagonal, or plain.

    Units occur at most twice on a parameter: with more, groups of four have too few units for all partitions.
    """
    names = [draw(st.sampled_from(sorted(SCALED))) for _ in range(2)]
    groups = [NeuronGroup("input", 2, "input")]
    groups += [NeuronGroup(f"g{i}", 4 + i, largest=SCALED[name]) for i, name in enumerate(names)]
    behind = draw(st.sampled_from(["positive", "signs", "nonzero"]))
    scales = MonomialGroup("scales", permutes=False, scales=behind)
    groups.append(NeuronGroup("tied", 4, largest=scales, tied="g0"))
    side = st.sampled_from(["out", "in"])

    def axis():
        group = draw(st.sampled_from([None, *groups]))
        if group is None:
            return Axis(draw(st.integers(1, 2)))
        other = {"g0": "tied", "tied": "g0"}.get(group.name)
        second = (other, draw(side)) if other and draw(st.booleans()) else None
        return Axis(group.size, group.name, draw(st.sampled_from(["out", "in", None])), second)

    count = draw(st.integers(1, 4))
    parameters = [Parameter(f"p{i}", tuple(axis() for _ in range(draw(st.integers(0, 3))))) for i in range(count)]
    space = WeightSpace(tuple(groups), tuple(parameters))
    assume(all(n <= 2 for p in parameters for n in Counter(space.group(g).units for g in p.groups).values()))
    return space


@settings(max_examples=40, deadline=None)
@given(labelled_spaces(), st.integers(0, 99))
def test_any_labels(space, seed):
    torch.manual_seed(seed)
    symmetry = space.symmetry()
    layer = EquivariantLinear(space, 1, 2, symmetry=symmetry)
    assert_equivariant(layer, space, symmetry, seed=seed)
    assert sum(p.numel() for p in layer.linear_parameters()) == 2 * pairs_of_entries(space, symmetry)


def pairs_of_entries(space, group):
    """Orbits of pairs of entries under the permutations, of those that all scales multiply alike."""
    entries = [entry for p in space.parameters for entry in entries_of(space, group, p)]
    orbits = set()
    for (name, places, charge), (other, more, as_well) in itertools.product(entries, entries):
        if charge == as_well:
            first_seen = {}
            numbers = [first_seen.setdefault(place, len(first_seen)) if place[0] else place for place in places + more]
            orbits.add((name, other, tuple(zip([p[0] for p in places + more], numbers, strict=True))))
    return len(orbits)


def entries_of(space, group, parameter):
    """(parameter, the units of its axes, with which exponents the scales of which units multiply the entry)."""
    for index in itertools.product(*map(range, parameter.shape)):
        places, charge = [], {}
        for axis, i in zip(parameter.axes, index, strict=True):
            units = axis.group and space.group(axis.group).units
            places.append((units if units and group.factor(units).permutes else None, i))
            for name, side in axis.carried():
                if group.factor(name).scales != "none":
                    total = charge.get((name, i), 0) + (1 if side == "out" else -1)
                    charge[name, i] = total % 2 if group.factor(name).scales == "signs" else total
        yield parameter.name, tuple(places), {unit: exponent for unit, exponent in charge.items() if exponent}


def test_low_rank_where_coefficients_would_explode():
    space = ws.mlp([300, 3, 1])
    full, low = (EquivariantLinear(space, 2, 2, rank=rank) for rank in (None, 8))
    count = [sum(p.numel() for p in layer.parameters()) for layer in (full, low)]
    assert count[0] > 600**2
    assert count[1] < 40 * 600
    theta = space.sample(2).map(lambda t: t.expand(*t.shape[:-1], 2))
    torch.manual_seed(0)
    low.reset_parameters()
    assert 0.2 < low(theta)["0.weight"].std() / theta["0.weight"].std() < 3
    low(theta).flatten().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in low.parameters())
    # an entry is not squeezed through the bottleneck with all others
    changed = theta.map(torch.clone)
    changed["0.weight"][0, 1, 7] += 1.0
    change = (low(changed)["0.weight"] - low(theta)["0.weight"])[0, 1].abs().sum(-1)
    assert change.argmax() == 7


INR, CNN = ws.siren([2, 32, 32, 3]), conv_space(channels=(3, 16, 16), taps=3, positions=1, outputs=10)


@pytest.mark.parametrize(
    ("space", "name", "task"),
    [
        *itertools.product([INR], ["dws", "np-nfn", "hnp-nfn", "unf", "monomial-nfn"], ["equivariant", "invariant"]),
        *itertools.product([CNN], ["dws", "hnp-nfn", "unf"], ["equivariant"]),
    ],
    ids=lambda x: x.summary() if isinstance(x, WeightSpace) else x,
)
def test_published_configurations_have_all_coefficients(space, name, task):
    with torch.device("meta"):
        net = ws.build(name, space, task)
    assert not any(layer.around for layer in net.modules() if isinstance(layer, EquivariantLinear))


def test_large_networks_have_low_rank_by_default():
    """784 input neurons, or the residual stream of a transformer, which all its blocks share."""
    for space in (ws.mlp([784, 8, 10]), attention_space(blocks=12)):
        with torch.device("meta"):
            low, full = (ws.build("dws", space, hidden=8, depth=2, rank=rank) for rank in (None, 10**6))
        count = [sum(p.numel() for p in net.parameters()) for net in (low, full)]
        assert count[0] < 0.2 * count[1]


def test_refusals():
    space = attention_space()
    with pytest.raises(ws.ModelError, match=r"'qk0': no entry-wise map .*restricted\(linear=False\)"):
        EquivariantLinear(space, 1, 1, symmetry=space.symmetry())
    norm = norm_space()
    fixed = SymmetryGroup(norm, tuple(TRIVIAL if g.name == "pre0" else g.symmetry for g in norm.groups))
    with pytest.raises(ws.ModelError, match="'post0': a group that scales neurons must permute them too"):
        EquivariantLinear(norm, 1, 1, symmetry=fixed)
    with pytest.raises(ws.ModelError, match="a maximum does not commute with signs"):
        EquivariantLinear(norm, 1, 1, symmetry=norm.symmetry(), reduction="max")
    with pytest.raises(ws.ModelError, match=r"\['hidden1'\] have 20002 features in .* pass a smaller rank .* np-nfn"):
        EquivariantLinear(ws.mlp([20000, 4, 1]), 1, 1)
