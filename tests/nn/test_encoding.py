import itertools
import math

import pytest
import torch
from _spaces import attention_space, conv_space, norm_space
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION, MonomialGroup
from weightspace.nn import GaussianFourier, LearnedPosition, ProbeFeatures, SinusoidalPosition
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace
from weightspace.testing import assert_equivariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces


def everything(space):
    return SymmetryGroup(space, (PERMUTATION,) * len(space.groups))


def networks(space, batch=3, channels=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return space.features({
        p.name: torch.randn(batch, *p.shape, channels, generator=generator, dtype=dtype) for p in space.parameters
    })  # fmt: skip


def test_channels_that_are_not_encoded_are_passed_on():
    space = ws.mlp([2, 3, 1])
    theta = space.features({p.name: torch.randn(2, *p.shape, 3) for p in space.parameters})
    encoding = GaussianFourier(space, 3, frequencies=4, encoded=1)
    alone = GaussianFourier(space, 1, frequencies=4)
    alone.load_state_dict(encoding.state_dict())
    out, first = encoding(theta), alone(theta.map(lambda t: t[..., :1]))
    assert out.channels == encoding.out_channels == 10
    for found, waves, whole in zip(out.tensors, first.tensors, theta.tensors, strict=True):
        assert torch.equal(found, torch.cat([waves, whole[..., 1:]], -1))


def test_gaussian_fourier_features_of_an_entry():
    space = ws.mlp([2, 3, 1])
    encoding = GaussianFourier(space, 2, frequencies=5, scale=0.5).double()
    theta = networks(space, channels=2)
    found = encoding(theta)["2.weight"][1, 0, 2]
    angles = [sum(float(x) * float(b) for x, b in zip(theta["2.weight"][1, 0, 2], row, strict=True))
              for row in encoding.matrix.mT]  # fmt: skip
    expected = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert encoding.out_channels == 10
    assert list(encoding.parameters()) == []
    assert list(encoding.state_dict()) == ["matrix"]
    torch.manual_seed(0)
    drawn = GaussianFourier(space, 4, frequencies=2000, scale=3.0).matrix / (2 * math.pi)
    assert abs(float(drawn.std()) - 3.0) < 0.1


def test_positions_of_input_and_output_units():
    space = ws.mlp([3, 4, 4, 2])
    encoding = SinusoidalPosition(space, max_frequency=4.0, bands=2)
    assert encoding.extra_channels == 5
    theta = networks(space, dtype=torch.float32)
    found = encoding(theta)

    def code(z):
        return torch.tensor([*(f(math.pi * z * s) for f in (math.sin, math.cos) for s in (1.0, 2.0)), z])

    for name, tensor in found.items():
        assert torch.equal(tensor[..., :1], theta[name])
    for j, z in enumerate((-1.0, 0.0, 1.0)):
        torch.testing.assert_close(found["0.weight"][..., j, 1:], code(z).expand(3, 4, 5))
    for i, z in enumerate((-1.0, 1.0)):
        torch.testing.assert_close(found["4.weight"][:, i, :, 1:], code(z).expand(3, 4, 5))
        torch.testing.assert_close(found["4.bias"][:, i, 1:], code(z).expand(3, 5))
    for name in ("0.bias", "2.weight", "2.bias"):
        assert not found[name][..., 1:].any()


def test_positions_of_a_parameter_with_both_ends_are_summed():
    encoding = SinusoidalPosition(ws.mlp([3, 2]), bands=1)
    found = encoding(ws.mlp([3, 2]).sample(1))["0.weight"][0, :, :, -1]  # the channel z
    torch.testing.assert_close(found, torch.tensor([[-2.0, -1.0, 0.0], [0.0, 1.0, 2.0]]))


def test_learned_positions_are_shared_where_they_should_be():
    space = ws.mlp([3, 4, 4, 2])
    encoding = LearnedPosition(space, 2)
    theta = networks(space, channels=2, dtype=torch.float32)
    added = encoding(theta) - theta
    for parameter, position, (name, tensor) in zip(space.parameters, encoding.parameter, added.items(), strict=True):
        rest = tensor - position
        assert (rest - rest[:1]).abs().max() < 1e-5, "the same for all networks"
        if name == "0.weight":
            torch.testing.assert_close(rest, encoding.unit[0].expand_as(rest), rtol=1e-4, atol=1e-5)
        elif parameter.axes[0].group == "output":
            unit = encoding.unit[1] if len(parameter.axes) == 1 else encoding.unit[1][:, None]
            torch.testing.assert_close(rest, unit.expand_as(rest), rtol=1e-4, atol=1e-5)
        else:
            assert rest.abs().max() < 1e-5
    encoding(theta).flatten().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in encoding.parameters())


def test_learned_positions_tell_places_apart_that_no_symmetry_moves():
    """Taps, positions and vocabulary; the units of a norm of the input, which no permutation moves either."""
    space = attention_space(tokens=3, vocabulary=5)
    encoding = LearnedPosition(space, 2)
    assert [tuple(table.shape) for table in encoding.unit] == [(5, 2), (2, 2), (3, 2)]
    added = encoding(networks(space, channels=2, dtype=torch.float32).map(torch.zeros_like))
    torch.testing.assert_close(
        added["position"][0, 0] - encoding.parameter[1], encoding.unit[2][:, None].expand(3, 4, 2)
    )
    scales = MonomialGroup("scales", permutes=False, scales="nonzero")
    groups = (NeuronGroup("input", 3, "input"), NeuronGroup("norm", 3, largest=scales, tied="input"))
    normed = WeightSpace(groups, (Parameter("gain", (Axis(3, "norm", "out"),)),))
    (table,) = LearnedPosition(normed, 2).unit
    assert table.shape == (3, 2)
    assert SinusoidalPosition(normed)(networks(normed))["gain"][..., -1].unique().tolist() == [-1.0, 0.0, 1.0]


