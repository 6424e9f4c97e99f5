"""from_module on networks of all kinds, checked without its own verification: the module itself is run."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.nn import functional as F

import weightspace as ws
from weightspace.group import POSITIVE_MONOMIAL
from weightspace.testing import strategies


class Block(nn.Module):
    def __init__(self, source, target, stride=1):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(source, target, 3, stride, 1, bias=False), nn.BatchNorm2d(target)
        self.conv2, self.norm2 = nn.Conv2d(target, target, 3, 1, 1, bias=False), nn.BatchNorm2d(target)
        self.short = nn.Conv2d(source, target, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        y += self.short(x)
        return F.relu(y)


def resnet():
    stem = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
    blocks = Block(4, 4), Block(4, 8, 2), Block(8, 8)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


class Attention(nn.Module):
    def __init__(self, width, heads, packing):
        super().__init__()
        self.heads, self.packing = heads, packing
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        if self.packing == "numbered":
            q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.packing == "by head":
            q, k, v = self.qkv(x).view(batch, tokens, self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        else:
            q, k, v = (t.view(batch, tokens, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(width, dim=2))
        if self.packing == "causal":
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
            scores = scores.masked_fill(torch.tril(torch.ones(tokens, tokens)) == 0, float("-inf"))
            y = scores.softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


class Layer(nn.Module):
    def __init__(self, width, packing, post=False, norm=nn.LayerNorm):
        super().__init__()
        self.norm1, self.attention, self.norm2 = norm(width), Attention(width, 2, packing), norm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))
        self.post = post

    def forward(self, x):
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.mlp(x))
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, packing="numbered", post=False, norm=nn.LayerNorm):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        self.layers = nn.Sequential(Layer(8, packing, post, norm), Layer(8, packing, post, norm))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        return self.head(self.layers(x)[:, 0])


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(7, 8), nn.Embedding(6, 8)
        self.layer, self.norm, self.head = Layer(8, "causal"), nn.LayerNorm(8), nn.Linear(8, 7, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, index):
        x = self.tokens(index) + self.places(torch.arange(index.shape[1]))
        return self.head(self.norm(self.layer(x)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.up, self.join = nn.ConvTranspose2d(6, 3, 2, 2), nn.Conv2d(6, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        return self.last(F.relu(self.join(torch.cat([self.up(b), a], dim=1))))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.middle = nn.Linear(5, 6, bias=False), nn.Linear(6, 6)

    def forward(self, x):
        return F.linear(torch.tanh(self.middle(self.encode(x))), self.encode.weight.t())


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.start, self.norm, self.last = nn.Linear(4, 6), nn.RMSNorm(6), nn.Linear(6, 2)
        self.gate, self.value, self.down = nn.Linear(6, 9), nn.Linear(6, 9), nn.Linear(9, 6)

    def forward(self, x):
        x = self.start(x)
        y = self.norm(x)
        return self.last(x + self.down(F.silu(self.gate(y)) * self.value(y)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.last = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


def perceptron(activation):
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), activation, nn.Linear(5, 4), activation, nn.Linear(4, 2))


def encoder(**options):
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **options)
    return nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2))


def depthwise():
    layers = (
        nn.Conv2d(3, 6, 1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.GroupNorm(2, 4),
    )
    return nn.Sequential(*layers, nn.Hardswish(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(36, 2))


def convolutions(*last):
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.Tanh()
    return nn.Sequential(*layers, *last)


R = torch.randn
# the module, an example input, and matrix groups that must be found, with the number of neuron groups that have them
NETWORKS = {
    "relu": (lambda: perceptron(nn.ReLU()), R(2, 2, 3), {"positive_monomial": 2}),
    "leaky relu": (lambda: perceptron(nn.LeakyReLU(0.2)), R(2, 2, 3), {"positive_monomial": 2}),
    "tanh": (lambda: perceptron(nn.Tanh()), R(2, 2, 3), {"signed_permutation": 2}),
    "gelu": (lambda: perceptron(nn.GELU()), R(2, 2, 3), {"permutation": 2}),
    "linear": (lambda: perceptron(nn.Identity()), R(2, 2, 3), {"general_linear": 2}),
    "flatten": (
        lambda: convolutions(nn.Flatten(), nn.Linear(48, 2)),
        R(2, 1, 14, 14),
        {"signed_permutation": 2, "positive_monomial_scales": 1},
    ),
    "pooling": (
        lambda: convolutions(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
        R(2, 1, 14, 14),
        {"signed_permutation": 2, "positive_monomial_scales": 1},
    ),
    "resnet": (resnet, R(2, 3, 8, 8), {}),
    "vit": (VisionTransformer, R(2, 1, 8, 8), {"general_linear": 4, "monomial_scales": 4}),
    "vit, post-norm": (lambda: VisionTransformer(post=True), R(2, 1, 8, 8), {"general_linear": 4}),
    "vit, by head": (lambda: VisionTransformer("by head"), R(2, 1, 8, 8), {"general_linear": 4}),
    "vit, rms": (lambda: VisionTransformer(norm=nn.RMSNorm), R(2, 1, 8, 8), {"general_linear": 4}),
    "language": (Language, torch.randint(7, (2, 6)), {"general_linear": 2}),
    "encoder": (encoder, R(2, 5, 3), {"general_linear": 2, "positive_monomial": 1}),
    "encoder, pre-norm": (lambda: encoder(norm_first=True, activation="gelu"), R(2, 5, 3), {"general_linear": 2}),
    "u-net": (UNet, R(2, 1, 4, 4), {"positive_monomial": 3, "general_linear": 1}),
    "tied": (Tied, R(2, 5), {"signed_permutation": 1}),
    "gated": (Gated, R(2, 4), {"monomial_scales": 2}),
    "lstm": (Recurrent, R(2, 3, 3), {}),
    "depthwise": (depthwise, R(2, 3, 7, 7), {"positive_monomial": 1, "positive_monomial_scales": 1}),
}


def check(space, networks, x):
    """The function of each network before and after the action of the largest group; relative errors."""
    theta = space.stack(networks)
    with torch.no_grad():
        expected = torch.stack([net.eval()(x) for net in networks])
        group = space.symmetry()
        moved = group.act(group.sample(len(networks), dtype=torch.float64, scale_range=3.0), theta)
        states = space.unstack(moved)
        for net, state in zip(networks, states, strict=True):
            net.load_state_dict(state)
        found = torch.stack([net(x) for net in networks])
        size = expected.abs().max()
        assert (found - expected).abs().max() <= 1e-10 * size
        assert (space.realize(theta, x) - expected).abs().max() <= 1e-10 * size
    return theta, moved


@pytest.mark.parametrize("name", NETWORKS)
def test_the_group_preserves_the_module(name):
    make, x, expected = NETWORKS[name]
    torch.manual_seed(0)
    space = ws.from_module(make(), x)
    found = [factor.name for factor in space.symmetry().factors]
    assert {kind: found.count(kind) for kind in expected} == expected
    networks = [make().double() for _ in range(2)]
    for net in networks:
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor + 0.1 * torch.rand_like(tensor))
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in networks]
    theta, moved = check(space, networks, x.double() if x.is_floating_point() else x)
    assert (moved.flatten() - theta.flatten()).abs().max() > 0.1
    for state, back in zip(before, space.unstack(theta), strict=True):
        assert list(state) == list(back)
        assert all(torch.equal(state[k], back[k]) for k in state)


@pytest.mark.parametrize("name", ["gelu", "vit", "gated"])
def test_a_larger_group_does_not(name):
    make, x, _ = NETWORKS[name]
    torch.manual_seed(0)
    space = ws.from_module(make(), x)
    larger = ws.space.SymmetryGroup(
        space,
        tuple(
            POSITIVE_MONOMIAL
            if f.name in ("permutation", "signed_permutation")
            else f.__class__("trivial", False)
            if f.scales != "linear"
            else ws.group.TRIVIAL
            for f in space.symmetry().factors
        ),
    )
    theta, x = space.stack([make().double() for _ in range(2)]), x.double()
    before = space.realize(theta, x)
    after = space.realize(larger.act(larger.sample(2, dtype=torch.float64), theta), x)
    assert (after - before).abs().max() > 1e-3 * before.abs().max()


def test_branches_on_data_and_unknown_operations_are_named():
    class Branch(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else -x

    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(ws.SpaceError, match="Branch cannot be traced"):
        ws.from_module(Branch(3, 3), R(2, 3))
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Fourier()), nn.Linear(4, 2))
    with pytest.raises(ws.SpaceError, match=r"operation aten\.fft_fft at '1\.0' \(Fourier\)|fft.*'1\.0'"):
        ws.from_module(net, R(2, 3))
    space = ws.from_module(net, R(2, 3), unsupported="trivial")
    assert {factor.name for factor in space.symmetry().factors} == {"trivial"}


def test_the_module_is_left_as_it_is():
    net = resnet()
    net[4].eval()
    net[0].weight.requires_grad_(False)
    modes = [m.training for m in net.modules()]
    ws.from_module(net, R(2, 3, 8, 8))
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()].count(False) == 1


@pytest.mark.parametrize("examples", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_random_modules(examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(strategies.modules())
    def run(drawn):
        net, x = drawn
        space = ws.from_module(net, x)
        check(space, [net.double()], x.double() if x.is_floating_point() else x)

    run()
