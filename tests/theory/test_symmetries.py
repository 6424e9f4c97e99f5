import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace.group import POSITIVE_MONOMIAL, TRIVIAL
from weightspace.space import SymmetryGroup
from weightspace.theory import function_difference, symmetry_error
from weightspace.theory.checks._changes import edited, inputs, replaced, torn, traced
from weightspace.theory.checks._modules import SelfAttention, rotated


def test_the_difference_of_functions_is_relative_and_that_of_the_worst_pair():
    space, x = ws.mlp([1, 1], "relu"), torch.tensor([[1.0], [-2.0]], dtype=torch.float64)

    def lines(*slopes):
        weight = torch.tensor(slopes, dtype=torch.float64).view(-1, 1, 1, 1)
        return space.features({"0.weight": weight, "0.bias": torch.zeros(len(slopes), 1, 1, dtype=torch.float64)})

    assert function_difference(lines(1, 10), lines(1.5, 11), x) == pytest.approx(0.5)
    assert function_difference(lines(1, 2), lines(1, 2), x) == 0


def test_the_error_of_a_group_is_rounding_or_not():
    space, x = ws.mlp([3, 6, 2], "gelu"), inputs(3)
    forced = SymmetryGroup(space, (TRIVIAL, POSITIVE_MONOMIAL, TRIVIAL))
    assert symmetry_error(space.symmetry(), x) < 1e-14
    assert symmetry_error(forced, x) > 0.1
    assert symmetry_error(forced, x, seed=1) != symmetry_error(forced, x)
    assert symmetry_error(ws.orbit.PhaseGroup(ws.siren([2, 8, 1])), inputs(2)) < 1e-12


def test_running_variances_stay_positive():
    """So that networks with norms can be run."""
    space = ws.from_module(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(2, 3)
    )
    assert symmetry_error(space.symmetry(), inputs(3), batch=50) < 1e-12


def test_torn_and_edited_networks():
    space = traced(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2), shape=(3,))
    group, x = space.symmetry(), inputs(3)
    assert torn(group, set(), x) < 1e-14
    assert torn(group, {"0.bias"}, x) > 0.01
    assert edited(space, {"0.bias": lambda b: b * 1}, x) == 0
    assert edited(space, {"0.bias": lambda b: b + 1}, x) > 0.01
    with pytest.raises(KeyError):
        edited(space, {"1.bias": lambda b: b}, x)


def test_replaced_factors_are_those_of_the_named_groups():
    group = replaced(ws.mlp([2, 3, 4, 1]).symmetry("trivial"), {"hidden2": POSITIVE_MONOMIAL})
    assert [f.name for f in group.factors] == ["trivial", "trivial", "positive_monomial", "trivial"]


def test_rotary_positions_depend_on_differences_alone():
    """What makes them positions: scores of vectors that are the same everywhere depend on how far apart they are."""
    q, k = torch.randn(2, 1, 4, dtype=torch.float64)
    scores = rotated(q.expand(6, 4)) @ rotated(k.expand(6, 4)).mT
    torch.testing.assert_close(scores[1:, 1:], scores[:-1, :-1])
    assert not torch.allclose(scores[0], scores[1])


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours, x = SelfAttention(8, 2, rotary=False), torch.randn(3, 5, 8)
    q, k, v = (f(x).view(3, 5, 2, 4).transpose(1, 2) for f in (ours.q, ours.k, ours.v))
    mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, 5, 8)
    torch.testing.assert_close(ours(x), ours.o(mixed))


def test_every_preserved_change_has_a_control():
    """A statement whose controls are missing proves nothing; activations without one are linear."""
    evidence = ws.theory.statements("symmetries")[0].run()
    controls = {m.what.split(":")[0] for m in evidence.measurements if m.what.endswith("(control)")}
    tested = {m.what.split(":")[0] for m in evidence.measurements if ":" in m.what and m.high < 1}
    assert tested - controls == {"identity"}
