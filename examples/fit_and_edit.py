"""Fit INRs to eight MNIST digits, then train an editor on these eight until it makes the digits bolder."""

import tempfile
from pathlib import Path

import torch

import weightspace as ws
from weightspace.tasks import dilate
from weightspace.zoo import coordinates, fit_inrs, mnist5k


def main() -> None:
    images, labels = mnist5k()
    folder = Path(tempfile.mkdtemp()) / "eight"
    zoo = fit_inrs(images[:8], folder, labels=labels[:8], recipe="fast-300", progress=False)
    print(f"{len(zoo)} INRs of the digits {labels[:8]}, {zoo.metadata['psnr'].mean():.1f} dB")

    torch.manual_seed(0)
    net = ws.build("gmn", zoo.space, out_channels=4, hidden=32, depth=3, dropout=0.0, standardize="orbit")
    net.standardize.fit(zoo.weights)
    editor = ws.OutputCapacityExpansion(net, zoo.space, init_scale=3e-3)
    optimizer = torch.optim.Adam(editor.parameters(), lr=5e-3)
    points = coordinates(28, 28)
    target = dilate(zoo.images / 255).flatten(1)

    def error(theta: ws.WeightFeatures) -> torch.Tensor:
        shown = zoo.space.realize(theta, points).mean(-1)  # over the k networks, or over the one output
        return (shown.flatten(1) - target).square().mean()

    nothing = error(zoo.weights).item()
    for step in range(41):
        loss = error(editor(zoo.weights))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(editor.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step:2}: error {loss.item():.4f} (doing nothing: {nothing:.4f})")
    assert loss.item() < 0.7 * nothing


if __name__ == "__main__":
    main()
