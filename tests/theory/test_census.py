from itertools import permutations

import pytest
import torch

import weightspace as ws
from weightspace.theory import ambiguous_classes, binary_orbits, census, gram_norm, wl_pair

SIZE = {"hidden": 16, "depth": 4}
# 316: the classes of colour refinement, which takes one pair of orbits for one; 317: all orbits
CLASSES = {
    "dws": (316, {"reduction": "mean"}),
    "hnp-nfn": (316, {}),
    "np-nfn": (316, {"positions": True}),
    "unf": (316, {}),
    "gmn": (316, {}),
    "ng-gnn": (316, {}),
    "ng-t": (316, {}),
    "nft": (317, {}),
}


@pytest.mark.parametrize("name", CLASSES)
def test_census(name):
    expected, options = CLASSES[name]
    found = census(name, **SIZE, **options)
    assert (found.classes, found.orbits) == (expected, 317)
    assert found.gap >= 1e-9
    assert found.spread <= 1e-12


def middle(theta):
    return theta["2.weight"][..., 0]


def refined(matrices):
    """The stable colouring of each matrix, rows and columns as nodes: a plain loop, colours shared by all matrices."""
    names = {}
    colourings = []
    for matrix in matrices.long().tolist():
        rows, columns = [0] * 4, [0] * 4
        for _ in range(8):
            row_signs = [
                ("row", rows[i], tuple(sorted((columns[j], matrix[i][j]) for j in range(4)))) for i in range(4)
            ]
            column_signs = [
                ("column", columns[j], tuple(sorted((rows[i], matrix[i][j]) for i in range(4)))) for j in range(4)
            ]
            rows = [names.setdefault(sign, len(names)) for sign in row_signs]
            columns = [names.setdefault(sign, len(names)) for sign in column_signs]
        colourings.append((tuple(sorted(rows)), tuple(sorted(columns))))
    return colourings


def orbit_of(matrix):
    """The smallest of all 24 x 24 matrices that permutations of rows and columns lead to."""
    rows = torch.tensor(list(permutations(range(4))))
    every = matrix[rows[:, None, :, None], rows[None, :, None, :]].reshape(-1, 16)
    return int((every.long() << torch.arange(16)).sum(1).min())


def test_the_orbits_are_all_the_orbits():
    theta = binary_orbits()
    assert theta.dtype == torch.float64
    matrices = middle(theta)
    orbits = {orbit_of(m) for m in matrices}
    assert len(matrices) == len(orbits) == 317
    every = torch.arange(2**16)[:, None] >> torch.arange(16) & 1
    sample = every[torch.randperm(2**16, generator=torch.Generator().manual_seed(0))[:500]].view(-1, 4, 4)
    assert {orbit_of(m) for m in sample} <= orbits
    for name, tensor in theta.items():
        assert name == "2.weight" or len(tensor.unique()) == 1


def test_colour_refinement_has_316_classes_and_merges_the_pair():
    orbits = middle(binary_orbits())
    colourings = refined(orbits)
    assert len(set(colourings)) == 316
    (merged,) = [c for c in set(colourings) if colourings.count(c) > 1]
    pair = torch.cat([middle(theta) for theta in wl_pair("c8")])
    assert refined(torch.cat([orbits, pair]))[-2:] == [merged, merged]


def test_a_pair_apart_in_general_position_is_told_apart():
    """Other biases give every neuron a colour of its own: nothing is lost off the ties."""
    apart = []
    for theta in wl_pair("c8"):
        spread = torch.linspace(0, 1, 4, dtype=torch.float64)[None, :, None]
        apart.append(theta.space.features({**theta, "0.bias": spread, "2.bias": spread}))
    torch.manual_seed(0)
    net = ws.build("dws", apart[0].space, task="invariant", reduction="mean", **SIZE).double().eval()
    with torch.no_grad():
        assert (net(apart[0]) - net(apart[1])).abs().max() > 1e-6
        assert (net(wl_pair("c8")[0]) - net(wl_pair("c8")[1])).abs().max() < 1e-13


