"""A ResNet and a vision transformer as weight spaces: read off the modules, moved along their orbits, put back."""

import torch
from torch import nn
from torch.nn import functional as F

import weightspace as ws


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.second, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.norm2(self.second(F.relu(self.norm1(self.first(x))))))


class VisionTransformer(nn.Module):
    """Patches, positions, encoder layers, and the mean of all tokens."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.positions = nn.Parameter(0.1 * torch.randn(1, 16, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).mT + self.positions
        return self.head(self.encoder(tokens).mean(1))


def resnet() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*stem, Residual(8), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def main() -> None:
    images = torch.randn(5, 1, 16, 16, dtype=torch.float64)
    for make in (resnet, VisionTransformer):
        space = ws.from_module(make(), torch.randn(2, 1, 16, 16))
        print(f"\n{make.__name__}: {space.num_parameters} weights in {len(space.parameters)} parameters")
        for neurons in space.groups:
            ties = [f"{word} {other}" for word, other in (("tied to", neurons.tied), ("over", neurons.over)) if other]
            print(f"  {neurons.name:36}{neurons.size:4}  {neurons.symmetry.name:26}{' '.join(ties)}")

        networks = [make().double() for _ in range(4)]
        theta = space.stack(networks)
        group = space.symmetry()
        moved = group.act(group.sample(4, dtype=torch.float64), theta)
        weights = (moved.flatten() - theta.flatten()).abs().max()
        outputs = (space.realize(moved, images) - space.realize(theta, images)).abs().max()
        print(f"  weights change by {weights:.1e}, outputs by {outputs:.1e}")
        back = space.to_module(moved[:1]).eval()
        assert (back(images) - networks[0].eval()(images)).abs().max() < 1e-9 < weights

        net = ws.build("gmn", space, task="invariant", out_features=3, hidden=8, depth=2)
        print(f"  three numbers for each network: {tuple(net(theta.to(torch.float32)).shape)}")


if __name__ == "__main__":
    main()
