"""Pairs of networks, and how far they are from each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..group import GeneralLinearGroup, Linear
from ..space import SymmetryGroup, WeightFeatures
from ._structure import carriers, columns, largest, moved

__all__ = ["Pairs", "differences", "fitted_differences"]


class Pairs(NamedTuple):
    """Pairs of normalised networks."""

    theta: WeightFeatures
    phi: WeightFeatures
    reach: Tensor  # [pairs, parameters], beyond which networks are certainly different
    tolerance: float
    group: SymmetryGroup

    def chosen(self, some: Tensor) -> Pairs:
        """Some of the pairs."""
        return self._replace(theta=self.theta[some], phi=self.phi[some], reach=self.reach[some])


def differences(theta: WeightFeatures, phi: WeightFeatures) -> Float[Tensor, "batch parameters"]:
    """For each parameter the largest difference of two entries, relative to its largest entry."""
    found = []
    for a, b in zip(theta.tensors, phi.tensors, strict=True):
        size = torch.maximum(largest(a), largest(b)).double()
        found.append(largest(a - b).double() / torch.where(size > 0, size, 1.0))
    return torch.stack(found, dim=1)


def fitted_differences(
    theta: WeightFeatures, phi: WeightFeatures, group: SymmetryGroup
) -> Float[Tensor, "batch parameters"]:
    """The differences that remain after orthogonal matrices in linear groups, which gaps of singular values blur."""
    for neurons, factor in zip(group.space.groups, group.factors, strict=True):
        if isinstance(factor, GeneralLinearGroup):
            places = [carrier.place for carrier in carriers(group.space)[neurons.name]]
            ours, theirs = (columns(networks, places, neurons.over) for networks in (theta, phi))
            left, _, right = torch.linalg.svd(ours @ theirs.mT)
            matrix = left @ right
            if factor.positive:
                allowed = (torch.linalg.det(matrix) > 0)[..., None, None]
                matrix = torch.where(allowed, matrix, torch.eye(matrix.shape[-1]).to(matrix))
            phi = moved(phi, neurons.name, Linear(matrix))
    return differences(theta, phi)
