"""Predict eight networks for one input, and put them into a single plain torch module that computes their mean."""

import torch
from torch import nn

import weightspace as ws


def main() -> None:
    torch.manual_seed(0)
    space = ws.siren([2, 32, 32, 1])
    net = ws.build("gmn", space, out_channels=8, hidden=32, depth=3)
    editor = ws.OutputCapacityExpansion(net, space, init_scale=0.1).double().eval()
    theta = space.sample(1).to(torch.float64)
    x = torch.rand(500, 2, dtype=torch.float64) * 2 - 1

    with torch.no_grad():
        ensemble = editor(theta)
        outputs = space.realize(ensemble, x)
        wide_space, wide = ws.merge_ensemble(space, ensemble)
        module = wide_space.to_module(wide)
        gap = (module(x) - outputs[0].mean(-1)).abs().max().item()

    assert isinstance(module, nn.Module)
    print(module)
    print(f"the 8 networks differ by {outputs.std(-1).mean():.2e}")
    print(f"{space.num_parameters} parameters each, {wide_space.num_parameters} in the merged one")
    print(f"largest difference between the module and the mean of the ensemble: {gap:.0e}")
    assert gap < 1e-12


if __name__ == "__main__":
    main()
