"""The optimisers of a zoo: one update for many networks, each with a rule of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Optimizer"]

_LARGEST = 1e3  # no network that learns has such a weight


@dataclass(frozen=True)
class _Rule:
    """m ← momentum m + share g, v ← memory v + (1 - memory) g², w ← w - rate m / (√v + ε), or w - rate m."""

    momentum: float
    share: float
    memory: float = 0.0
    adaptive: bool = True
    corrected: bool = False  # both means are divided by what they have seen of the gradients, as in Adam


_RULES = {
    "adam": _Rule(0.9, 0.1, 0.999, corrected=True),
    "rmsprop": _Rule(0.0, 1.0, 0.9),
    "sgd": _Rule(0.0, 1.0, adaptive=False),
    "sgd_momentum": _Rule(0.9, 1.0, adaptive=False),
}
_EPS = 1e-8


class Optimizer:
    """Adam, RMSprop (memory .9) and gradient descent with and without momentum (.9), as `torch.optim` has them.

    A step that would make a weight not finite, or larger than 1000, is not taken, and the network stays as it is from
    then on.

    Args:
        names: the rule of each network: "adam", "rmsprop", "sgd" or "sgd_momentum".
        weights: all weights of each network; `step` changes them.
    """

    def __init__(self, names: Sequence[str], weights: "Float[Tensor, 'networks weights']") -> None:
        rules = [_RULES[name] for name in names]

        def column(name: str) -> Tensor:
            return torch.tensor([[float(getattr(rule, name))] for rule in rules], dtype=weights.dtype)

        self.weights, self.steps = weights, 0
        self.momentum, self.share, self.memory = column("momentum"), column("share"), column("memory")
        self.adaptive, self.corrected = column("adaptive").bool(), column("corrected").bool()
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.alive: Bool[Tensor, "networks 1"] = torch.ones(len(rules), 1, dtype=torch.bool)

    @torch.no_grad()
    def step(self, gradient: "Float[Tensor, 'networks weights']", rate: "Float[Tensor, 'networks 1']") -> None:
        """One step of every network."""
        self.steps += 1
        self.mean.mul_(self.momentum).addcmul_(gradient, self.share)
        self.square.mul_(self.memory).addcmul_(gradient * gradient, 1 - self.memory)
        mean_seen = torch.where(self.corrected, 1 - self.momentum**self.steps, 1)
        square_seen = torch.where(self.corrected, 1 - self.memory**self.steps, 1)
        scale = torch.where(self.adaptive, (self.square / square_seen).sqrt() + _EPS, 1)
        new = self.weights - rate / mean_seen * self.mean / scale
        self.alive &= (new.abs() <= _LARGEST).all(1, keepdim=True)  # false for what is not a number, too
        self.weights.copy_(torch.where(self.alive, new, self.weights))
