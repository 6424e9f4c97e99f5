"""StatNet: statistics of the weights, into a multilayer perceptron or into trees."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import ModelError
from ..nn import NUM_STATISTICS, head, weight_statistics
from ..space import WeightFeatures, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register
from ._stack import all_permutations

__all__ = ["StatisticsPredictor", "statnet", "weight_statistics"]


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
    features = NUM_STATISTICS * ports.in_channels * len(space.parameters)
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
