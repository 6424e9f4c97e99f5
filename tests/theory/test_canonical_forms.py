import pytest
import torch
from _orbits import error

import weightspace as ws
from weightspace.theory.checks import _canonical_forms as check
from weightspace.theory.checks._changes import generator


@pytest.mark.parametrize("seed", range(3))
def test_the_lift_of_any_map_is_equivariant(seed):
    theta = check._normal(check.SPACE, 20)
    element = check.GROUP.sample(20, generator(seed))
    moved = check.GROUP.act(element, theta)
    assert torch.equal(check._lift(moved).flatten(), check.GROUP.act(element, check._lift(theta)).flatten())
    # the map itself is not equivariant: without sorting, it is no lift
    rolled = [n.map(lambda t: t.flatten(1).roll(1, dims=1).view_as(t)) for n in (moved, theta)]
    assert error(rolled[0], check.GROUP.act(element, rolled[1])) > 0.1


def test_moves_beyond_half_the_margin_may_change_the_order():
    """Negative control of the local isometry."""
    theta = check._normal(check.SPACE, 200)
    _, element, margin = ws.canonicalize(theta, "permutation")
    by = {part: check._noisy(theta, part * margin) for part in (0.49, 3.0)}
    same = {part: torch.equal(check._form(phi), check.GROUP.act(element, phi).flatten()) for part, phi in by.items()}
    assert same == {0.49: True, 3.0: False}


def test_the_jump_does_not_shrink_with_the_distance():
    for gap in (1e-1, 1e-4, 1e-8, 1e-12):
        weights, forms = check._across_a_tie(gap, clones=False)
        assert weights == pytest.approx(2**0.5 * gap)
        assert forms == pytest.approx(check._exchange(), rel=0.02)
        assert check._across_a_tie(gap, clones=True)[1] == 0


def test_noise_is_of_the_stated_size():
    theta = check._normal(check.SPACE, 400)
    assert (theta.flatten().std(), theta.flatten().mean()) == (pytest.approx(1, abs=0.01), pytest.approx(0, abs=0.01))
    moved = (check._noisy(theta, torch.arange(400) / 400.0) - theta).flatten()
    assert (moved.abs().amax(1) <= torch.arange(400) / 400 + 1e-12).all()
    assert moved[-1].max() > 0.9
    assert moved[-1].min() < -0.9
    assert (check._noisy(theta, 0.5, normal=True) - theta).flatten().std() == pytest.approx(0.5, rel=0.02)


def test_chambers_are_as_many_as_orders():
    """Sharper than the check: no order is missing on 2-4-2 either."""
    orders = ws.canonicalize(check._normal(ws.mlp([2, 4, 2]), 2000), "permutation").element["hidden1"].permutation
    assert len(orders.unique(dim=0)) == 24
