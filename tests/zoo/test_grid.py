"""The hand-written gradients, against autograd through `WeightSpace.realize`."""

import pytest
import torch

from weightspace import ZooError
from weightspace.space import mlp, siren
from weightspace.zoo._grid import SirenGrid


def pixels(height: int, width: int) -> torch.Tensor:
    """Coordinates (x, y), the column fastest, in double precision."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (height, width))
    return torch.cartesian_prod(y, x).flip(1)


@pytest.mark.parametrize(
    ("dims", "omega", "height", "width"),
    [
        ([2, 32, 32, 1], 30.0, 9, 9),
        ([2, 6, 1], 7.0, 4, 5),
        ([2, 5, 7, 3, 3], 30.0, 5, 8),
        ([2, 1, 4, 2, 6, 2], 12.0, 8, 3),
        ([2, 3, 3, 1], 30.0, 1, 6),
    ],
)
def test_gradient_is_that_of_autograd(dims: list[int], omega: float, height: int, width: int) -> None:
    space = siren(dims, omega=omega, output_offset=0.25)
    theta = space.sample(3, torch.Generator().manual_seed(0)).to(torch.float64)
    targets = torch.rand(3, dims[-1], height * width, dtype=torch.float64)
    grid = SirenGrid(space, height, width, 3, dtype=torch.float64)
    grid.load(theta)
    loss = grid.loss_and_gradient(targets - 0.25)
    gradient = grid.features(grid.gradient)

    theta = theta.map(lambda tensor: tensor.requires_grad_())
    outputs = space.realize(theta, pixels(height, width))
    expected_loss = (outputs.mT - targets).square().mean((1, 2))
    expected = torch.autograd.grad(expected_loss.sum(), theta.tensors)
    torch.testing.assert_close(loss, expected_loss.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grid.loss(targets - 0.25), expected_loss.detach(), rtol=1e-10, atol=1e-12)
    for found, wanted in zip(gradient.tensors, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def test_weights_come_back_as_loaded() -> None:
    space = siren([2, 5, 4, 3])
    theta = space.sample(2)
    grid = SirenGrid(space, 3, 4, 2)
    grid.load(theta)
    for found, wanted in zip(grid.features(grid.weights).tensors, theta.tensors, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("space", [mlp([2, 8, 1]), siren([3, 8, 1]), siren([2, 1])])
def test_other_networks_are_refused(space: object) -> None:
    with pytest.raises(ZooError, match="only SIRENs with 2 inputs"):
        SirenGrid(space, 3, 3, 1)  # type: ignore[arg-type]
