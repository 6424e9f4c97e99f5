from itertools import permutations, product
from typing import get_args

import pytest
import torch

import weightspace as ws
from weightspace.theory import design_pair, gram_norm, output_gap, with_inner_weights, wl_colors, wl_pair
from weightspace.theory._outputs import COLOR_REFINING, fitted_readout, random_outputs
from weightspace.theory._pairs import Kind

KINDS = get_args(Kind)
VALUES = {"c8": [24, 32], "c12": [120, 132], "242": [8, 4], "latin": [72, 0], "333": [18, -18]}


def inner(theta):
    """The matrices between hidden layers of one network."""
    return [t[0, :, :, 0] for name, t in theta.items() if name.endswith("weight")][1:-1]


def orders(n):
    return torch.tensor(list(permutations(range(n))))


def rearranged(theta):
    """All inner weights that permutations of hidden neurons lead to, by plain loops: the orbit."""
    matrices = inner(theta)
    widths = [matrices[0].shape[1], *(m.shape[0] for m in matrices)]
    found = set()
    for chosen in product(*(orders(n) for n in widths)):
        moved = [m[rows][:, columns] for m, columns, rows in zip(matrices, chosen[:-1], chosen[1:], strict=True)]
        found.add(tuple(float(x) for m in moved for x in m.flatten()))
    return found


@pytest.mark.parametrize("kind", ["c8", "242", "latin", "333"])
def test_the_orbits_differ_by_brute_force(kind):
    first, second = wl_pair(kind)
    assert not rearranged(first) & rearranged(second)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair(kind):
    pair = wl_pair(kind)
    theta, phi = pair
    assert len(pair) == 2
    assert theta.dtype == torch.float64
    assert torch.equal(pair.both.flatten(), torch.cat([theta.flatten(), phi.flatten()]))
    assert torch.equal(pair[1].flatten(), phi.flatten())
    assert pair.functional(pair.both).tolist() == VALUES[kind]
    assert ws.same_orbit(theta, phi) == ws.same_orbit(theta, phi, "permutation") == [False]
    for color in wl_colors(pair.both, "permutation").values():
        assert torch.equal(*color.sort(1).values)


@pytest.mark.parametrize("kind", KINDS)
def test_functionals_are_invariant_and_continuous(kind):
    pair = wl_pair(kind)
    generator = torch.Generator().manual_seed(0)
    theta = pair.both.space.sample(8, generator).to(torch.float64)
    group = theta.space.symmetry("permutation")
    moved = group.act(group.sample(8, generator), theta)
    torch.testing.assert_close(pair.functional(moved), pair.functional(theta), rtol=1e-12, atol=1e-12)
    near = theta.map(lambda t: t + 1e-9 * torch.randn(t.shape, generator=generator, dtype=t.dtype))
    torch.testing.assert_close(pair.functional(near), pair.functional(theta), rtol=1e-6, atol=1e-6)


def test_nearest_networks_of_the_two_orbits():
    """The weights of the smallest pair differ in four places at least."""
    (ours,), (theirs,) = (inner(theta) for theta in wl_pair("c8"))
    distances = [(ours[p][:, q] - theirs).abs().sum() for p in orders(4) for q in orders(4)]
    assert min(distances) == 4


def test_the_norm_of_the_gram_matrix_does_not_separate_the_longer_cycles():
    pair = wl_pair("c12")
    assert gram_norm(pair.both).tolist() == [36, 36]
    assert torch.linalg.matrix_rank(pair.both["2.weight"][..., 0]).tolist() == [5, 6]


def test_adjacency_matrices_are_a_trap():
    """The 6-cycle and two triangles are different graphs, yet rows and columns are permuted independently."""
    cycle = torch.eye(6).roll(1, 0) + torch.eye(6).roll(-1, 0)
    triangles = torch.block_diag(*[torch.ones(3, 3) - torch.eye(3)] * 2)
    theta, phi = with_inner_weights(cycle[None]), with_inner_weights(triangles[None])
    assert ws.same_orbit(theta, phi) == [True]
    columns = sorted(cycle[[0, 2, 4, 1, 3, 5]].T.tolist())
    assert columns == sorted(triangles.T.tolist())


