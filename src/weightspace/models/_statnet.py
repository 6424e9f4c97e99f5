"""StatNet: statistics of the weights, into a multilayer perceptron or into trees."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..nn import head
from ..space import WeightFeatures, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import all_permutations

__all__ = ["StatisticsPredictor", "statnet", "weight_statistics"]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def weight_statistics(theta: WeightFeatures) -> Float[Tensor, "batch features"]:
    """Mean, unbiased variance, minimum, quartiles and maximum of each parameter and channel, over all its entries.

    The variance of a single entry is 0; quantiles are interpolated linearly.

    Source: Unterthiner et al. (2020), arXiv 2002.11448.

    Args:
        theta: weight features of B networks with C channels and T parameters.

    Returns:
        ``[B, 7 * C * T]``: parameter by parameter, channel by channel.
    """
    parts = []
    for tensor in theta.tensors:
        entries = tensor.reshape(len(theta), -1, theta.channels)
        count = entries.shape[1]
        mean = entries.mean(1, keepdim=True)
        variance = (entries - mean).square().sum(1, keepdim=True) / max(1, count - 1)
        # torch.quantile takes neither bfloat16 nor more than 2^24 entries
        ordered = entries.sort(dim=1).values
        places = [q * (count - 1) for q in _QUANTILES]
        quantiles = torch.lerp(
            ordered[:, [math.floor(place) for place in places]],
            ordered[:, [math.ceil(place) for place in places]],
            ordered.new_tensor([place % 1 for place in places])[:, None],
        )
        parts.append(torch.cat([mean, variance, quantiles], dim=1).mT.flatten(1))
    return torch.cat(parts, dim=1)


class _WeightStatistics(nn.Module):
    def forward(self, theta: WeightFeatures) -> Tensor:
        return weight_statistics(theta)


@register("statnet", tasks=("invariant",))
def statnet(space: WeightSpace, ports: Ports, hidden: int = 1000, depth: int = 3, dropout: float = 0.1) -> Body:
    """A multilayer perceptron on `weight_statistics`, which no permutation of any neurons changes.

    Source: Unterthiner et al. (2020), arXiv 2002.11448, in the configuration of Zhou et al. (2023), arXiv 2302.14040.

    Args:
        space: weight space of the networks.
        ports: input and output.
        hidden: width of the layers.
        depth: number of linear layers.
        dropout: probability.
    """
    features = (2 + len(_QUANTILES)) * ports.in_channels * len(space.parameters)
    net = nn.Sequential(_WeightStatistics(), head(features, hidden, ports.out, dropout, depth))
    return Body(net, all_permutations(space))


class StatisticsPredictor:
    """Trees on `weight_statistics`: gradient boosting or a random forest, from scikit-learn.

    Args:
        kind: "boosting" (histogram gradient boosting) or "forest" (random forest).
        target: "regression" or "classification".
        seed: of the trees.

    Raises:
        ModelError: for another kind or target, or if scikit-learn is not installed.

    Example:
        >>> import weightspace as ws
        >>> theta = ws.mlp([2, 8, 1]).sample(50)
        >>> StatisticsPredictor("forest").fit(theta, theta["0.weight"].mean((1, 2, 3))).predict(theta).shape
        torch.Size([50])
    """

    def __init__(
        self,
        kind: Literal["boosting", "forest"] = "boosting",
        target: Literal["regression", "classification"] = "regression",
        seed: int = 0,
    ) -> None:
        try:
            from sklearn import ensemble
        except ImportError as error:
            raise ModelError("trees need scikit-learn: pip install 'weightspace[baselines]'") from error
        makers = {
            ("boosting", "regression"): ensemble.HistGradientBoostingRegressor,
            ("boosting", "classification"): ensemble.HistGradientBoostingClassifier,
            ("forest", "regression"): ensemble.RandomForestRegressor,
            ("forest", "classification"): ensemble.RandomForestClassifier,
        }
        if (kind, target) not in makers:
            raise ModelError(
                "expected kind 'boosting' or 'forest' and target 'regression' or 'classification', found "
                f"{kind!r} and {target!r}"
            )
        self.trees: Any = makers[kind, target](random_state=seed)

    def fit(self, theta: WeightFeatures, y: Float[Tensor, "batch"]) -> Self:
        """Fits the trees.

        Args:
            theta: the training networks.
            y: one number, or one class, for each.

        Raises:
            ModelError: if there is not one target for each network.
        """
        if y.shape != (len(theta),):
            raise ModelError(f"expected one target for each of {len(theta)} networks, found shape {tuple(y.shape)}")
        self.trees.fit(_rows(theta), y.cpu().numpy())
        return self

    def predict(self, theta: WeightFeatures) -> Float[Tensor, "batch"]:
        """One number, or one class, for each network, in the dtype of scikit-learn."""
        return torch.from_numpy(self.trees.predict(_rows(theta)))


def _rows(theta: WeightFeatures) -> Any:
    return weight_statistics(theta.detach()).double().cpu().numpy()
