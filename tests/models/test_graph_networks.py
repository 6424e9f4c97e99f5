"""GMN, NG-GNN and ScaleGMN on networks that are no plain chains of layers, by hand and traced."""

import dataclasses

import pytest
import torch
from _spaces import grouped_space, input_norm_space, instance_norm_space, small_spaces
from torch import nn

import weightspace as ws
from weightspace.group import MONOMIAL
from weightspace.space import WeightSpace
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

NAMES = ("gmn", "ng-gnn", "scalegmn", "scalegmn-b")
CASES = [(name, task) for name in NAMES for task in ("equivariant", "invariant")]
FOURIER = {"ng-gnn": {"fourier": None}}  # or the change may be lost in noise
SPACES = small_spaces() | {"grouped": grouped_space(), "input norm": input_norm_space()}
SPACES |= {"instance norm": instance_norm_space()}
# what ScaleGMN respects of scales; of all other groups permutations
SCALES = {
    "conv": {"a": "positive", "b": "positive"},
    "conv-tanh": {"a": "signs", "b": "signs"},
    "residual": {"stream": "positive", "hidden0": "positive", "hidden1": "positive"},
    "residual-tanh": {"stream": "signs", "hidden0": "signs", "hidden1": "signs"},
    "norm": {},
    "attention": {},
    "depthwise": {"c": "signs"},
    "grouped": {},
    "input norm": {"a": "positive"},
    "instance norm": {},
}


def build(name, task, space, **options):
    torch.manual_seed(0)
    fourier = {"fourier": 4} if name == "ng-gnn" else {}
    return ws.build(name, space, task, **{"hidden": 6, "depth": 3} | fourier | options)


def assert_respects(net, space, **options):
    (assert_equivariant if net.task == "equivariant" else assert_invariant)(net, space, **options)


@pytest.mark.parametrize(
    ("name", "task", "of"),
    [(*case, of) for case in CASES for of in SPACES if "tanh" not in of or case[0].startswith("scale")],
)
def test_claims_shapes_and_gradients(name, task, of):
    space = SPACES[of]
    net = build(name, task, space)
    scales = SCALES[of] if name.startswith("scale") else {}
    permutations = space.symmetry("permutation")
    for group, factor in zip(space.groups, permutations.factors, strict=True):
        assert net.symmetry.factor(group.name).scales == scales.get(group.name, "none")
        assert net.symmetry.factor(group.name).permutes == factor.permutes
    assert_respects(net, space)
    theta = space.sample(3, torch.Generator().manual_seed(0)).map(lambda t: t + 0.1 * torch.rand(t.shape))
    out = net(theta)
    if task == "equivariant":
        assert [t.shape for t in out.tensors] == [(3, *p.shape, 1) for p in space.parameters]
        out = out.flatten()
    out.square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    if of == "input norm":  # its outputs have no bias, so the last layer need not tell them anything
        without = [n for n in without if not n.startswith("net.3.")]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", [of for of in SPACES if "tanh" not in of])
def test_no_parameter_is_overlooked(name, of):
    """Changing any one of them changes the output."""
    space = SPACES[of]
    net = build(name, "invariant", space, hidden=16, dropout=0.0, **FOURIER.get(name, {})).double()
    generator, n = torch.Generator().manual_seed(0), len(space.parameters)
    tensors = {p.name: torch.randn(1, *p.shape, 1, generator=generator).double() for p in space.parameters}
    changes = torch.cat([torch.zeros(1, n), 0.5 * torch.eye(n)]).double()  # in network 0 none, in each other one
    changed = {name: t + changes[:, i].view(-1, *[1] * (t.dim() - 1)) for i, (name, t) in enumerate(tensors.items())}
    with torch.no_grad():
        before, *after = net(space.features(changed))
    moved = [float((out - before).abs().max() / before.abs().max()) for out in after]
    assert [p.name for p, by in zip(space.parameters, moved, strict=True) if by < 1e-10] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", ["norm", "attention", "depthwise"])
def test_what_is_not_claimed_is_not_respected(name, of):
    """Negative control: scales behind norms, on diagonals and within heads."""
    space = SPACES[of]
    group = space.symmetry().restricted(linear=False)
    assert equivariance_error(build(name, "invariant", space), space, group) > 1e-6


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
@pytest.mark.parametrize("name", ["scalegmn", "scalegmn-b"])
@pytest.mark.parametrize("signs", ["absolute", "symmetrized"])
def test_scales_of_either_sign(name, task, signs):
    """Of a linear network whose groups are asked to be monomial: permutations, and any scales but zero."""
    chain = ws.mlp([2, 5, 4, 3], activation="identity")
    groups = [dataclasses.replace(g, largest=MONOMIAL if g.kind == "hidden" else None) for g in chain.groups]
    space = WeightSpace(tuple(groups), chain.parameters)
    net = build(name, task, space, signs=signs, depth=3)
    assert net.symmetry == space.symmetry("monomial")
    assert_respects(net, space)
    published = build("scalegmn-b", task, space, published=True)
    assert equivariance_error(published, space, space.symmetry()) > 1e-3
    assert_respects(published, space)


class Residual(nn.Module):
    """Convolutions with batch norm and a projected shortcut, in groups once."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.grouped, self.shortcut = nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Conv2d(4, 6, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.tanh(self.grouped(x) + self.shortcut(x)).mean((2, 3)))


class Joined(nn.Module):
    """Concatenation, as in a U-Net, and a slope that is learned."""

    def __init__(self):
        super().__init__()
        self.first, self.deeper, self.last = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(7, 2)
        self.slope = nn.PReLU()

    def forward(self, x):
        x = self.slope(self.first(x))
        return self.last(torch.cat([x, torch.tanh(self.deeper(x))], dim=-1))


def transformer():
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2))


@pytest.fixture(scope="module")
def traced():
    """Weight spaces of modules."""
    torch.manual_seed(0)
    modules = {
        "residual": (Residual(), torch.randn(2, 1, 4, 4)),
        "joined": (Joined(), torch.randn(2, 2)),
        "transformer": (transformer(), torch.randn(2, 3, 3)),
    }
    return {name: ws.from_module(module.eval(), x) for name, (module, x) in modules.items()}


@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("of", ["residual", "joined", "transformer"])
def test_traced_networks(name, task, of, traced):
    assert_respects(build(name, task, traced[of]), traced[of])


def test_scales_of_traced_networks(traced):
    """Where a group is tied to no other one, ScaleGMN respects what the tracing found."""
    symmetry = build("scalegmn-b", "invariant", traced["joined"]).symmetry
    assert {g.name: symmetry.factor(g.name).scales for g in traced["joined"].groups if g.kind == "hidden"} == {
        "first": "positive",
        "deeper": "signs",
    }
