"""The network of the Small CNN Zoo (Unterthiner et al., 2020, arXiv 2002.11448), alone and many at once."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ._dropout import Dropout

__all__ = ["SmallCNN", "cnn_logits"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


class SmallCNN(nn.Module):
    """Three convolutions 3 × 3 with stride 2, the mean over the positions, a linear layer: 4970 parameters.

    Source: Unterthiner et al. (2020), arXiv 2002.11448.

    Args:
        activation: after each convolution, with dropout behind it.
        classes: number of outputs.
        dropout: share of the units that are dropped in training.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.from_module(ws.zoo.SmallCNN("relu"), torch.randn(2, 1, 28, 28))
        >>> space.num_parameters, space.groups[1].symmetry.name
        (4970, 'positive_monomial')
    """

    def __init__(
        self, activation: Literal["relu", "tanh"] = "relu", classes: int = 10, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation = activation
        self.conv0, self.conv1, self.conv2 = (nn.Conv2d(n, 16, 3, stride=2) for n in (1, 16, 16))
        self.fc = nn.Linear(16, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: "Float[Tensor, 'batch 1 height width']") -> "Float[Tensor, 'batch classes']":
        """The logits."""
        x = images
        for layer in (self.conv0, self.conv1, self.conv2):
            x = self.dropout(_ACTIVATIONS[self.activation](layer(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def cnn_logits(
    parameters: Mapping[str, Tensor],
    images: "Float[Tensor, 'networks batch 1 height width']",
    activation: str,
    dropout: Dropout | None = None,
) -> "Float[Tensor, 'networks batch classes']":
    """The logits of many `SmallCNN`, each on images of its own: convolutions with one group for each network.

    Args:
        parameters: those of the module, stacked along a first axis.
        images: the images of each network.
        activation: "relu" or "tanh".
        dropout: drops units; nothing does without it.
    """
    networks = len(images)
    x = images.transpose(0, 1).flatten(1, 2)
    for layer in ("conv0", "conv1", "conv2"):
        weight, bias = parameters[f"{layer}.weight"].flatten(0, 1), parameters[f"{layer}.bias"].flatten()
        x = _ACTIVATIONS[activation](F.conv2d(x, weight, bias, stride=2, groups=networks))
        if dropout is not None:
            x = dropout(x.unflatten(1, (networks, -1)), axis=1).flatten(1, 2)
    features = x.mean((2, 3)).unflatten(1, (networks, -1)).transpose(0, 1)
    return torch.baddbmm(parameters["fc.bias"][:, None], features, parameters["fc.weight"].mT)
