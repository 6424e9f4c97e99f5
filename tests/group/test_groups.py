import pytest
import torch

from weightspace.group import GENERAL_LINEAR, MONOMIAL, PERMUTATION, POSITIVE_MONOMIAL, SIGNED_PERMUTATION, TRIVIAL

GROUPS = [TRIVIAL, PERMUTATION, SIGNED_PERMUTATION, POSITIVE_MONOMIAL, MONOMIAL, GENERAL_LINEAR]


def matrices(group, element, n):
    """The elements as dense matrices, column by column, through nothing but `apply`."""
    batch = next((part.shape[0] for part in element if part is not None), 1)
    return group.apply(element, torch.eye(n, dtype=torch.float64).expand(batch, n, n), axis=1)


@pytest.fixture
def elements():
    generator = torch.Generator().manual_seed(0)
    return lambda group, n=5: group.sample(6, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_elements_form_a_group(group, elements):
    a, b = elements(group), elements(group)
    ma, mb = matrices(group, a, 5), matrices(group, b, 5)
    torch.testing.assert_close(matrices(group, group.compose(b, a), 5), mb @ ma, rtol=0, atol=1e-14)
    torch.testing.assert_close(matrices(group, group.inverse(a), 5), torch.linalg.inv(ma), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrices(group, group.contragredient(a), 5), torch.linalg.inv(ma).mT, rtol=0, atol=1e-12)
    identity = matrices(group, group.identity(1, 5), 5)
    torch.testing.assert_close(identity, torch.eye(5, dtype=torch.float64).expand_as(identity))


def test_convention_is_scale_then_permute(elements):
    element = elements(POSITIVE_MONOMIAL)
    x = torch.arange(1.0, 6.0, dtype=torch.float64).expand(6, 5)
    moved = POSITIVE_MONOMIAL.apply(element, x, axis=1)
    for b in range(6):
        for i in range(5):
            j = element.permutation[b, i]
            assert moved[b, i] == element.scale[b, j] * x[b, j]


@pytest.mark.parametrize(
    ("group", "entries"),
    [(TRIVIAL, {0.0, 1.0}), (PERMUTATION, {0.0, 1.0}), (SIGNED_PERMUTATION, {-1.0, 0.0, 1.0})],
    ids=lambda v: getattr(v, "name", None),
)
def test_samples_lie_in_the_group_and_fill_it(group, entries, elements):
    dense = matrices(group, elements(group, 5), 5)
    assert set(dense.unique().tolist()) == entries
    assert (dense.abs().sum(1) == 1).all()
    assert (dense.abs().sum(2) == 1).all()


def test_scales_are_positive_within_their_range_and_random():
    scale = POSITIVE_MONOMIAL.sample(100, 50, generator=torch.Generator().manual_seed(0), scale_range=1e3).scale
    assert scale.min() >= 1e-3
    assert scale.max() <= 1e3
    assert scale.log().std() > 3  # log-uniform on ±ln(1000) has 3.99


def test_subgroups():
    assert all(group.contains(TRIVIAL) for group in GROUPS)
    assert SIGNED_PERMUTATION.contains(PERMUTATION)
    assert POSITIVE_MONOMIAL.contains(PERMUTATION)
    assert not PERMUTATION.contains(SIGNED_PERMUTATION)
    assert not SIGNED_PERMUTATION.contains(POSITIVE_MONOMIAL)
    assert not POSITIVE_MONOMIAL.contains(SIGNED_PERMUTATION)


def test_seeded_samples_repeat():
    draws = [POSITIVE_MONOMIAL.sample(3, 7, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(draws[0].permutation, draws[1].permutation)
    assert torch.equal(draws[0].scale, draws[1].scale)
