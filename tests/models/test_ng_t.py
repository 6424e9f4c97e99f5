import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import weightspace as ws
from weightspace.group import PERMUTATION
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces
from weightspace.theory import census, wl_pair


def edges_nets(space, **options):
    torch.manual_seed(0)
    options = {"hidden": 8, "depth": 3, "attend": "edges"} | options
    yield ws.build("ng-t", space, task="equivariant", out_channels=3, **options)
    yield ws.build("ng-t", space, task="invariant", out_features=4, **options)


@settings(max_examples=15, deadline=None)
@given(feed_forward_spaces(min_layers=1, max_layers=6, max_width=20), st.integers(0, 99))
def test_on_edges_it_is_equivariant_and_invariant(space, seed):
    equivariant, invariant = edges_nets(space)
    assert_equivariant(equivariant, space, seed=seed)
    assert_invariant(invariant, space, seed=seed)


def test_on_edges_it_fails_under_permutations_of_outputs():
    space = ws.mlp([3, 5, 7, 4, 4])
    everything = SymmetryGroup(space, tuple([PERMUTATION] * len(space.groups)))
    for net in edges_nets(space):
        assert equivariance_error(net, space, everything) > 1e-4


@pytest.mark.parametrize("dims", [(2, 8, 8, 1), (3, 4, 4, 4, 4, 4, 4, 2)])
def test_on_edges_all_parameters_learn_and_networks_do_not_mix(dims):
    space = ws.mlp(dims)
    theta = space.sample(5, torch.Generator().manual_seed(0)).to(torch.float64)
    for net in edges_nets(space, dropout=0.0):
        net.double()
        out = net(theta)
        out = out.flatten() if isinstance(out, ws.WeightFeatures) else out
        out.square().sum().backward()
        assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        alone = net(theta[2])
        alone = alone.flatten() if isinstance(alone, ws.WeightFeatures) else alone
        torch.testing.assert_close(alone[0], out[2], rtol=1e-10, atol=1e-12)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


def largest_tensor(attend, layers):
    space = ws.mlp([4] * (layers + 1))
    torch.manual_seed(0)
    net = ws.build("ng-t", space, hidden=8, depth=2, attend=attend)
    with Largest() as largest:
        net(space.sample(1)).flatten().sum().backward()
    return largest.elements


def test_memory_on_edges_does_not_grow_with_all_pairs():
    neurons = 4 * 41
    assert largest_tensor("all", 40) >= neurons**2 * 4  # pairs have 4 channels
    assert largest_tensor("edges", 40) < neurons**2
    assert largest_tensor("edges", 40) <= 2 * largest_tensor("edges", 20)


@pytest.mark.parametrize("attend", ["all", "edges"])
def test_sees_no_further_than_colour_refinement(attend):
    """A node takes in a function of the multiset of (neighbour, feature of the pair); both networks are regular."""
    first, second = wl_pair("c8")
    torch.manual_seed(0)
    net = ws.build("ng-t", first.space, task="invariant", out_features=4, hidden=16, attend=attend).double().eval()
    with torch.no_grad():
        a, b = net(first), net(second)
    assert (a - b).abs().max() < 1e-12 * a.abs().max()


def test_on_edges_it_tells_apart_all_that_colour_refinement_does():
    assert census("ng-t", hidden=16, depth=4, attend="edges").classes == 316
