"""What every architecture promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces

NAMES = ws.architectures()
SPACES = [ws.siren([2, 8, 8, 1]), ws.mlp([3, 5, 7, 4, 2], activation="relu"), ws.mlp([1, 6, 2], activation="gelu")]
SMALL = {"hidden": 8, "depth": 3}


def output_of(net, theta):
    out = net(theta)
    return out.flatten() if isinstance(out, ws.WeightFeatures) else out


def nets(name, space, **options):
    torch.manual_seed(0)
    yield ws.build(name, space, task="equivariant", out_channels=3, **SMALL, **options)
    yield ws.build(name, space, task="invariant", out_features=4, **SMALL, **options)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(feed_forward_spaces(min_layers=2, max_layers=6, max_width=40), st.integers(1, 3), st.integers(0, 999))
def test_equivariance_and_invariance_on_random_architectures(name, space, channels, seed):
    torch.manual_seed(seed)
    equivariant = ws.build(name, space, in_channels=channels, out_channels=4, hidden=8, depth=3)
    assert_equivariant(equivariant, space, channels=channels, seed=seed)
    invariant = ws.build(name, space, task="invariant", in_channels=channels, out_features=5, hidden=8, depth=3)
    assert_invariant(invariant, space, channels=channels, seed=seed)


@pytest.mark.parametrize("name", NAMES)
def test_published_configuration_is_equivariant(name):
    space = ws.siren([2, 32, 32, 1])
    torch.manual_seed(0)
    assert_equivariant(ws.build(name, space, out_channels=8), space)
    assert_invariant(ws.build(name, space, task="invariant", out_features=10), space)


@pytest.mark.parametrize("name", NAMES)
def test_fails_under_a_group_it_does_not_claim(name):
    """Negative control: permuting output neurons too, with hidden ones."""
    space = ws.mlp([3, 5, 7, 4, 4])
    everything = SymmetryGroup(space, tuple([PERMUTATION] * len(space.groups)))
    for net in nets(name, space):
        assert equivariance_error(net, space, everything) > 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_shapes_gradients_saving_and_independence_within_the_batch(name, space, tmp_path):
    theta = space.sample(6, torch.Generator().manual_seed(1))
    for net in nets(name, space):
        net.standardize.fit(theta)
        out = net(theta)
        if isinstance(out, ws.WeightFeatures):
            assert out.space == space
            assert [t.shape for t in out.values()] == [(6, *p.shape, 3) for p in space.parameters]
        else:
            assert out.shape == (6, 4)
        output_of(net, theta).square().sum().backward()
        assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        net.eval()
        with torch.no_grad():
            together = output_of(net, theta)
            one_by_one = torch.cat([output_of(net, theta[i]) for i in range(6)])
        torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-5)
        torch.save(net.state_dict(), tmp_path / "net.pt")
        (again,) = [n for n in nets(name, space) if n.task == net.task]
        again.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
        with torch.no_grad():
            assert torch.equal(output_of(again.eval(), theta), together)


@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes(name):
    space = SPACES[0]
    theta = space.sample(3)
    for net in nets(name, space):
        exact = output_of(net.eval().double(), theta.to(torch.float64))
        low = output_of(net.bfloat16(), theta.to(torch.bfloat16))
        assert low.dtype == torch.bfloat16
        assert (low.double() - exact).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_different_networks_get_different_outputs(name):
    """No architecture may collapse: two random networks must be told apart, and outputs vary over neurons."""
    space = SPACES[0]
    for net in nets(name, space):
        out = output_of(net.eval(), space.sample(2))
        assert (out[0] - out[1]).abs().max() > 1e-5 * out.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_identity_and_bias_read_out_can_be_learnt(name):
    """Sanity tasks: give back the weights themselves, and each neuron's bias on its incoming weights."""
    space = ws.mlp([2, 6, 6, 1])
    generator = torch.Generator().manual_seed(0)
    tensors = {p.name: torch.randn(32, *p.shape, 1, generator=generator) for p in space.parameters}
    theta = space.features(tensors)
    copied = {**tensors}
    for layer in ("0", "2", "4"):
        bias = tensors[f"{layer}.bias"]
        copied[f"{layer}.weight"] = bias[:, :, None].expand_as(tensors[f"{layer}.weight"])
    target = torch.cat([theta.flatten(), space.features(copied).flatten()], 1)
    torch.manual_seed(0)
    net = ws.build(name, space, out_channels=2, hidden=32, depth=2, dropout=0.0, standardize="none")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 300)
        out = net(theta)
        found = torch.cat([torch.cat([t[..., c].flatten(1) for t in out.values()], 1) for c in (0, 1)], 1)
        loss = (found - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02  # the targets have variance 1


def denormals(net, theta):
    """Numbers between 0 and the smallest normal one: (in all activations, in all their gradients)."""
    tiny = torch.finfo(torch.float32).tiny
    activations, gradients, hooks = [], [], []

    def count(tensor):
        return int(((tensor != 0) & (tensor.abs() < tiny)).sum())

    def watch(_, __, out):
        parts = out.tensors if isinstance(out, ws.WeightFeatures) else [out] if isinstance(out, torch.Tensor) else []
        for part in parts:
            activations.append(count(part))
            if part.requires_grad:
                part.register_hook(lambda g: gradients.append(count(g)))

    for module in net.modules():
        hooks.append(module.register_forward_hook(watch))
    output_of(net, theta).square().mean().backward()
    for hook in hooks:
        hook.remove()
    assert len(activations) > 10
    assert len(gradients) > 10
    return sum(activations), sum(gradients)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_published_initial_scale_of_dws_makes_no_denormals(batch_norm):
    """The published code multiplies all layers by 1e-4, not the last one alone, and ends in denormal numbers."""
    space = ws.siren([2, 32, 32, 1])
    torch.manual_seed(0)
    net = ws.build("dws", space, init_scale=1e-4, depth=8, batch_norm=batch_norm)
    theta = space.sample(8)
    net.standardize.fit(theta)
    activations, gradients = denormals(net, theta)
    assert activations == 0
    if batch_norm:  # without it saturated attention has vanishing gradients
        assert gradients == 0


def test_gmn_makes_no_denormals():
    space = ws.siren([2, 32, 32, 1])
    torch.manual_seed(0)
    assert denormals(ws.build("gmn", space, hidden=16), space.sample(4)) == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: ws.build("dwz", s), "unknown architecture 'dwz'; known: dws, gmn"),
        (lambda s: ws.build("dws", s, task="both"), "expected 'equivariant' or 'invariant', found 'both'"),
        (lambda s: ws.build("dws", s, widht=3), "dws has no option widht; it has in_channels"),
        (lambda s: ws.build("gmn", s, out_features=3), "out_features does not go with task='equivariant'"),
        (lambda s: ws.build("gmn", s, hidden=0), "hidden: expected a positive integer, found 0"),
        (
            lambda s: ws.build("dws", s, reduction="median"),
            "reduction: expected one of .*'median'",
        ),
        (lambda s: ws.build("dws", s, neuron_map="foo"), "neuron_map: expected one of .* found 'foo'"),
        (lambda s: ws.build("dws", s, dropout=1.5), "dropout: expected a number from 0 .* found 1.5"),
        (lambda s: ws.build("dws", s, heads=2.5), "heads: expected a positive integer, found 2.5"),
        (lambda s: ws.build("dws", s, batch_norm="no"), "batch_norm: expected True or False, found 'no'"),
        (lambda s: ws.build("dws", s, init_scale=float("nan")), "init_scale: expected a finite number, found nan"),
        (lambda s: ws.build("dws", s, depth=None), "depth: expected a positive integer, found None"),
        (lambda s: ws.build("dws", s, in_channels=3)(s.sample(2)), "with 3 channels, found 1"),
        (
            lambda s: ws.build("dws", s)(s.sample(2).to(torch.float64)),
            "weight features are torch.float64",
        ),
        (
            lambda s: ws.build("gmn", s).standardize.fit(s.sample(3) * float("nan")),
            "non-finite .* 0.weight",
        ),
        (lambda s: ws.build("dws", s)(ws.mlp([2, 4, 1]).sample(2)), "widths: expected 2-8-8-1, found 2-4-1"),
        (lambda s: ws.build("gmn", s, in_channels=2)(s.sample(2)), "with 2 channels, found 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.ModelError, match=message):
        call(SPACES[0])


def test_statistics_per_entry_are_not_called_equivariant():
    space = SPACES[0]
    net = ws.build("dws", space, standardize="entry", **SMALL)
    assert {factor.name for factor in net.symmetry.factors} == {"trivial"}


@pytest.mark.parametrize("name", NAMES)
def test_a_training_batch_of_one(name):
    space = SPACES[0]
    for net in nets(name, space):
        assert output_of(net.train(), space.sample(1)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_several_vectors_and_taps_on_one_group(name):
    """A convolution with two vectors on its output channels: every parameter gets all its channels."""
    from weightspace.space import Axis, NeuronGroup, Parameter, WeightSpace

    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("a", 3), NeuronGroup("output", 1, "output"))
    out = {g.name: Axis(g.size, g.name, "out") for g in groups}
    into = {g.name: Axis(g.size, g.name, "in") for g in groups}
    parameters = (
        Parameter("conv", (out["a"], into["input"], Axis(3), Axis(2))),
        Parameter("gain", (out["a"],)),
        Parameter("shift", (out["a"],)),
        Parameter("head", (out["output"], into["a"])),
    )
    space = WeightSpace(groups, parameters)
    net = ws.build(name, space, out_channels=2, **SMALL)
    theta = space.features({p.name: torch.randn(2, *p.shape, 1) for p in parameters})
    assert [t.shape for t in net(theta).values()] == [(2, *p.shape, 2) for p in parameters]
    assert_equivariant(net, space)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiles(name):
    space = SPACES[0]
    theta = space.sample(3)
    for net in nets(name, space):
        net.eval()
        with torch.no_grad():
            expected = output_of(net, theta)
            torch.testing.assert_close(output_of(torch.compile(net), theta), expected, rtol=1e-4, atol=1e-5)
