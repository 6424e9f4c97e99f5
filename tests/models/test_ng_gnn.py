"""NG-GNN without, and with, the defects of the published code."""

import pytest
import torch

import weightspace as ws
from weightspace.testing import equivariance_error

SPACE = ws.siren([2, 8, 8, 1])
PERMUTATIONS = SPACE.symmetry("permutation")


def make(task, **options):
    torch.manual_seed(0)
    return ws.build("ng-gnn", SPACE, task, hidden=8, depth=3, **options).double().eval()


def leak(net):
    """How much the output for a network changes, relative to its size, when the others in its batch do."""
    theta = SPACE.sample(4, torch.Generator().manual_seed(0)).to(torch.float64)
    others = theta.map(lambda t: torch.cat([t[:1], 10 * t[1:]]))
    with torch.no_grad():
        first, second = (
            o.flatten()[0] if isinstance(o, ws.WeightFeatures) else o[0] for o in (net(theta), net(others))
        )
    return float((first - second).abs().max() / first.abs().max())


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_published_normalisation_leaks_between_the_networks_of_a_batch(task):
    assert leak(make(task)) < 1e-12
    assert leak(make(task, published=True)) > 1e-6


def error_of(net, suffix):
    """Equivariance error under permutations of the parameters with this suffix."""

    def part(theta):
        return net(theta).map(lambda t: t if (t.dim() == 3) == (suffix == "bias") else 0 * t)

    return equivariance_error(part, SPACE, PERMUTATIONS)


def test_published_biases_are_read_from_other_neurons():
    correct, published = make("equivariant"), make("equivariant", published=True)
    assert error_of(correct, "bias") < 1e-9
    assert error_of(published, "bias") > 1e-3
    assert error_of(published, "weight") < 1e-9
    assert {factor.name for factor in published.symmetry.factors} == {"trivial"}
    assert make("invariant", published=True).symmetry == PERMUTATIONS


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
@pytest.mark.parametrize("options", [{"fourier": None}, {"fourier": 4}, {"bidirectional": False}], ids=str)
def test_options_keep_the_symmetry(task, options):
    assert equivariance_error(make(task, **options), SPACE) < 1e-9


def test_messages_flow_backwards_only_if_asked_for():
    """After one layer the first bias depends on the second weights only through messages against the direction."""
    theta = SPACE.sample(1, torch.Generator().manual_seed(0)).to(torch.float64)
    changed = SPACE.features({n: t + 1.0 if n == "2.weight" else t for n, t in theta.items()})
    for bidirectional in (False, True):
        torch.manual_seed(0)
        net = ws.build("ng-gnn", SPACE, hidden=8, depth=1, bidirectional=bidirectional).double().eval()
        assert torch.equal(net(theta)["0.bias"], net(changed)["0.bias"]) is not bidirectional