ENCODINGS = {
    "fourier": lambda s: GaussianFourier(s, 1),
    "sinusoidal": SinusoidalPosition,
    "learned": lambda s: LearnedPosition(s, 1),
    "probes": lambda s: ProbeFeatures(s, 1, 8),
}
CHAINS = [ws.mlp([3, 5, 4, 2]), ws.mlp([3, 2]), ws.siren([2, 8, 8, 3])]
OTHERS = [conv_space(), norm_space(), attention_space()]


@pytest.mark.parametrize(
    ("name", "space"),
    [*itertools.product(ENCODINGS, CHAINS), *itertools.product(["fourier", "sinusoidal", "learned"], OTHERS)],
    ids=lambda x: x if isinstance(x, str) else x.summary(),
)
def test_equivariance_and_what_tells_inputs_and_outputs_apart(name, space):
    torch.manual_seed(0)
    encoding = ENCODINGS[name](space)
    assert_equivariant(encoding, space)
    error = equivariance_error(encoding, space, everything(space))
    assert error < 1e-12 if isinstance(encoding, GaussianFourier) else error > 0.01


@settings(max_examples=15, deadline=None)
@given(feed_forward_spaces(max_layers=5, max_width=20), st.integers(1, 3), st.integers(0, 99))
def test_probe_features_are_equivariant(space, channels, seed):
    torch.manual_seed(seed)
    assert_equivariant(ProbeFeatures(space, channels, 6, 4), space, channels=channels, seed=seed)


def test_probe_features_neuron_by_neuron():
    space = ws.siren([2, 3, 1], omega=2.0)
    torch.manual_seed(0)
    encoding = ProbeFeatures(space, 1, 5, 4).double()
    theta = networks(space, batch=2)
    found = encoding(theta)
    for b in range(2):
        w0, b0, w1, b1 = (t[b, ..., 0] for t in theta.tensors)
        x = encoding.points
        h = torch.sin(2.0 * (x @ w0.mT + b0))
        y = h @ w1.mT + b1 + 0.5
        vectors = [[encoding.neuron[g](v) for v in values.mT] for g, values in enumerate((x, h, y))]
        for i in range(3):
            torch.testing.assert_close(found["0.bias"][b, i], vectors[1][i], rtol=1e-10, atol=1e-12)
            for j in range(2):
                both = encoding.target(vectors[1][i]) + encoding.source(vectors[0][j])
                torch.testing.assert_close(found["0.weight"][b, i, j], both, rtol=1e-10, atol=1e-12)
            both = encoding.target(vectors[2][0]) + encoding.source(vectors[1][i])
            torch.testing.assert_close(found["2.weight"][b, 0, i], both, rtol=1e-10, atol=1e-12)


def test_each_channel_is_a_network_of_its_own():
    space = ws.mlp([2, 4, 1], activation="tanh")
    torch.manual_seed(0)
    two = ProbeFeatures(space, 2, 5, 4).double()
    one = ProbeFeatures(space, 1, 5, 4).double()
    state = two.state_dict()
    for group in range(3):
        linear = two.neuron[group][0]
        state[f"neuron.{group}.0.weight"] = linear.weight.data[:, 5:]
        linear.weight.data[:, :5] = 0
    one.load_state_dict(state)
    theta = networks(space, channels=2)
    second = theta.map(lambda t: t[..., 1:])
    torch.testing.assert_close(two(theta).flatten(), one(second).flatten(), rtol=1e-12, atol=1e-12)


def test_probe_features_gradients_and_independence_within_the_batch():
    space = ws.mlp([2, 5, 4, 2], activation="gelu")
    torch.manual_seed(0)
    encoding = ProbeFeatures(space, 2, 6).double()
    theta = networks(space, channels=2)
    together = encoding(theta)
    assert together.channels == encoding.out_channels == 8
    together.flatten().square().sum().backward()
    assert [n for n, p in encoding.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []
    alone = torch.cat([encoding(theta[i]).flatten() for i in range(3)])
    torch.testing.assert_close(alone, together.flatten(), rtol=1e-12, atol=1e-12)


def test_a_space_that_cannot_run_its_networks_is_refused():
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("output", 3, "output"))
    conv = Parameter("conv", (Axis(3, "output", "out"), Axis(2, "input", "in"), Axis(5)))
    with pytest.raises(ws.ModelError, match=r"'conv' has shape \(3, 2, 5\)"):
        ProbeFeatures(WeightSpace(groups, (conv,)), 1, 8)
    for make in (lambda s: GaussianFourier(s, 1), SinusoidalPosition, lambda s: LearnedPosition(s, 1)):
        with pytest.raises(ws.ModelError, match="another weight space"):
            make(ws.mlp([2, 3, 1]))(ws.mlp([2, 4, 1]).sample(2))
