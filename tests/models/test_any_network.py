"""What the architectures promise on networks that are no plain chains of layers, by hand and traced."""

import pytest
import torch
from _spaces import input_norm_space, norm_space, small_spaces
from torch import nn

import weightspace as ws
from weightspace.group import MonomialGroup
from weightspace.nn import EquivariantLinear
from weightspace.space import SymmetryGroup
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

NAMES = (
    "dws",
    "np-nfn",
    "hnp-nfn",
    "unf",
    "nft",
    "ng-t",
    "monomial-nfn",
    "canon-mlp",
    "mlp",
    "statnet",
    "transformer-nfn",
)
CASES = [(name, task) for task in ("equivariant", "invariant") for name in NAMES if name in ws.architectures(task)]
SPACES = small_spaces()


class Convolutions(nn.Module):
    """Convolutions with batch norm, one of them depthwise, and a shortcut; flattened into a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.depthwise, self.last = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.last(torch.relu(self.depthwise(x))))
        return self.head(x.flatten(1))


class Transformer(nn.Module):
    """Token and position embeddings, a pre-norm block, and a linear layer on the mean."""

    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(3, 4), nn.Parameter(torch.randn(1, 3, 4))
        self.block = nn.TransformerEncoderLayer(
            4, 2, 5, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(4, 2)

    def forward(self, tokens):
        return self.head(self.block(self.token(tokens) + self.position).mean(1))


TRACED = {
    "convolutions": (Convolutions, torch.randn(2, 1, 2, 2)),
    "transformer": (Transformer, torch.tensor([[0, 2, 1]])),
}


@pytest.fixture(scope="module")
def traced():
    """The spaces of the modules, each with modules in evaluation mode and an input."""
    torch.manual_seed(0)
    found = {}
    for name, (make, x) in TRACED.items():
        modules = [make().eval() for _ in range(3)]
        found[name] = ws.from_module(modules[0], x), modules, x
    return found


def build(name, task, space, **options):
    torch.manual_seed(0)
    fourier = {"fourier": 4} if name in ("np-nfn", "hnp-nfn", "nft", "monomial-nfn") else {}
    return ws.build(name, space, task, **{"hidden": 6, "depth": 2} | fourier | options)


def claimed(name, space):
    """Permutations, those of inputs and outputs too, permutations and scales, or nothing."""
    if name == "mlp":
        return space.symmetry("trivial")
    if name == "monomial-nfn":
        return space.symmetry().restricted(linear=False)
    group = space.symmetry("permutation")
    if name == "transformer-nfn":
        both = zip(space.symmetry().factors, group.factors, strict=True)
        return SymmetryGroup(space, tuple(own if own.scales == "linear" else other for own, other in both))
    if name == "statnet":
        everything = [MonomialGroup("permutation", permutes=True)] * len(space.groups)
        factors = zip(space.groups, group.factors, everything, strict=True)
        group = SymmetryGroup(space, tuple(own if g.kind == "hidden" else all_of for g, own, all_of in factors))
    return group


def check(name, task, space):
    net = build(name, task, space)
    assert net.symmetry == claimed(name, space)
    theta = space.sample(3, torch.Generator().manual_seed(0))
    theta = theta.map(lambda t: t + 0.1 * torch.rand(t.shape))
    net.standardize.fit(theta)
    out = net(theta)
    if task == "equivariant":
        assert [t.shape for t in out.tensors] == [(3, *p.shape, 1) for p in space.parameters]
        assert all((t[0] - t[1]).abs().max() > 0 for t in out.tensors)
        out = out.flatten()
    assert out.isfinite().all()
    out.square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    (assert_equivariant if task == "equivariant" else assert_invariant)(net, space)


@pytest.mark.parametrize(
    ("name", "task", "of"),
    [(*case, of) for case in CASES for of in SPACES if "tanh" not in of or case[0] == "monomial-nfn"],
)
def test_the_claim_shapes_and_gradients(name, task, of):
    check(name, task, SPACES[of])


@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("of", TRACED)
def test_the_claim_shapes_and_gradients_of_traced_networks(name, task, of, traced):
    check(name, task, traced[of][0])


@pytest.mark.parametrize("of", SPACES)
def test_attention_along_edges(of):
    for task in ("equivariant", "invariant"):
        net = build("ng-t", task, SPACES[of], attend="edges")
        (assert_equivariant if task == "equivariant" else assert_invariant)(net, SPACES[of])


@pytest.mark.parametrize("name", ["dws", "np-nfn", "hnp-nfn", "unf", "nft", "ng-t", "canon-mlp", "transformer-nfn"])
@pytest.mark.parametrize("of", ["conv", "norm", "attention"])
def test_scales_break_what_only_claims_permutations(name, of):
    """Negative control."""
    space = SPACES[of]
    error = equivariance_error(build(name, "invariant", space), space, space.symmetry().restricted(linear=False))
    assert error > 1e-5


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
@pytest.mark.parametrize("of", SPACES)
def test_canonical_forms_of_the_largest_group_go_through_standardised_scales(of, task):
    """Statistics are shared along all axes that general matrices mix, too."""
    space = SPACES[of]
    net = build("canon-mlp", task, space, group="largest", standardize="scale")
    net.standardize.fit(space.sample(9, torch.Generator().manual_seed(0)))
    assert net.symmetry == space.symmetry()
    (assert_equivariant if task == "equivariant" else assert_invariant)(net, space)


@pytest.mark.parametrize("of", SPACES)
def test_networks_whose_neurons_cannot_be_run_are_refused(of):
    for call in (
        lambda: ws.build("gradmetanet", SPACES[of]),
        lambda: ws.build("dws", SPACES[of], probes=2),
        lambda: ws.build("dws", SPACES[of], gradients=2),
        lambda: ws.merge_ensemble(SPACES[of], SPACES[of].sample(1)),
    ):
        with pytest.raises(ws.ModelError, match="need weights between two different neuron groups and vectors of one"):
            call()


def test_so_are_traced_ones(traced):
    for space, _, _ in traced.values():
        for call in (
            lambda s=space: ws.build("gradmetanet", s),
            lambda s=space: ws.build("dws", s, probes=2),
            lambda s=space: ws.merge_ensemble(s, s.sample(1)),
        ):
            with pytest.raises(ws.ModelError, match=r"need networks of linear layers and activations alone; .* traced"):
                call()


def test_a_traced_chain_is_a_chain():
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    space = ws.from_module(module, torch.randn(3, 2))
    assert_invariant(build("gradmetanet", "invariant", space, points=4), space)
    assert_equivariant(build("dws", "equivariant", space, probes=3), space)
    theta = space.stack([module])
    wide, merged = ws.merge_ensemble(space, theta.map(lambda t: t.expand(*t.shape[:-1], 2)))
    x = torch.randn(5, 2)
    torch.testing.assert_close(wide.realize(merged, x), space.realize(theta, x))


@pytest.mark.parametrize("of", TRACED)
def test_editing_traced_networks(of, traced):
    """The editor starts near its input, keeps variances positive, and its loss reaches every weight, buffers too."""
    space, modules, x = traced[of]
    theta = space.stack(modules)
    torch.manual_seed(0)
    editor = ws.OutputCapacityExpansion(build("dws", "equivariant", space, out_channels=2), space)
    edited = editor(theta)
    before, after = space.realize(theta, x), space.realize(edited, x).mean(-1)
    assert 0 < (after - before).abs().max() < 0.5 * before.abs().max()
    after.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in editor.parameters())
    reached = editor.scale.scale.grad != 0
    assert [p.name for p, some in zip(space.parameters, reached, strict=True) if not some] in (
        [],
        ["block.self_attn.in_proj_bias[4:8]"],  # softmax does not see a bias of all keys
    )
    editor.scale.scale.data.fill_(50.0)
    for name, tensor in editor(theta).items():
        if name.endswith("running_var"):
            assert (tensor > 0).all()


def test_the_average_of_an_edited_batch_norm_is_that_of_the_modules(traced):
    space, modules, x = traced["convolutions"]
    editor = ws.OutputCapacityExpansion(build("unf", "equivariant", space, out_channels=2), space, init_scale=0.1)
    with torch.no_grad():
        edited = editor.eval()(space.stack(modules))
        expected = [space.to_module(edited.map(lambda t, k=k: t[1:2, ..., k : k + 1]))(x) for k in range(2)]
        torch.testing.assert_close(space.realize(edited, x)[1].mean(-1), sum(expected) / 2)


@pytest.mark.parametrize("name", ["dws", "np-nfn", "nft", "monomial-nfn", "canon-mlp"])
def test_scales_without_permutations_are_left_out(name):
    """A norm of the input: its units stay where they are, and entry-wise maps take their scales for nothing."""
    space = input_norm_space()
    net = build(name, "equivariant", space)
    assert space.symmetry().factor("normed").scales == "nonzero"
    assert net.symmetry.factor("normed").scales == "none"
    assert net.symmetry.factor("a").scales == ("positive" if name == "monomial-nfn" else "none")
    assert_equivariant(net, space)


def test_the_options_for_large_networks():
    space = norm_space()
    for name in ("dws", "np-nfn", "hnp-nfn", "unf", "monomial-nfn"):
        assert not any(m.around for m in build(name, "invariant", space).modules() if isinstance(m, EquivariantLinear))
        net = build(name, "invariant", space, rank=3)
        assert any(m.around for m in net.modules() if isinstance(m, EquivariantLinear))
        assert_invariant(net, space)
