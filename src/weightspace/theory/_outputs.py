"""Outputs of architectures with random weights."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..models import build
from ..space import WeightFeatures
from ._arguments import check_whole
from ._precision import single_by_default

__all__ = ["COLOR_REFINING", "fitted_readout", "output_gap", "random_outputs"]

COLOR_REFINING: dict[str, dict[str, Any]] = {
    "dws": {"reduction": "mean"},
    "hnp-nfn": {},
    "np-nfn": {},
    "gmn": {},
    "ng-gnn": {},
}
"""The architectures that tell apart what colour refinement does, and their options: maxima, the default of DWS, forget
how often a value occurs, and tell fewer apart."""


@single_by_default()
def random_outputs(
    architecture: str, theta: WeightFeatures, networks: int, seed: int, **options: Any
) -> Float[Tensor, "networks batch features"]:
    """Outputs of invariant networks with random weights; the global random generator stays as it is."""
    check_whole("networks", networks)
    outputs = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for i in range(networks):
            torch.manual_seed(seed + i)
            net = build(architecture, theta.space, task="invariant", **options).to(theta.dtype).eval()
            outputs.append(net(theta))
    return torch.stack(outputs)


def fitted_readout(
    features: Float[Tensor, "n features"], target: Float[Tensor, "n outputs"]
) -> Float[Tensor, "n outputs"]:
    """The affine map of the features that is nearest to a target; differences of rounding size are not used."""
    mean = features.mean(0)
    basis, size, _ = torch.linalg.svd(features - mean, full_matrices=False)
    basis = basis[:, size > 1e-10 * features.abs().max()]
    fitted: Tensor = target.mean(0) + basis @ (basis.mT @ (target - target.mean(0)))
    return fitted


def output_gap(
    architecture: str,
    theta: WeightFeatures,
    phi: WeightFeatures,
    *,
    networks: int = 10,
    seed: int = 0,
    **options: Any,
) -> float:
    """The largest difference of the outputs of an architecture on two networks, over several random weights.

    Each output is compared with the largest one of its metanetwork. Rounding in float64 makes about 1e-16.

    Args:
        architecture: a name that `weightspace.build` knows.
        theta: a batch of networks.
        phi: another one, of the same space and size.
        networks: number of metanetworks, each with random weights of its own.
        seed: of the weights.
        options: of the architecture, ``out_features`` among them.

    Raises:
        TheoryError: for fewer than one metanetwork.

    Example:
        >>> from weightspace.theory import wl_pair
        >>> output_gap("gmn", *wl_pair(), hidden=8, depth=3) < 1e-14
        True
        >>> output_gap("nft", *wl_pair(), hidden=8, depth=2) > 1e-4
        True
    """
    both = theta.map(lambda a, b: torch.cat([a, b]), phi)
    outputs = random_outputs(architecture, both, networks, seed, **{"out_features": 4} | options)
    first, second = outputs.split(len(theta), dim=1)
    return float(((first - second).abs() / outputs.abs().amax((1, 2), keepdim=True)).max())
