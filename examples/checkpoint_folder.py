"""Predict the test accuracy of checkpoints from their weights alone, for a folder of networks of your own class."""

import sys
import tempfile

import torch
from matplotlib.figure import Figure
from scipy.stats import kendalltau
from torch import nn
from torch.nn import functional as F

import weightspace as ws
from weightspace.models import StatisticsPredictor
from weightspace.zoo import mnist5k, read_checkpoints


def classifier() -> nn.Module:  # stands for your own network
    first, second = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 16, 3, stride=2)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def make_folder(folder: str, count: int) -> dict[str, float]:
    """Trains each network for 10 to 100 steps at a learning rate of its own; returns the test accuracies."""
    images, labels = mnist5k()
    order = torch.randperm(len(images))
    x, y = F.avg_pool2d(torch.as_tensor(images)[order, None] / 255, 2), torch.as_tensor(labels)[order]
    accuracy = {}
    for i in range(count):
        net, steps, rate = classifier(), int(10 ** (1 + torch.rand(()))), 10 ** (torch.rand(()).item() - 2.5)
        optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        for batch in torch.randint(4000, (steps, 64)):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy[f"{i:02}"] = (net(x[4000:]).argmax(1) == y[4000:]).float().mean().item()
        torch.save({"model": net.state_dict(), "steps": steps}, f"{folder}/{i:02}.pt")
    return accuracy


def main() -> None:
    torch.manual_seed(0)
    folder = tempfile.mkdtemp()
    accuracy = make_folder(folder, 60)
    space = ws.from_module(classifier(), torch.randn(2, 1, 14, 14))
    found = read_checkpoints(folder, space)
    theta, y = found.theta, torch.tensor([accuracy[name] for name in found.names])
    predicted = StatisticsPredictor("forest").fit(theta[:40], y[:40]).predict(theta[40:])
    tau = kendalltau(predicted, y[40:]).statistic
    print(f"{found}, accuracies from {y.min():.2f} to {y.max():.2f}; Kendall's tau on 20 others: {tau:.2f}")
    axes = Figure(figsize=(4, 4)).subplots()
    axes.scatter(y[40:], predicted)
    axes.set(xlabel="test accuracy", ylabel="predicted from the weights", title=f"Kendall's tau {tau:.2f}")
    axes.figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "checkpoint_folder.png", bbox_inches="tight")
    assert tau > 0.5


if __name__ == "__main__":
    main()
