"""What every architecture promises."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws
from weightspace.group import PERMUTATION, TRIVIAL, MonomialGroup
from weightspace.nn import GaussianFourier
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing.strategies import feed_forward_spaces

EQUIVARIANT = ws.architectures("equivariant")
CASES = [(name, task) for task in ("equivariant", "invariant") for name in ws.architectures(task)]
SPACES = [
    ws.siren([2, 8, 8, 1]),
    ws.mlp([3, 5, 7, 4, 2], activation="relu"),
    ws.mlp([1, 6, 2], activation="gelu"),
    ws.mlp([2, 4, 3], activation="tanh"),
]
FOURIER = ("np-nfn", "hnp-nfn", "monomial-nfn", "nft", "ng-gnn")
# What each architecture claims, where it is not permutations of the hidden neurons.
TAPS = sorted({*EQUIVARIANT} - {"gradmetanet"})
LARGEST = ("scalegmn", "scalegmn-b", "monomial-nfn")
CLAIMS = {"mlp": "trivial", "statnet": "all permutations"} | dict.fromkeys(LARGEST, "largest")


def permutations_of_all(space):
    return SymmetryGroup(space, (PERMUTATION,) * len(space.groups))


def claimed(name, space):
    claim = CLAIMS.get(name, "permutation")
    if claim == "all permutations":
        return permutations_of_all(space)
    if name == "transformer-nfn" and any(f.scales == "linear" for f in space.symmetry().factors):
        return space.symmetry("general_linear")
    # of a linear layer permutations: no entry-wise map respects general matrices
    return space.symmetry().restricted(linear=False) if claim == "largest" else space.symmetry(claim)


def small(name):
    return {"hidden": 8, "depth": 3} | ({"fourier": 8} if name in FOURIER else {})


def output_of(net, theta):
    out = net(theta)
    return out.flatten() if isinstance(out, ws.WeightFeatures) else out


def make(name, task, space, **options):
    torch.manual_seed(0)
    outputs = {"out_channels": 3} if task == "equivariant" else {"out_features": 4}
    return ws.build(name, space, task=task, **small(name) | outputs | options)


def assert_respects(net, space, **options):
    check = assert_equivariant if net.task == "equivariant" else assert_invariant
    check(net, space, **options)


def test_names():
    assert set(ws.architectures()) == {
        *("dws", "np-nfn", "hnp-nfn", "unf", "monomial-nfn", "nft", "ng-t", "gmn", "ng-gnn", "scalegmn", "scalegmn-b"),
        *("transformer-nfn", "gradmetanet", "canon-mlp", "statnet", "mlp"),
    }
    assert set(ws.architectures()) - set(EQUIVARIANT) == {"statnet"}


@pytest.mark.parametrize(("name", "task"), CASES)
@settings(max_examples=8, deadline=None)
@given(feed_forward_spaces(min_layers=2, max_layers=5, max_width=20), st.integers(1, 3), st.integers(0, 999))
def test_equivariance_and_invariance_on_random_architectures(name, task, space, channels, seed):
    torch.manual_seed(seed)
    net = ws.build(name, space, task, in_channels=channels, **small(name))
    assert net.symmetry == claimed(name, space)
    assert_respects(net, space, channels=channels, seed=seed)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_published_configuration_is_equivariant(name, task):
    space = ws.siren([2, 32, 32, 1])
    torch.manual_seed(0)
    assert_respects(ws.build(name, space, task), space, batch=2)


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("task", ["equivariant", "invariant"])
@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_large_scales_and_signs(name, task, space):
    """Scales from 1e-3 to 1e3 on every hidden neuron."""
    net = make(name, task, space)
    group = space.symmetry()
    theta = space.sample(4, torch.Generator().manual_seed(0)).to(torch.float64)
    element = group.sample(4, torch.Generator().manual_seed(1), dtype=torch.float64, scale_range=1e3)
    net = net.double().eval()
    with torch.no_grad():
        expected, found = net(theta), net(group.act(element, theta))
    if task == "equivariant":
        for e, f in zip(group.act(element, expected).tensors, found.tensors, strict=True):
            assert ((f - e).abs() <= 1e-9 * e.abs().amax()).all()
    else:
        assert ((found - expected).abs() <= 1e-9 * expected.abs().max()).all()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_fails_under_a_group_it_does_not_claim(name, task):
    """Negative controls: output neurons permuted too, or scales, or, where nothing is claimed, hidden permutations."""
    space = ws.mlp([3, 5, 7, 4, 4])
    group = permutations_of_all(space)
    if CLAIMS.get(name) == "all permutations":
        group = space.symmetry("positive_monomial")
    elif CLAIMS.get(name) == "trivial":
        group = space.symmetry("permutation")
    assert equivariance_error(make(name, task, space), space, group) > 1e-4


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if case[0] not in LARGEST])
def test_fails_under_scales_unless_it_claims_them(name, task):
    space = ws.mlp([3, 5, 7, 2])
    scales = MonomialGroup("scales", permutes=False, scales="positive")
    group = SymmetryGroup(space, tuple(scales if g.kind == "hidden" else TRIVIAL for g in space.groups))
    assert equivariance_error(make(name, task, space), space, group) > 1e-3


@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.summary())
def test_shapes_gradients_saving_and_independence_within_the_batch(name, task, space, tmp_path):
    theta = space.sample(6, torch.Generator().manual_seed(1))
    theta = theta.map(lambda t: t + 0.01 * torch.randn(t.shape, generator=torch.Generator().manual_seed(2)))
    net = make(name, task, space, dropout=0.0)
    net.standardize.fit(theta)
    out = net(theta)
    if task == "equivariant":
        assert out.space == space
        assert [t.shape for t in out.values()] == [(6, *p.shape, 3) for p in space.parameters]
    else:
        assert out.shape == (6, 4)
    torch.manual_seed(0)
    output_of(net, theta).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    net.eval()
    with torch.no_grad():
        together = output_of(net, theta)
        one_by_one = torch.cat([output_of(net, theta[i]) for i in range(6)])
    torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-5)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = make(name, task, space)
    again.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(output_of(again.eval(), theta), together)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_pickling_and_the_meta_device(name, task):
    space = SPACES[0]
    net, theta = make(name, task, space).eval(), space.sample(3, torch.Generator().manual_seed(0))
    again = pickle.loads(pickle.dumps(net))
    with torch.no_grad():
        assert torch.equal(output_of(again, theta), output_of(net, theta))
        assert output_of(net.to(device="meta"), theta.to("meta")).shape == output_of(again, theta).shape


@pytest.mark.parametrize("name", FOURIER)
@pytest.mark.parametrize("encoding", ["probes", "gradients"])
def test_random_frequencies_are_of_the_weights_alone(name, encoding):
    """They would make noise of encodings, which are of order one."""
    net = make(name, "invariant", SPACES[0], **{encoding: 16})
    encoded = [m.matrix.shape[0] for m in net.modules() if isinstance(m, GaussianFourier)]
    assert encoded == ([] if name == "monomial-nfn" else [1])


@pytest.mark.parametrize(("name", "task"), CASES)
def test_no_network_sees_the_others_of_its_batch(name, task):
    space = SPACES[0]
    theta, others = space.sample(3).to(torch.float64), space.sample(3).to(torch.float64)
    net = make(name, task, space).double().eval()
    mixed = theta.map(lambda a, b: torch.cat([a[:1], 10 * b[1:]]), others)
    with torch.no_grad():
        alone, beside = output_of(net, theta)[0], output_of(net, mixed)[0]
    torch.testing.assert_close(alone, beside, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_training_and_evaluation(name, task):
    """Dropout acts in training, and in evaluation the same input gives the same output."""
    space = SPACES[0]
    net, theta = make(name, task, space, dropout=0.5), space.sample(3)
    with torch.no_grad():
        assert not torch.equal(output_of(net.train(), theta), output_of(net, theta))
        assert torch.equal(output_of(net.eval(), theta), output_of(net, theta))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_other_dtypes(name, task):
    space = SPACES[0]
    theta = space.sample(3, torch.Generator().manual_seed(0))
    # biases in steps that no rounding moves past each other: at ties a canonical form is not continuous
    steps = {n: torch.linspace(-0.1, 0.1, t.shape[1]).view(1, -1, 1) for n, t in theta.items() if t.dim() == 3}
    theta = space.features({n: t + steps.get(n, 0) for n, t in theta.items()})
    net = make(name, task, space).eval()
    with torch.no_grad():
        exact = output_of(net.double(), theta.to(torch.float64))
        single = output_of(net.float(), theta)
        low = output_of(net.bfloat16(), theta.to(torch.bfloat16))
    assert low.dtype == torch.bfloat16
    assert (single.double() - exact).abs().max() < 1e-3 * exact.abs().max()
    assert (low.double() - exact).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_different_networks_get_different_outputs(name, task):
    """No architecture may collapse: two random networks must be told apart."""
    space = SPACES[0]
    out = output_of(make(name, task, space).eval(), space.sample(2, torch.Generator().manual_seed(0)))
    assert (out[0] - out[1]).abs().max() > 1e-5 * out.abs().max()


@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("encoding", ["probes", "gradients"])
def test_probes_and_gradients_go_with_every_architecture(name, task, encoding):
    space = SPACES[0]
    net = make(name, task, space, **{encoding: 5})
    assert net.symmetry == (space.symmetry("trivial" if name == "mlp" else "permutation"))
    assert_respects(net, space)
    plain = make(name, task, space, **({"fourier": None} if name == "monomial-nfn" else {}))
    assert sum(p.numel() for p in net.parameters()) > sum(p.numel() for p in plain.parameters())
    output_of(net, space.sample(3)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_output_capacity_expansion_goes_with_every_architecture(name):
    space = SPACES[0]
    torch.manual_seed(0)
    editor = ws.OutputCapacityExpansion(make(name, "equivariant", space), space, init_scale=0.1).double().eval()
    editor.symmetry = editor.net.symmetry
    assert_equivariant(editor, space)
    theta, x = space.sample(2).to(torch.float64), torch.rand(7, 2, dtype=torch.float64)
    with torch.no_grad():
        ensemble = editor(theta)
        wide_space, wide = ws.merge_ensemble(space, ensemble)
        expected, found = space.realize(ensemble, x).mean(-1), wide_space.realize(wide, x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def sanity_targets(name, space, theta):
    """Give back the weights; a constant; each neuron's bias on the weights that enter it. As far as the group allows.

    Where signs or scales are respected, a constant can only stand on the output's bias, and biases are read back where
    they stand.
    """
    scaled = CLAIMS.get(name) == "largest"
    constant, read = {}, {}
    for p in space.parameters:
        t = theta[p.name]
        constant[p.name] = torch.full_like(t, 0.0 if scaled and p.groups != ("output",) else 0.5)
        bias = theta[p.name.replace("weight", "bias")]
        written = bias if p.name.endswith("bias") else bias[:, :, None].expand_as(t)
        read[p.name] = written if scaled == p.name.endswith("bias") else torch.zeros_like(t)
    return torch.cat([theta.flatten(), space.features(constant).flatten(), space.features(read).flatten()], 1)


@pytest.mark.parametrize("name", [name for name in EQUIVARIANT if CLAIMS.get(name) != "trivial"])
def test_sanity_maps_can_be_learnt(name):
    """Published code failed at these: the identity, a constant, and reading each neuron's bias back."""
    space = ws.mlp([2, 6, 6, 1], activation="tanh")
    generator = torch.Generator().manual_seed(0)
    theta = space.features({p.name: torch.randn(32, *p.shape, 1, generator=generator) for p in space.parameters})
    target = sanity_targets(name, space, theta)
    torch.manual_seed(0)
    options = {"hidden": 16, "depth": 2, "dropout": 0.0, "standardize": "none"}
    options |= {"fourier": None} if name in FOURIER and name != "nft" else {"hidden": 64} if name == "canon-mlp" else {}
    net = ws.build(name, space, out_channels=3, **options)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 300)
        out = net(theta)
        found = torch.cat([torch.cat([t[..., c].flatten(1) for t in out.values()], 1) for c in range(3)], 1)
        loss = (found - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 * target.square().mean()


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
        (lambda s: ws.build("dwz", s), "unknown architecture 'dwz'; known: .*dws"),
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
        (lambda s: ws.build("gmn", None), "space: expected a weight space, found NoneType"),
        (lambda s: ws.build("gmn", s)(torch.zeros(2)), "expected weight features, found Tensor"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.ModelError, match=message):
        call(SPACES[0])


def test_statistics_per_entry_are_not_called_equivariant():
    space = SPACES[0]
    net = ws.build("dws", space, standardize="entry")
    assert {factor.name for factor in net.symmetry.factors} == {"trivial"}


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_training_batch_of_one(name, task):
    space = SPACES[0]
    assert output_of(make(name, task, space).train(), space.sample(1)).isfinite().all()


@pytest.mark.parametrize("name", TAPS)
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
    net = ws.build(name, space, out_channels=2, **small(name))
    theta = space.features({p.name: torch.randn(2, *p.shape, 1) for p in parameters})
    assert [t.shape for t in net(theta).values()] == [(2, *p.shape, 2) for p in parameters]
    assert_equivariant(net, space)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), CASES)
def test_compiles(name, task):
    space = SPACES[0]
    theta = space.sample(3, torch.Generator().manual_seed(0))
    net = make(name, task, space).eval()
    with torch.no_grad():
        expected = output_of(net, theta)
        torch.testing.assert_close(output_of(torch.compile(net), theta), expected, rtol=1e-4, atol=1e-5)
