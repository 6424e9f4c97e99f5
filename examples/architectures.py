"""Every architecture on the same networks: parameters, the group that it claims, and how well it keeps the claim."""

import torch

import weightspace as ws


def main() -> None:
    space = ws.siren([2, 16, 16, 1])
    print(f"{'name':14}{'parameters':>12}  {'claims, on hidden neurons':28}{'error':>9}{'under signs too':>18}")
    for name in ws.architectures():
        torch.manual_seed(0)
        task = "equivariant" if name in ws.architectures("equivariant") else "invariant"
        net = ws.build(name, space, task, hidden=8, depth=2)
        claim = net.symmetry.factors[1].name
        error = ws.testing.equivariance_error(net, space)
        signs = ws.testing.equivariance_error(net, space, space.symmetry())
        size = sum(p.numel() for p in net.parameters())
        print(f"{name:14}{size:12}  {claim:28}{error:9.1e}{signs:18.1e}")
        assert error < 1e-9, f"{name} does not keep its claim"


if __name__ == "__main__":
    main()
