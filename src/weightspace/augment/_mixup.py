"""Mixup: networks between two of a batch, with their targets, or between a network and a changed copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._errors import WeightspaceError
from ..orbit import align
from ..space import WeightFeatures, check_features
from ._chain import Augmentation, check
from ._orbits import RandomElement

__all__ = ["Mixed", "Mixup", "SelfMixup"]


class Mixed(NamedTuple):
    """Mixed networks.

    Attributes:
        theta: ``share * theta + (1 - share) * theta[partner]``, where the partner may have been moved along its orbit.
        partner: [batch], the place of the network with which each is mixed.
        share: [batch], of each network itself.
        target_share: [batch], of its target: ``share``, or 0 and 1 where targets are not mixed.
    """

    theta: WeightFeatures
    partner: Int[Tensor, "batch"]
    share: Float[Tensor, "batch"]
    target_share: Float[Tensor, "batch"]

    def targets(self, targets: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The targets of the mixed networks, of numbers such as accuracies, or of classes as one-hot vectors."""
        own = self.target_share.to(targets).view(-1, *[1] * (targets.dim() - 1))
        return own * targets + (1 - own) * targets[self.partner.to(targets.device)]


@dataclass(frozen=True)
class Mixup:
    """Mixes each network with another one of the batch, drawn at random; shares are Beta(alpha, alpha).

    Weights of two networks that were trained apart do not correspond, and a network between them computes little of
    either. With ``aligned`` the partner is first moved along its orbit, as near as `align` finds. Source: Zhang et al.
    (2018, arXiv 1710.09412); for weights Shamsian et al. (2024, arXiv 2402.04081), who have all four settings.

    Attributes:
        alpha: 1 for uniform shares; small ones leave most networks nearly as they are.
        aligned: align the partners first.
        shuffled: move the partners by random elements of the group first, without scales, as `RandomElement` does.
        majority: do not mix targets: a mixed network has that of the one with the larger share.
        group: that of the alignment or of the random elements, by name; the largest one if None.

    Raises:
        WeightspaceError: for ``aligned`` and ``shuffled`` at once, or a group with neither.

    Example:
        >>> import torch, weightspace as ws
        >>> theta, labels = ws.siren([2, 16, 1]).sample(4), torch.eye(10)[[3, 1, 4, 1]]
        >>> mixed = ws.augment.Mixup(aligned=True)(theta, torch.Generator().manual_seed(0))
        >>> mixed.targets(labels).sum(1)
        tensor([1., 1., 1., 1.])
    """

    alpha: float = 1.0
    aligned: bool = False
    shuffled: bool = False
    majority: bool = False
    group: str | None = None

    def __post_init__(self) -> None:
        check(self, "alpha", self.alpha, 1e-3, 1e3)
        if self.aligned and self.shuffled:
            raise WeightspaceError("Mixup: expected partners that are aligned or shuffled, not both")
        if self.group is not None and not (self.aligned or self.shuffled):
            raise WeightspaceError(
                f"Mixup: group: only for partners that are aligned or shuffled, found {self.group!r}"
            )

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> Mixed:
        """The mixed networks, with what is needed to mix their targets; of one network alone, the network."""
        check_features(theta)
        order = torch.randperm(len(theta), generator=generator)
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)  # one cycle: no network is its own partner
        share = _shares(len(theta), self.alpha, generator)
        other: WeightFeatures = theta[partner]
        if self.aligned:
            other = align(theta, other, self.group).theta
        if self.shuffled:
            other = RandomElement(group=self.group)(other, generator)
        return Mixed(_between(theta, other, share), partner, share, share.round() if self.majority else share)


@dataclass(frozen=True)
class SelfMixup:
    """Mixes each network with a changed copy of itself, which is aligned to it first; the targets stay.

    Where the change is one along the orbit that the alignment undoes, such as a permutation, the network stays as it
    is; where it is another one, the network is moved by a part of what is left of the change. Source: "self-rebasin" of
    Shamsian et al. (2024, arXiv 2402.04081), whose change is `OneOf` all augmentations.

    Attributes:
        change: of the copies.
        alpha: shares are Beta(alpha, alpha); 1 for uniform ones, as published.
    """

    change: Augmentation
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check(self, "alpha", self.alpha, 1e-3, 1e3)

    def __call__(self, theta: WeightFeatures, generator: torch.Generator | None = None) -> WeightFeatures:
        """See `Augmentation`."""
        check_features(theta)
        other = self.change(theta, generator)
        share = _shares(len(theta), self.alpha, generator)
        return _between(theta, align(theta, other).theta, share)


def _shares(batch: int, alpha: float, generator: torch.Generator | None) -> Float[Tensor, "batch"]:
    seed = int(torch.randint(2**62, (), generator=generator))  # torch draws no Beta from a generator
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, batch))


def _between(theta: WeightFeatures, other: WeightFeatures, share: Float[Tensor, "batch"]) -> WeightFeatures:
    """``share * theta + (1 - share) * other``."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        own = share.to(a).view(-1, *[1] * (a.dim() - 1))
        return own * a + (1 - own) * b

    return theta.map(mixed, other)