def test_maps_whose_classes_are_known():
    """The counting itself: an orbit's number, a functional with known values, a constant, and what is not invariant."""
    known = census(lambda theta: torch.tensor([[float(orbit_of(m))] for m in middle(theta)], dtype=torch.float64))
    assert (known.classes, known.spread) == (317, 0)
    values = gram_norm(binary_orbits()).unique()
    grams = census(lambda theta: gram_norm(theta)[:, None])
    assert grams.classes == len(values)
    assert grams.gap == pytest.approx(float(values.diff().min() / gram_norm(binary_orbits()).std()), rel=0.01)
    constant = census(lambda theta: torch.full((len(theta), 2), 0.1, dtype=torch.float64))
    assert (constant.classes, constant.gap, constant.spread) == (1, 0, 0)
    assert census(lambda theta: theta.flatten()).classes > 317


def test_maxima_tell_fewer_apart_and_ties_break_canonical_forms():
    assert census("dws", reduction="max", **SIZE).classes < 316
    assert census("canon-mlp", hidden=16).classes > 317


def test_the_same_seed_gives_the_same_census_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = census("dws", reduction="mean", hidden=8, depth=2, networks=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert census("dws", reduction="mean", hidden=8, depth=2, networks=1) == first


def test_other_orbits():
    """With one hidden layer all multisets of neurons are told apart, ties or not."""
    neurons = torch.tensor([[w, b, u] for w in (0.0, 1) for b in (0.0, 1) for u in (0.0, 1)]).double()
    chosen = torch.tensor([[i, j, k] for k in range(8) for j in range(k + 1) for i in range(j + 1)])
    w, b, u = neurons[chosen].unbind(2)
    tensors = {"0.weight": w[:, :, None], "0.bias": b, "2.weight": u[:, None], "2.bias": torch.zeros(120, 1).double()}
    orbits = ws.mlp([1, 3, 1]).features({name: t[..., None] for name, t in tensors.items()})
    found = census("dws", orbits=orbits, reduction="mean", **SIZE)
    assert (found.classes, found.orbits) == (120, 120)
    assert found.gap > 1e-2
    assert found.spread < 1e-12


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_orbits_of_other_shapes(rows, columns):
    found = middle(binary_orbits(rows, columns))
    assert found.shape[1:] == (rows, columns)
    every = torch.arange(2 ** (rows * columns))[:, None] >> torch.arange(rows * columns) & 1
    orbits = {
        min(
            tuple(m[list(p)][:, list(q)].flatten().tolist())
            for p in permutations(range(rows))
            for q in permutations(range(columns))
        )
        for m in every.view(-1, rows, columns)
    }
    assert len(found) == len(orbits)


def test_the_smallest_ambiguous_class():
    """No smaller binary matrix has one, and one of the 4 x 4 matrices has: the pair."""
    assert [len(ambiguous_classes(m, n)) for m, n in ((2, 2), (2, 3), (3, 3), (3, 4), (3, 5))] == [0] * 5
    (found,) = ambiguous_classes(4, 4)
    assert len(found) == 2
    pair = wl_pair("c8").both
    order = gram_norm(found).argsort()
    assert ws.same_orbit(found[order], pair, "permutation") == [True, True]


def test_larger_matrices_have_more_ambiguous_classes():
    found = ambiguous_classes(4, 5)
    assert found
    for networks in found:
        others = networks[[*range(1, len(networks)), 0]]
        assert ws.same_orbit(networks, others, "permutation") == [False] * len(networks)


def test_too_many_matrices():
    with pytest.raises(ws.TheoryError, match="fewer entries than 6 x 6"):
        binary_orbits(6, 6)


def test_the_picture():
    from matplotlib.figure import Figure

    found = census("dws", reduction="mean", **SIZE)
    assert found.distances.shape == (317, 317)
    nearest = found.nearest()
    assert torch.equal(nearest, nearest.sort().values)
    assert (nearest <= 1e-10).sum() == 2  # the pair
    figure = Figure()
    found.draw(figure)
    figure.draw_without_rendering()
    assert "316 classes of 317 orbits" in [axes.get_title() for axes in figure.axes]
