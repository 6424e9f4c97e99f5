import pytest
import torch

from weightspace.group import GENERAL_LINEAR, PERMUTATION, POSITIVE_MONOMIAL, GeneralLinearGroup

POSITIVE = GeneralLinearGroup("positive_general_linear", positive=True)


def sample(group=GENERAL_LINEAR, batch=500, n=4, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return group.sample(batch, n, generator=generator, dtype=torch.float64, **options)


@pytest.mark.parametrize("scale_range", [1.0, 10.0, 1e3])
def test_samples_are_as_well_conditioned_as_asked(scale_range):
    values = torch.linalg.svdvals(sample(scale_range=scale_range).matrix)
    assert (values[:, 0] / values[:, -1]).max() <= scale_range * (1 + 1e-9)
    assert (values[:, 0] / values[:, -1]).max() >= scale_range**0.7


def test_determinants_have_both_signs_or_the_positive_one():
    both = torch.linalg.det(sample().matrix)
    assert 200 < (both > 0).sum() < 300
    assert (torch.linalg.det(sample(POSITIVE).matrix) > 0).all()
    assert (torch.linalg.det(sample(POSITIVE, n=1).matrix) > 0).all()


def test_matrices_over_heads_multiply_before_the_heads_are_permuted():
    permutation = torch.tensor([[2, 0, 1]])
    element = sample(batch=1, n=2, heads=3, permutation=permutation)
    x = torch.randn(1, 3, 2, 5, dtype=torch.float64)
    moved = PERMUTATION.apply(
        PERMUTATION.sample(1, 3, permutation=permutation), GENERAL_LINEAR.apply(element, x, 2, 1), 1
    )
    for head in range(3):
        source = int(permutation[0, head])
        torch.testing.assert_close(moved[0, head], element.matrix[0, source] @ x[0, source])


def test_matrices_over_heads_form_a_group_with_the_permutations_of_the_heads():
    generator = torch.Generator().manual_seed(1)
    a, b = (
        sample(batch=7, n=2, heads=3, permutation=torch.rand(7, 3, generator=generator).argsort(1), seed=s)
        for s in (2, 3)
    )
    x = torch.randn(7, 3, 2, 5, dtype=torch.float64)

    def act(element, x):
        x = GENERAL_LINEAR.apply(element, x, 2, 1)
        return PERMUTATION.apply(PERMUTATION.sample(7, 3, permutation=element.permutation), x, 1)

    torch.testing.assert_close(act(GENERAL_LINEAR.compose(b, a), x), act(b, act(a, x)))
    torch.testing.assert_close(act(GENERAL_LINEAR.inverse(a), act(a, x)), x)


def test_which_groups_contain_which():
    assert GENERAL_LINEAR.contains(POSITIVE_MONOMIAL)
    assert GENERAL_LINEAR.contains(POSITIVE)
    assert not POSITIVE.contains(GENERAL_LINEAR)
    assert not POSITIVE.contains(PERMUTATION)  # transpositions have determinant -1
    assert not POSITIVE_MONOMIAL.contains(GENERAL_LINEAR)


def test_gradients_flow_through_the_action():
    element = sample(batch=2, n=3)
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    matrix = element.matrix.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, x: GENERAL_LINEAR.apply(element._replace(matrix=m), x, 1), (matrix, x))
