"""Networks that differ only by their symmetry compute the same; networks that differ by anything else do not."""

import torch

import weightspace as ws


def main() -> None:
    x = torch.randn(200, 2, dtype=torch.float64)
    for activation in ("relu", "tanh", "sine", "gelu"):
        space = ws.mlp([2, 32, 32, 1], activation=activation)
        theta = space.sample(16).to(torch.float64)
        group = space.symmetry()
        moved = group.act(group.sample(16, dtype=torch.float64), theta)
        weights = (moved.flatten() - theta.flatten()).abs().max()
        outputs = (space.realize(moved, x) - space.realize(theta, x)).abs().max()
        name = group.factors[1].name
        print(f"{activation:5} {name:19} weights change by {weights:8.1e}, outputs by {outputs:.1e}")
        assert outputs < 1e-9 < weights

    siren = ws.siren([2, 32, 32, 1])
    try:
        siren.symmetry("positive_monomial")
    except ws.SymmetryError as error:
        print(f"\nrefused: {error}")


if __name__ == "__main__":
    main()
