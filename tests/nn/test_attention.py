import itertools

import pytest
import torch
from _spaces import attention_space, depthwise_space, norm_space, residual_space
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION, SIGNED_PERMUTATION, TRIVIAL
from weightspace.nn import NeuronAttention, WeightTransformerBlock
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace
from weightspace.testing import assert_equivariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces


def convolution():
    """A convolution, two vectors on its output channels, and a weight to the output with a plain axis in front."""
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("a", 3), NeuronGroup("output", 2, "output"))
    parameters = (
        Parameter("conv", (Axis(3, "a", "out"), Axis(2, "input", "in"), Axis(2), Axis(3))),
        Parameter("gain", (Axis(3, "a", "out"),)),
        Parameter("shift", (Axis(3, "a", "out"),)),
        Parameter("head", (Axis(2, "output", "out"), Axis(2), Axis(3, "a", "in"))),
        Parameter("free", (Axis(2),)),
    )
    return WeightSpace(groups, parameters)


def attend(q, k, v, scale):
    """Softmax attention of lists of vectors, token by token."""
    out = []
    for query in q:
        scores = torch.stack([query @ key for key in k]) * scale
        out.append(sum(a * value for a, value in zip(scores.softmax(0), v, strict=True)))
    return out


def slow_neuron_attention(layer, theta):
    """The layer network by network, head by head and token by token."""
    space, c = layer.space, layer.channels // layer.heads
    result = [torch.zeros_like(t) for t in theta.tensors]
    for b in range(len(theta)):
        for h in range(layer.heads):

            def part(i, which, b=b, h=h):  # queries, keys or values of one head on one parameter
                start = which * layer.channels + h * c
                return layer.project(theta.tensors[i][b])[..., start : start + c]

            channels = slice(h * c, (h + 1) * c)
            means = [[part(i, w).reshape(-1, c).mean(0) for i in range(len(result))] for w in range(3)]
            for i, out in enumerate(attend(*means, c**-0.5)):
                result[i][b, ..., channels] += out
            for group in (g for g in space.groups if g.tied is None):
                places = [
                    (i, [(*others[:axis], slice(None), *others[axis:])])
                    for i, p in enumerate(space.parameters)
                    for axis, label in enumerate(p.axes)
                    if label.group is not None and space.group(label.group).units == group.name
                    for others in itertools.product(*(range(a.size) for j, a in enumerate(p.axes) if j != axis))
                ]
                tokens = [[part(i, w)[index[0]].flatten() for i, index in places] for w in range(3)]
                mixed = attend(*tokens, (c * group.size) ** -0.5)
                for (i, index), out in zip(places, mixed, strict=True):
                    result[i][b][..., channels][index[0]] += out.view(group.size, c)
    return result


SPACES = [ws.mlp((2, 3, 4, 1)), ws.mlp((1, 2)), convolution(), residual_space(), norm_space(), depthwise_space()]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
@pytest.mark.parametrize("heads", [1, 2])
def test_agrees_with_a_slow_twin(space, heads):
    torch.manual_seed(0)
    layer = NeuronAttention(space, 4, heads).double()
    layer.project.weight.data *= 3  # far from uniform attention
    theta = space.features({p.name: torch.randn(2, *p.shape, 4, dtype=torch.float64) for p in space.parameters})
    with torch.no_grad():
        for found, expected in zip(layer(theta).tensors, slow_neuron_attention(layer, theta), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(feed_forward_spaces(min_layers=1, max_layers=5, max_width=12), st.integers(0, 99))
def test_commutes_with_permutations_of_all_neuron_groups(space, seed):
    torch.manual_seed(seed)
    everything = SymmetryGroup(space, tuple([PERMUTATION] * len(space.groups)))
    assert_equivariant(NeuronAttention(space, 4, 2), space, everything, channels=4, seed=seed)


def test_the_block_of_a_space_with_plain_axes_is_equivariant_but_not_under_signs():
    space = convolution()
    torch.manual_seed(0)
    block = WeightTransformerBlock(space, 4, heads=2)
    everything = SymmetryGroup(space, tuple([PERMUTATION] * 3))
    assert_equivariant(block, space, everything, channels=4)
    signs = SymmetryGroup(space, (TRIVIAL, SIGNED_PERMUTATION, TRIVIAL))
    assert equivariance_error(block, space, signs, channels=4) > 1e-3


def test_dropout_acts_in_training_only():
    space = ws.mlp((2, 4, 1))
    torch.manual_seed(0)
    block = WeightTransformerBlock(space, 8, dropout=0.5)
    theta = space.features({p.name: torch.randn(2, *p.shape, 8) for p in space.parameters})
    assert not torch.equal(block(theta).flatten(), block(theta).flatten())
    block.eval()
    assert torch.equal(block(theta).flatten(), block(theta).flatten())


@pytest.mark.parametrize("space", [residual_space(), norm_space(), attention_space()], ids=lambda s: s.summary())
def test_streams_norms_and_heads(space):
    """A stream that one parameter carries twice, tied neuron groups, three moving axes; input neurons move too."""
    torch.manual_seed(0)
    everything = SymmetryGroup(space, tuple(PERMUTATION if g.tied is None else TRIVIAL for g in space.groups))
    assert_equivariant(WeightTransformerBlock(space, 4, heads=2), space, everything, channels=4)