def test_gaps_with_controls():
    """Two networks of one orbit look alike to NFT too; a changed weight is seen by all."""
    theta, phi = wl_pair("c8")
    group = theta.space.symmetry("permutation")
    moved = group.act(group.sample(1, torch.Generator().manual_seed(0)), theta)
    changed = theta.space.features({**theta, "2.weight": theta["2.weight"] + torch.eye(4)[None, ..., None]})
    assert output_gap("nft", theta, moved, hidden=8, depth=2, networks=3) < 1e-14
    for name, options in COLOR_REFINING.items():
        assert output_gap(name, theta, phi, hidden=8, depth=3, networks=3, **options) < 1e-14
        assert output_gap(name, theta, changed, hidden=8, depth=3, networks=3, **options) > 1e-4


def test_gaps_are_reproducible_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    gap = output_gap("nft", *wl_pair("c8"), hidden=8, depth=1, networks=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert output_gap("nft", *wl_pair("c8"), hidden=8, depth=1, networks=2) == gap
    outputs = random_outputs("nft", wl_pair("c8").both, 2, 0, hidden=8, depth=1, out_features=4)
    relative = [(o[0] - o[1]).abs().max() / o.abs().max() for o in outputs]
    assert gap == pytest.approx(float(max(relative)))


def test_readouts_are_least_squares_that_leave_rounding_out():
    features, target = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    design = torch.cat([features, torch.ones(9, 1, dtype=torch.float64)], 1)
    expected = design @ torch.linalg.lstsq(design, target).solution
    torch.testing.assert_close(fitted_readout(features, target), expected)
    same = torch.ones(2, 3, dtype=torch.float64) + 1e-15 * torch.eye(2, 3, dtype=torch.float64)
    torch.testing.assert_close(fitted_readout(same, same.new_tensor([[-1.0], [1.0]])), same.new_zeros(2, 1))


def test_networks_with_inner_weights():
    theta = with_inner_weights(torch.randn(3, 4, 2), torch.randn(3, 5, 4))
    assert theta.space.summary() == "1-2-4-5-1"
    assert len(theta) == 3
    assert theta["0.weight"].unique().tolist() == theta["6.weight"].unique().tolist() == [1]
    assert [float(theta[f"{2 * i}.bias"].unique()) for i in range(4)] == [0.5, -0.25, 0.125, -0.0625]


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ((), r"expected matrices \[batch, n_out, n_in\], found shapes \[\]"),
        ((torch.eye(3),), r"found shapes \[\(3, 3\)\]"),
        ((torch.ones(1, 3, 2), torch.ones(1, 2, 4)), r"expected weights \(1, 2, 4\) to follow \(1, 3, 2\)"),
        ((torch.ones(1, 3, 2), torch.ones(2, 2, 3)), "batches or widths differ"),
    ],
)
def test_inner_weights_that_do_not_fit(matrices, message):
    with pytest.raises(ws.TheoryError, match=message):
        with_inner_weights(*matrices)


def test_an_unknown_pair():
    with pytest.raises(ws.TheoryError, match="unknown pair 'c9'; known: 'c8', 'c12', '242', 'latin', '333'"):
        wl_pair("c9")


def rank_modulo_2(matrix):
    rows = [int("".join(str(int(x)) for x in row), 2) for row in matrix]
    rank = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            rank += 1
            low = pivot & -pivot
            rows = [row ^ pivot if row & low else row for row in rows]
    return rank


def test_the_designs():
    pair = design_pair()
    expected = 4 * torch.eye(16, dtype=torch.float64) + 2
    ranks = []
    for theta in pair:
        (matrix,) = inner(theta)
        assert torch.equal(matrix.unique(), torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert torch.equal(matrix @ matrix.T, expected)
        assert torch.equal(matrix.T @ matrix, expected)
        ranks.append(rank_modulo_2(matrix))
    assert ranks == [6, 7]  # so no permutations lead from one to the other
    assert pair.functional(pair.both).tolist() == [4096, 2944]
    assert gram_norm(pair[0]) == gram_norm(pair[1])
    group = pair.both.space.symmetry("permutation")
    moved = group.act(group.sample(2, torch.Generator().manual_seed(0)), pair.both)
    assert pair.functional(moved).tolist() == [4096, 2944]


def test_nft_does_not_see_the_designs_until_biases_differ():
    theta, phi = design_pair()
    assert output_gap("nft", theta, phi, hidden=16, depth=3, networks=3) < 1e-13
    steps = 0.1 * torch.arange(16, dtype=torch.float64)[None, :, None]
    apart = [t.space.features({**t, "0.bias": steps, "2.bias": steps}) for t in (theta, phi)]
    assert output_gap("nft", *apart, hidden=16, depth=3, networks=3) > 1e-6
