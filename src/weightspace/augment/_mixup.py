"""Mixup: networks between two of a batch, with their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..orbit import align
from ..space import WeightFeatures, check_features
from ._chain import check

__all__ = ["Mixed", "Mixup"]


class Mixed(NamedTuple):
    """Mixed networks.

    Attributes:
        theta: ``share * theta + (1 - share) * theta[partner]``.
        partner: [batch], the place of the network with which each is mixed.
        share: [batch], of each network itself.
    """

    theta: WeightFeatures
    partner: Int[Tensor, "batch"]
    share: Float[Tensor, "batch"]

    def targets(self, targets: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The targets, such as one-hot classes or accuracies, mixed as the networks are."""
        share = self.share.to(targets).view(-1, *[1] * (targets.dim() - 1))
        return share * targets + (1 - share) * targets[self.partner.to(targets.device)]


@dataclass(frozen=True)
class Mixup:
    """Mixes each network with another one of the batch, drawn at random; shares are Beta(alpha, alpha).

    Weights of two networks that were trained apart do not correspond, and a network between them computes little of
    either. With ``aligned`` the partner is first moved along its orbit, as near as `align` finds. Source: Zhang et al.
    (2018, arXiv 1710.09412); for weights Shamsian et al. (2024, arXiv 2402.04081).

    Attributes:
        alpha: 1 for uniform shares; small ones leave most networks nearly as they are.
        aligned: align the partners first.
        group: that of the alignment, as `align` takes it by name.

    Example:
        >>> import torch, weightspace as ws
        >>> theta, labels = ws.siren([2, 16, 1]).sample(4), torch.eye(10)[[3, 1, 4, 1]]
        >>> mixed = ws.augment.Mixup(aligned=True)(theta, torch.Generator().manual_seed(0))
        >>> mixed.targets(labels).sum(1)
        tensor([1., 1., 1., 1.])
    """

    alpha: float = 1.0
    aligned: bool = False
    group: str | None = None

    def __post_init__(self) -> None:
        check(self, "alpha", self.alpha, 1e-3, 1e3)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> Mixed:
        """The mixed networks, with what is needed to mix their targets; of one network alone, the network."""
        check_features(theta)
        order = torch.randperm(len(theta), generator=generator)
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)  # one cycle: no network is its own partner
        seed = int(torch.randint(2**62, (), generator=generator))  # torch draws no Beta from a generator
        share = torch.from_numpy(np.random.default_rng(seed).beta(self.alpha, self.alpha, len(theta)))
        other: WeightFeatures = theta[partner]
        if self.aligned:
            other = align(theta, other, self.group).theta

        def between(a: Tensor, b: Tensor) -> Tensor:
            own = share.to(a).view(-1, *[1] * (a.dim() - 1))
            return own * a + (1 - own) * b

        return Mixed(theta.map(between, other), partner, share)
