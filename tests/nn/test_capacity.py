import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import weightspace as ws
from weightspace.testing import assert_equivariant
from weightspace.testing.strategies import feed_forward_spaces


@settings(max_examples=30, deadline=None)
@given(feed_forward_spaces(min_layers=1, max_layers=4, max_width=9), st.integers(1, 8), st.integers(0, 999))
def test_the_merged_network_is_the_mean_of_the_ensemble(space, k, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {p.name: (3, *p.shape, k) for p in space.parameters}
    frequency = max(g.activation.frequency for g in space.groups)
    theta = space.features(
        {n: torch.randn(s, generator=generator, dtype=torch.float64) / frequency for n, s in shapes.items()}
    )
    wide, merged = ws.merge_ensemble(space, theta)
    assert [g.size for g in wide.groups] == [k * g.size if g.kind == "hidden" else g.size for g in space.groups]
    x = torch.randn(11, space.groups[0].size, generator=generator, dtype=torch.float64)
    expected = space.realize(theta, x)
    expected = expected if k == 1 else expected.mean(-1)
    error = (wide.realize(merged, x) - expected).abs().max() / expected.abs().max().clamp_min(1)
    assert error < 1e-12
    module = wide.to_module(merged[1])
    assert type(module) is nn.Sequential
    torch.testing.assert_close(module(x), expected[1], rtol=1e-11, atol=1e-12)


def test_gradients_flow_through_the_merge():
    space = ws.mlp([2, 3, 2])
    tensors = [torch.randn(1, *p.shape, 2, dtype=torch.float64, requires_grad=True) for p in space.parameters]
    assert torch.autograd.gradcheck(
        lambda *ts: ws.merge_ensemble(space, ws.WeightFeatures(space, ts))[1].tensors, tensors
    )


@pytest.mark.parametrize("architecture", ["dws", "gmn"])
def test_branches_are_equivariant_and_start_near_the_input(architecture):
    space = ws.siren([2, 8, 8, 1])
    torch.manual_seed(0)
    net = ws.build(architecture, space, hidden=8, depth=3, out_channels=4)
    editor = ws.OutputCapacityExpansion(net, space)
    assert_equivariant(editor, space, space.symmetry("permutation"))
    theta = space.sample(2)
    predicted = editor.eval()(theta)
    assert predicted.channels == 4
    change = (predicted - theta).flatten().abs().max()
    assert 0 < change < 0.3
    assert not torch.equal(predicted["2.weight"][..., 0], predicted["2.weight"][..., 1])
    free = ws.OutputCapacityExpansion(net, space, residual=False, init_scale=1e-2).eval()
    torch.testing.assert_close(free(theta).flatten(), (predicted - theta).flatten(), rtol=1e-3, atol=1e-6)


def test_there_is_one_learned_scale_for_each_parameter():
    space = ws.siren([2, 8, 8, 1])
    editor = ws.OutputCapacityExpansion(ws.build("dws", space, hidden=8), space, init_scale=0.5)
    assert editor.scale.scale.tolist() == [0.5] * 6
    editor(space.sample(4)).flatten().sum().backward()
    assert (editor.scale.scale.grad != 0).all()


def test_another_space_is_refused():
    space = ws.mlp([2, 3, 1])
    with pytest.raises(ws.ModelError, match="widths: expected 2-3-1, found 2-4-1"):
        ws.merge_ensemble(space, ws.mlp([2, 4, 1]).sample(1))
