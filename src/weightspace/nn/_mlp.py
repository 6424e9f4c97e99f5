"""The multilayer perceptron that reads out invariant features."""

from __future__ import annotations

from torch import nn

__all__ = ["head"]


def head(in_features: int, hidden: int, out_features: int, dropout: float = 0.0, depth: int = 3) -> nn.Sequential:
    """``depth`` linear layers with ReLU and dropout between: the read-out of invariant features."""
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Linear(in_features, hidden), nn.ReLU(), nn.Dropout(dropout)]
        in_features = hidden
    return nn.Sequential(*layers, nn.Linear(in_features, out_features))
