"""Gradients of the pixel grids, the hand-written ones of SIRENs too, against autograd through `WeightSpace.realize`."""

import pytest
import torch

from weightspace import ZooError
from weightspace.space import WeightSpace, mlp, siren
from weightspace.zoo._any_grid import AnyGrid, check_chain, pixel_grid
from weightspace.zoo._grid import SirenGrid


def pixels(height: int, width: int) -> torch.Tensor:
    """Coordinates (x, y), the column fastest, in double precision."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (height, width))
    return torch.cartesian_prod(y, x).flip(1)


@pytest.mark.parametrize(
    ("space", "height", "width"),
    [
        (siren([2, 32, 32, 1], 30.0, 0.25), 9, 9),
        (siren([2, 6, 1], 7.0, 0.25), 4, 5),
        (siren([2, 5, 7, 3, 3], 30.0, 0.25), 5, 8),
        (siren([2, 1, 4, 2, 6, 2], 12.0, 0.25), 8, 3),
        (siren([2, 3, 3, 1], 30.0, 0.25), 1, 6),
        (mlp([2, 6, 5, 1]), 4, 5),
        (mlp([2, 5, 7, 3, 3], "tanh"), 5, 8),
    ],
    ids=str,
)
def test_gradient_is_that_of_autograd(space: WeightSpace, height: int, width: int) -> None:
    theta = space.sample(3, torch.Generator().manual_seed(0)).to(torch.float64)
    targets = torch.rand(3, space.groups[-1].size, height * width, dtype=torch.float64)
    grid = pixel_grid(space)(space, height, width, 3, torch.float64, torch.device("cpu"))
    assert isinstance(grid, SirenGrid if space.groups[1].activation.name == "sine" else AnyGrid)
    grid.load(theta)
    offset = space.output_offset
    loss = grid.loss_and_gradient(targets - offset)
    gradient = grid.features(grid.gradient)

    theta = theta.map(lambda tensor: tensor.requires_grad_())
    outputs = space.realize(theta, pixels(height, width))
    expected_loss = (outputs.mT - targets).square().mean((1, 2))
    expected = torch.autograd.grad(expected_loss.sum(), theta.tensors)
    torch.testing.assert_close(loss, expected_loss.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grid.loss(targets - offset), expected_loss.detach(), rtol=1e-10, atol=1e-12)
    for found, wanted in zip(gradient.tensors, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("space", [siren([2, 5, 4, 3]), mlp([2, 5, 4, 3])])
def test_weights_come_back_as_loaded(space: WeightSpace) -> None:
    theta = space.sample(2)
    grid = pixel_grid(space)(space, 3, 4, 2, torch.float32, torch.device("cpu"))
    grid.load(theta)
    for found, wanted in zip(grid.features(grid.weights).tensors, theta.tensors, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("space", [siren([3, 8, 1]), siren([2, 1]), mlp([2, 1])])
def test_other_networks_are_refused(space: WeightSpace) -> None:
    with pytest.raises(ZooError, match="only chains of layers with 2 inputs"):
        check_chain(space)
