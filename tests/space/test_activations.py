"""What every neuron computes, and the signals that a loss sends back to it."""

import pytest
import torch

import weightspace as ws
from weightspace.space import Activation, Axis, NeuronGroup, Parameter, WeightSpace, activations, backpropagate

NAMES = ("relu", "tanh", "sine", "gelu", "silu", "identity")


def branched():
    """Two branches into the output, one of them without a bias, and a skip from the input."""
    act = Activation("tanh")
    groups = (
        NeuronGroup("input", 2, "input"),
        NeuronGroup("a", 3, "hidden", act),
        NeuronGroup("b", 4, "hidden", Activation("sine", 3.0)),
        NeuronGroup("output", 2, "output", Activation("silu")),
    )
    out = {g.name: Axis(g.size, g.name, "out") for g in groups}
    into = {g.name: Axis(g.size, g.name, "in") for g in groups}
    edges = [("a", "input"), ("b", "input"), ("b", "a"), ("output", "a"), ("output", "b"), ("output", "input")]
    weights = [Parameter(f"{t}<{s}", (out[t], into[s])) for t, s in edges]
    biases = [Parameter("a.bias", (out["a"],)), Parameter("output.bias", (out["output"],))]
    return WeightSpace(groups, (*weights, *biases), output_offset=0.25)


SPACES = [ws.mlp([3, 5, 4, 2], activation=name) for name in NAMES if name != "sine"]
SPACES += [ws.siren([2, 6, 5, 1]), ws.mlp([2, 3]), branched()]


def networks(space, batch=3, channels=1):
    generator = torch.Generator().manual_seed(0)
    scale = 0.2 if "sine" in {g.activation.name for g in space.groups} else 1.0
    return space.features({
        p.name: scale * torch.randn(batch, *p.shape, channels, generator=generator, dtype=torch.float64)
        for p in space.parameters
    })  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_those_of_autograd(name):
    act = Activation(name, omega=7.0)
    x = torch.linspace(-4, 4, 100, dtype=torch.float64, requires_grad=True)  # does not meet 0
    (expected,) = torch.autograd.grad(act(x).sum(), x)
    torch.testing.assert_close(act.derivative(x), expected.expand_as(x), rtol=1e-12, atol=1e-12)
    assert act.derivative(x.detach().float()).dtype == torch.float32


@pytest.mark.parametrize("space", SPACES, ids=lambda s: f"{s.summary()}-{s.groups[1].activation.name}")
def test_activations_neuron_by_neuron(space):
    theta, x = networks(space), torch.rand(7, space.groups[0].size, dtype=torch.float64)
    found = activations(theta, x)
    for b in range(3):
        for n in range(7):
            values = {"input": x[n]}
            for group in space.groups[1:]:
                total = torch.zeros(group.size, dtype=torch.float64)
                for p, tensor in zip(space.parameters, theta.tensors, strict=True):
                    if p.axes[0].group == group.name:
                        w = tensor[b, ..., 0]
                        total = total + (w if w.dim() == 1 else w @ values[p.axes[1].group])
                values[group.name] = group.activation(total)
            values["output"] = values["output"] + space.output_offset
            for name, value in values.items():
                torch.testing.assert_close(found[name][b, 0, :, n], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("space", SPACES, ids=lambda s: f"{s.summary()}-{s.groups[1].activation.name}")
def test_signals_give_the_gradients_of_autograd(space, channels, shared):
    theta = networks(space, channels=channels).map(lambda t: t.requires_grad_())
    lead = (5,) if shared else (3, 5)
    x = torch.rand(*lead, space.groups[0].size, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(*lead, space.groups[-1].size, dtype=torch.float64)
    y = space.realize(theta, x)
    loss = ((y - targets if channels == 1 else y - targets[..., None]) ** 2).sum() / 2
    *expected, by_input = torch.autograd.grad(loss, [*theta.tensors, x])
    acts, signals = backpropagate(theta, x, targets)
    for p, gradient in zip(space.parameters, expected, strict=True):
        target = signals[p.axes[0].group]
        if len(p.axes) == 2:
            found = torch.einsum("bcin,bcjn->bijc", target, acts[p.axes[1].group])
        else:
            found = target.sum(-1).movedim(1, -1)
        assert (found - gradient).abs().max() < 1e-10
    per_point = signals["input"].sum(1).mT
    torch.testing.assert_close(per_point.sum(0) if shared else per_point, by_input, rtol=1e-10, atol=1e-12)


def test_signals_can_be_differentiated():
    space = ws.mlp([2, 3, 2], activation="tanh")
    theta = networks(space, batch=1)

    def run(x, targets, *tensors):
        _, signals = backpropagate(ws.WeightFeatures(space, tensors), x, targets)
        return tuple(signals.values())

    points = [torch.rand(2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(run, (*points, *(t.requires_grad_() for t in theta.tensors)))


def test_wrong_shapes_are_refused():
    space = ws.mlp([2, 3, 1])
    theta, x = space.sample(2), torch.zeros(5, 2)
    with pytest.raises(ws.SpaceError, match=r"x: expected shape \(N, 2\)"):
        activations(theta, torch.zeros(5, 3))
    with pytest.raises(ws.SpaceError, match=r"targets: expected shape \(5, 1\) or \(2, 5, 1\), found \(5, 2\)"):
        backpropagate(theta, x, torch.zeros(5, 2))
    output = NeuronGroup("output", 1, "output")
    dead = WeightSpace(
        (NeuronGroup("input", 2, "input"), NeuronGroup("dead", 3), output),
        (
            Parameter("0", (Axis(3, "dead", "out"), Axis(2, "input", "in"))),
            Parameter("1", (Axis(1, "output", "out"), Axis(2, "input", "in"))),
        ),
    )
    with pytest.raises(ws.SpaceError, match="no weight leaves neuron group 'dead'"):
        backpropagate(dead.sample(2), x, torch.zeros(5, 1))
