"""The multilayer perceptron that reads out invariant features."""

from __future__ import annotations

from torch import nn

__all__ = ["head"]


def head(in_features: int, hidden: int, out_features: int, dropout: float = 0.0) -> nn.Sequential:
    """Two hidden layers with ReLU and dropout: the read-out of invariant features."""
    return nn.Sequential(
        nn.Linear(in_features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, out_features),
    )
