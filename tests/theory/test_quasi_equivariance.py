"""What the statement on quasi-equivariance measures tells the forms of α apart."""

import math

import pytest
import torch

from weightspace.nn._alpha import StatisticsAlpha
from weightspace.theory.checks import _quasi_rows as rows


def test_each_form_has_an_effect_of_its_own():
    shared, features, raw = rows.effects()
    assert max(shared.change, shared.variation, shared.alpha) < 1e-12
    assert features.change > 1e-2 > 1e-12 > features.variation
    assert min(raw.change, raw.variation) > 1e-2
    assert min(e.beta for e in (shared, features, raw)) > 1e-3


def test_how_often_a_matrix_leaves_the_identity_component():
    """Of one number it is known: 1 + eps sin(u) <= 0 for an angle in an interval."""
    for eps in (1.5, 3.0):
        expected = math.acos(1 / eps) / math.pi
        assert rows.left(1, eps, 20_000) == pytest.approx(expected, abs=0.01)
    assert rows.left(1, 0.999, 20_000) == 0
    assert rows.left(4, 0.999, 1000, spectral=True) == 0
    assert rows.left(4, 0.999, 1000) > 0.1


def test_the_bound_on_eps_is_sharp():
    n = 5
    worst = torch.eye(n, dtype=torch.float64) - torch.ones(n, n, dtype=torch.float64) / n
    assert torch.linalg.svdvals(worst)[-1] < 1e-15


def test_a_shared_element_of_the_wrong_group_is_seen(monkeypatch):
    """The control: signs and scales are no symmetry of ReLU networks, and then nothing cancels."""
    monkeypatch.setattr(StatisticsAlpha, "forward", _with_signs(StatisticsAlpha.forward))
    assert rows.effects()[0].change > 1e-2


def _with_signs(forward):
    def negated(self, theta):
        element = forward(self, theta)
        return {
            name: matrix if matrix.scale is None else matrix._replace(scale=-matrix.scale)
            for name, matrix in element.items()
        }

    return negated
