"""How many of the orbits of small binary networks an architecture tells apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement, permutations
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..models import build
from ..space import WeightFeatures
from ._pairs import SPACE, with_middle

__all__ = ["Census", "binary_orbits", "census"]


class Census(NamedTuple):
    """What an architecture makes of all orbits.

    Attributes:
        classes: number of classes of networks that it tells apart.
        orbits: number of orbits, which no invariant map can exceed.
        gap: the smallest distance between networks of different classes.
        spread: the largest distance between networks of one class; rounding, if the census is to be trusted.
    """

    classes: int
    orbits: int
    gap: float
    spread: float


def binary_orbits() -> WeightFeatures:
    """One network 1-4-4-1 for each of the 317 orbits of binary 4 x 4 middle weights, in float64.

    Two binary matrices are in one orbit if permutations of rows and columns lead from one to the other. All other
    parameters are constant.
    """
    # a matrix up to permutations of its columns is a multiset of columns, and a column of 4 bits is a number below 16
    columns = torch.tensor(list(combinations_with_replacement(range(16), 4)))
    matrices = columns[:, None, :] >> torch.arange(4)[:, None] & 1
    bits = torch.stack([matrices[:, list(order)] for order in permutations(range(4))], dim=1)
    codes = (bits << torch.arange(4)[:, None]).sum(2).sort(dim=2).values
    smallest = (codes << 4 * torch.arange(4)).sum(2).amin(1).unique()
    columns = smallest[:, None] >> 4 * torch.arange(4) & 15
    return with_middle(columns[:, None, :] >> torch.arange(4)[:, None] & 1)


def census(
    architecture: str | Callable[[WeightFeatures], Tensor],
    *,
    networks: int = 3,
    copies: int = 2,
    tolerance: float = 1e-10,
    seed: int = 0,
    **options: Any,
) -> Census:
    """Counts the orbits of `binary_orbits` that an architecture tells apart, with random weights in float64.

    With sums or means over neurons, message passing and stacks of equivariant linear maps tell 316 classes apart, those
    of colour refinement (1-WL), which takes the two networks of `wl_pair` for one. Attention between whole columns of
    weights tells all 317. Maxima over neurons forget how often a value occurs, and tell fewer.

    Source: arXiv 2602.01083, theorem 5.2 and propositions 5.3 and 6.2.

    Args:
        architecture: a name that `weightspace.build` knows, or an invariant map from networks 1-4-4-1 in float64 to
            ``[batch, features]``.
        networks: number of metanetworks, each with random weights of its own, whose outputs are taken together.
        copies: networks of each orbit, each one permuted at random.
        tolerance: distance, relative to the standard deviation of an output over the orbits, beyond which two networks
            count as told apart.
        seed: of the weights and of the permutations.
        options: of the architecture.
    """
    orbits = binary_orbits()
    repeated = orbits[torch.arange(len(orbits)).repeat(copies)]
    generator = torch.Generator().manual_seed(seed)
    group = SPACE.symmetry("permutation")
    theta = group.act(group.sample(len(repeated), generator), repeated)
    if isinstance(architecture, str):
        outputs = torch.cat([_random_output(architecture, theta, seed + i, options) for i in range(networks)], 1)
    else:
        with torch.no_grad():
            outputs = architecture(theta)
    distances = _distances(outputs)
    classes = _classes(distances <= tolerance)
    same = classes[:, None] == classes
    return Census(
        classes=len(classes.unique()),
        orbits=len(orbits),
        gap=float(distances[~same].min()) if not same.all() else 0.0,
        spread=float(distances[same].max()),
    )


def _random_output(name: str, theta: WeightFeatures, seed: int, options: dict[str, Any]) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = build(name, SPACE, task="invariant", **{"out_features": 16} | options).double().eval()
        out: Tensor = net(theta)
        return out


def _distances(outputs: Float[Tensor, "n features"]) -> Float[Tensor, "n n"]:
    """Largest difference over the features, each in units of its standard deviation; constant ones do not count."""
    std, mean = torch.std_mean(outputs, dim=0)
    varies = std > 1e-4 * mean.abs()  # of the others rounding would be seen
    outputs = (outputs[:, varies] - mean[varies]) / std[varies]
    return torch.cdist(outputs, outputs, p=torch.inf)


def _classes(near: Tensor) -> Tensor:
    """[n] a number for each connected component of a graph given as a boolean [n, n]."""
    labels = torch.arange(len(near))
    while True:
        smaller = torch.where(near, labels, len(near)).amin(1)
        if torch.equal(smaller, labels):
            return labels
        labels = smaller
