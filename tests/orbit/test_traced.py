import pytest
import torch
from _orbits import error
from torch import nn

import weightspace as ws


class ResidualBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class ResNet(nn.Module):
    def __init__(self, channels=6):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.blocks = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))
        self.head = nn.Linear(channels, 4)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.embed = nn.Linear(5, width)
        self.block = nn.TransformerEncoderLayer(width, 3, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.norm(self.block(self.embed(x))).mean(1))


class Plain(nn.Module):
    """Convolutions without norms and biases."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 5, 3, bias=False), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(80, 4)

    def forward(self, x):
        return self.head(self.layers(x))


EXAMPLES = {ResNet: torch.randn(2, 3, 8, 8), Transformer: torch.randn(2, 7, 5), Plain: torch.randn(2, 3, 8, 8)}


def traced(kind, fresh):
    """Four networks, fresh or with all weights random."""
    torch.manual_seed(0)
    space = ws.from_module(kind(), EXAMPLES[kind])
    theta = space.stack([kind() for _ in range(4)]).to(torch.float64)
    if fresh:
        return theta
    return space.features(
        {
            n: t + 0.2 + torch.rand_like(t) if "running_var" in n else t + 0.5 * torch.randn_like(t)
            for n, t in theta.items()
        }
    )


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda k: k.__name__)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", [None, "permutation"])
def test_traced_networks(kind, fresh, name):
    """Fresh norms have constant vectors, on which all neurons tie: colour refinement orders them."""
    theta = traced(kind, fresh)
    space, group = theta.space, theta.space.symmetry(name)
    form = ws.canonicalize(theta, group)
    assert (form.margin > 0).all() == (not (fresh and kind is ResNet))
    moved = group.act(group.sample(4, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
    assert error(moved, theta) > 0.1
    assert error(ws.canonicalize(moved, group).theta, form.theta) <= 1e-12
    assert error(group.act(form.element, theta), form.theta) == 0
    assert error(ws.canonicalize(form.theta, group).theta, form.theta) <= 1e-12
    x = torch.randn(EXAMPLES[kind].shape, dtype=torch.float64)
    expected = space.realize(theta, x)
    assert (space.realize(form.theta, x) - expected).abs().max() <= 1e-10 * expected.abs().max()
    assert ws.same_orbit(theta, moved, group) == [True] * 4
    assert ws.same_orbit(theta, moved[[1, 2, 3, 0]], group) == [False] * 4
