"""How many affine pieces ReLU networks can have, and how many regions a layer cuts the space of inputs into."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._errors import TheoryError
from ..space import WeightFeatures, WeightSpace
from ._arguments import check_whole
from ._chain import check_relu_chain, layers, widths

__all__ = ["count_regions", "max_pieces"]

_SAME = 1e-9  # distance below which hyperplanes, with normals of length 1, are one


def max_pieces(space: WeightSpace | Sequence[int], networks: int = 1) -> int:
    """How many affine pieces the mean of some ReLU networks can have at most.

    With one input a network has at most P = prod(n_l + 1) pieces, over the widths n_l of its hidden layers, and the
    breakpoints of k networks add up: k (P - 1) + 1. The same holds along a line for any number of inputs: ask for the
    widths with 1 in front. With d inputs k networks are one with layers k times as wide, and a layer of n units cuts
    a space of dimension r into at most sum_j C(n, j) regions, j = 0..r, where r is d or the smallest width in front.

    Source: arXiv 2602.01083, proposition 7.1; Montufar (2017), "Notes on the number of linear regions of deep neural
    networks", for several inputs.

    Args:
        space: weight space of the networks, or their widths from inputs to outputs.
        networks: the number k of networks whose mean is taken.

    Raises:
        TheoryError: for networks without ReLU, fewer than one, and widths that are no whole numbers of at least 1.

    Example:
        >>> [max_pieces([1, 3, 1], networks=k) for k in (1, 2, 4)]
        [4, 7, 13]
        >>> [max_pieces([2, 8, 1], networks=k) for k in (1, 2, 4, 8)]
        [37, 137, 529, 2081]
    """
    if isinstance(space, WeightSpace):
        check_relu_chain(space, "the bound on affine pieces")
        space = widths(space)
    check_whole("networks", networks)
    for width in space:
        check_whole("width", width)
    if len(space) < 2:
        raise TheoryError(f"expected at least two widths, from inputs to outputs, found {list(space)}")
    inputs, *hidden = space[:-1]
    if inputs == 1:
        return networks * (math.prod(n + 1 for n in hidden) - 1) + 1
    pieces, dimension = 1, inputs
    for n in (networks * n for n in hidden):
        pieces *= sum(math.comb(n, j) for j in range(dimension + 1))
        dimension = min(dimension, n)
    return pieces


def count_regions(theta: WeightFeatures) -> Int[Tensor, "batch"]:
    """Into how many regions the hidden units of networks with one hidden layer cut the space of inputs.

    Each unit bends along a hyperplane. The count adds one hyperplane after the other: a new one cuts as many regions
    as the older ones cut it into, which is the same question in one dimension less (deletion and restriction;
    Zaslavsky, 1975). Parallel, equal and concurrent hyperplanes are counted as what they are.

    Args:
        theta: a batch of ReLU networks with one hidden layer; ensembles are merged by `weightspace.merge_ensemble`.

    Raises:
        TheoryError: for other networks, an empty batch, and weights that are not finite.

    Example:
        >>> import weightspace as ws
        >>> count_regions(ws.mlp([2, 3, 1]).sample(2))
        tensor([7, 7])
    """
    (weight, bias), *rest = layers(theta.to(torch.float64).detach(), "regions")
    if len(rest) != 1:
        raise TheoryError(f"regions: expected one hidden layer, found {len(rest)}")
    return torch.tensor([_regions(w, b) for w, b in zip(weight, bias, strict=True)])


def _regions(normals: Float[Tensor, "n d"], offsets: Float[Tensor, "n"]) -> int:
    """The number of regions of the hyperplanes ``normals x + offsets = 0``."""
    length = normals.norm(dim=1)
    proper = length > _SAME
    planes = torch.cat([normals, offsets[:, None]], 1)[proper] / length[proper, None]
    # a hyperplane and its negative are the same; of equal ones the first stays
    distance = torch.minimum(torch.cdist(planes, planes, p=torch.inf), torch.cdist(planes, -planes, p=torch.inf))
    planes = planes[~(distance < _SAME).tril(-1).any(1)]
    if normals.shape[1] == 1:
        return len(planes) + 1
    total = 1
    for i, plane in enumerate(planes):
        normal, foot = plane[:-1], -plane[-1] * plane[:-1]
        along = torch.linalg.svd(normal[None]).Vh[1:]  # an orthonormal basis of the hyperplane
        older = planes[:i]
        total += _regions(older[:, :-1] @ along.T, older[:, -1] + older[:, :-1] @ foot)
    return total
