"""Write an equivariant layer of your own and let the library check it; see the check refuse a wrong one."""

import torch
from torch import nn

import weightspace as ws
from weightspace.testing import assert_equivariant, equivariance_error


class OutgoingNorm(nn.Module):
    """Divides every weight by the norm of all weights that leave the same neuron, and leaves biases alone."""

    def forward(self, theta: ws.WeightFeatures) -> ws.WeightFeatures:
        return theta.map(lambda w: w / w.norm(dim=1, keepdim=True) if w.ndim == 4 else w)


class RunningSum(nn.Module):
    """Not equivariant: it adds up weights in the order in which the neurons happen to be numbered."""

    def forward(self, theta: ws.WeightFeatures) -> ws.WeightFeatures:
        return theta.map(lambda w: w.cumsum(dim=1))


def main() -> None:
    torch.manual_seed(0)
    for dims in ([2, 8, 1], [3, 16, 8, 2], [1, 5, 5, 5, 1]):
        space = ws.mlp(dims, activation="gelu")
        net = nn.Sequential(ws.nn.EquivariantLinear(space, 1, 4), OutgoingNorm(), ws.nn.EquivariantLinear(space, 4, 1))
        good = assert_equivariant(net, space)
        wrong = equivariance_error(nn.Sequential(net, RunningSum()), space)
        print(f"{space.summary():12} own layer {good:.0e}, wrong layer {wrong:.0e}")
        assert wrong > 1e-3


if __name__ == "__main__":
    main()
