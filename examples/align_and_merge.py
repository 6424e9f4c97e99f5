"""Networks trained from different seeds, on the straight line between them: before and after alignment.

Run: ``python examples/align_and_merge.py [picture.png] [--full]``; shows the package ``rebasin`` too if installed.
"""

import copy
import importlib.util
import sys
from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

import weightspace as ws
from weightspace.zoo import mnist5k

FULL = "--full" in sys.argv
PAIRS, WIDTH, CHANNELS, EPOCHS = (3, 512, 16, 5) if FULL else (2, 32, 4, 4)
PLACES = torch.linspace(0, 1, 11 if FULL else 5)


def mlp() -> nn.Module:
    layers = (nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def cnn() -> nn.Module:
    sizes = (1, CHANNELS), (CHANNELS, 2 * CHANNELS)
    blocks = [(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)) for a, b in sizes]
    return nn.Sequential(*blocks[0], *blocks[1], nn.Flatten(), nn.Linear(98 * CHANNELS, 10))


def trained(make: Callable[[], nn.Module], seed: int, images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    torch.manual_seed(seed)
    net = make()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in (batch for _ in range(EPOCHS) for batch in torch.randperm(len(images)).split(100)):
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return net


def main() -> None:
    images, labels = map(torch.as_tensor, mnist5k())
    images, labels = images.float().reshape(-1, 1, 28, 28) / 255, labels.long()
    train, test = slice(0, 4000 if FULL else 1000), slice(4000, 5000 if FULL else 4300)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for panel, make in zip(figure.subplots(1, 2), (mlp, cnn), strict=True):
        networks = [trained(make, seed, images[train], labels[train]) for seed in range(2 * PAIRS)]
        space = ws.from_module(make(), images[:2])
        a, b = space.stack(networks[:PAIRS]), space.stack(networks[PAIRS:])
        seen = list(images[train][:1000].split(250)) if make is cnn else None  # for new running statistics
        lines = {"as trained": ws.merge(a, b, PLACES, align=False), "aligned": ws.merge(a, b, PLACES)}
        if seen:
            lines["aligned, statistics reset"] = ws.merge(a, b, PLACES, data=seen)
        if importlib.util.find_spec("rebasin"):
            from rebasin import PermutationCoordinateDescent

            others = copy.deepcopy(networks[PAIRS:])
            for pair in zip(networks, others, strict=False):
                PermutationCoordinateDescent(*pair, images[:2]).rebasin()
            lines["rebasin, reset"] = ws.merge(a, space.stack(others), PLACES, align=False, data=seen)
        for name, line in lines.items():
            with torch.no_grad():
                outputs = torch.cat([space.realize(line[i : i + 8], images[test]) for i in range(0, len(line), 8)])
            loss = torch.stack([F.cross_entropy(out, labels[test]) for out in outputs]).view(PAIRS, -1)
            barrier = (loss - torch.lerp(loss[:, :1], loss[:, -1:], PLACES)).amax(1)
            numbers = f"{barrier.mean():.3f} ± {barrier.std():.3f}, loss at the end {loss[:, -1].mean():.3f}"
            print(f"{make.__name__}, {name:24} barrier of the test loss {numbers}")
            panel.plot(PLACES, loss.mean(0), label=name)
        panel.set(title=make.__name__.upper(), xlabel="place between the two networks", ylabel="test loss")
        panel.legend()
    figure.savefig(next((arg for arg in sys.argv[1:] if not arg.startswith("--")), "merge.png"), dpi=150)


if __name__ == "__main__":
    main()
