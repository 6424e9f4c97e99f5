"""How many of the orbits of small binary networks an architecture tells apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import TheoryError
from ..orbit import wl_colors
from ..space import WeightFeatures, mlp
from ._arguments import check_whole
from ._outputs import random_outputs
from ._pairs import with_inner_weights
from ._precision import single_by_default

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Census", "ambiguous_classes", "binary_orbits", "census", "one_layer_orbits"]

_LIMIT = 10**7  # matrices to enumerate: some seconds
_ROUNDING = 1e-18  # distances below are drawn as this


@dataclass(frozen=True)
class Census:
    """What an architecture makes of all orbits.

    Attributes:
        classes: number of classes of networks that it tells apart.
        orbits: number of orbits, which no invariant map can exceed.
        gap: the smallest distance between networks of different classes.
        spread: the largest distance between networks of one class; rounding, if the census is to be trusted.
        distances: [orbits, orbits] the distances of their networks.
    """

    classes: int
    orbits: int
    gap: float
    spread: float
    distances: Float[Tensor, "orbits orbits"] = field(repr=False, compare=False)

    def nearest(self) -> Float[Tensor, "orbits"]:
        """For each orbit the distance of the nearest other one, in ascending order."""
        others = self.distances + torch.diag(torch.full((self.orbits,), math.inf, dtype=self.distances.dtype))
        return others.amin(1).sort().values

    def draw(self, figure: Figure) -> None:
        """Draws the distances between orbits, and that of each from the nearest other one, on an empty figure."""
        matrix, line = figure.subplots(1, 2)
        image = matrix.imshow(self.distances.clamp(min=_ROUNDING).log10().numpy())
        figure.colorbar(image, ax=matrix, label="log10 of the distance")
        matrix.set(title="Distances between orbits", xlabel="orbit", ylabel="orbit")
        line.semilogy(range(1, self.orbits + 1), self.nearest().clamp(min=_ROUNDING), ".", color="C0")
        line.set(title=f"{self.classes} classes of {self.orbits} orbits", xlabel="orbits", ylabel="nearest other orbit")


def binary_orbits(rows: int = 4, columns: int = 4) -> WeightFeatures:
    """One network for each orbit of binary middle weights; 317 networks 1-4-4-1 for 4 x 4 matrices.

    Two binary matrices are in one orbit if permutations of rows and columns lead from one to the other. All other
    parameters are constant in each layer, as `with_inner_weights` makes them.

    Args:
        rows: neurons of the second hidden layer.
        columns: neurons of the first one.

    Raises:
        TheoryError: if there are too many matrices to go through.
    """
    orders = math.factorial(rows)
    if (count := math.comb(2**rows + columns - 1, columns) * orders) > _LIMIT or columns * rows > 62:
        raise TheoryError(f"expected matrices of fewer entries than {rows} x {columns}: {count:.1e} are to be compared")
    # a matrix up to permutations of its columns is a multiset of columns, and a column of bits is a number
    multisets = torch.tensor(list(combinations_with_replacement(range(2**rows), columns)))
    bit, place = torch.arange(rows)[:, None], rows * torch.arange(columns)
    matrices = multisets[:, None, :] >> bit & 1
    every = torch.stack([matrices[:, list(order)] for order in permutations(range(rows))], dim=1)
    codes = (every << bit).sum(2).sort(dim=2).values
    smallest = (codes << place).sum(2).amin(1).unique()
    found = smallest[:, None] >> place & 2**rows - 1
    return with_inner_weights(found[:, None, :] >> bit & 1)


def ambiguous_classes(rows: int, columns: int) -> tuple[WeightFeatures, ...]:
    """The classes of binary matrices with several orbits in one class of colour refinement.

    All matrices are gone through, as the middle weights of networks whose other parameters are constant.

    Source: sharpened here.

    Args:
        rows: neurons of the second hidden layer.
        columns: neurons of the first one.

    Returns:
        For each such class the networks of its orbits.

    Raises:
        TheoryError: if there are too many matrices to go through.

    Example:
        >>> [len(ambiguous_classes(3, n)) for n in (2, 3, 4)]
        [0, 0, 0]
    """
    orbits = binary_orbits(rows, columns)
    colors = wl_colors(orbits, "permutation")
    occurring = torch.cat([color.sort(dim=1).values for color in colors.values()], dim=1)
    _, number, sizes = occurring.unique(dim=0, return_inverse=True, return_counts=True)
    return tuple(orbits[(number == c).nonzero().squeeze(1)] for c in (sizes > 1).nonzero().squeeze(1))


def one_layer_orbits() -> WeightFeatures:
    """Networks 1-3-1 of each of the multisets of three neurons whose weights and biases are 0 or 1."""
    neurons = torch.tensor(list(product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    chosen = torch.tensor(list(combinations_with_replacement(range(len(neurons)), 3)))
    weight, bias, outgoing = neurons[chosen].unbind(2)
    zero = weight.new_zeros(len(weight), 1)
    tensors: dict[str, Tensor] = {
        "0.weight": weight[:, :, None],
        "0.bias": bias,
        "2.weight": outgoing[:, None],
        "2.bias": zero,
    }
    return mlp([1, 3, 1]).features({name: tensor[..., None] for name, tensor in tensors.items()})


@single_by_default()
def census(
    architecture: str | Callable[[WeightFeatures], Tensor],
    *,
    orbits: WeightFeatures | None = None,
    networks: int = 3,
    copies: int = 2,
    tolerance: float = 1e-10,
    seed: int = 0,
    **options: Any,
) -> Census:
    """Counts the orbits that an architecture tells apart, with random weights in float64.

    Of the 317 `binary_orbits`, message passing and stacks of equivariant linear maps with sums or means over neurons
    tell 316 classes apart, those of colour refinement (1-WL), which takes the two networks of `wl_pair` for one.
    Attention between whole columns of weights tells all 317. Maxima over neurons forget how often a value occurs, and
    tell fewer.

    Source: arXiv 2602.01083, theorem 5.2 and propositions 5.3 and 6.2.

    Args:
        architecture: a name that `weightspace.build` knows, or an invariant map from these networks in float64 to
            ``[batch, features]``.
        orbits: networks of different orbits; `binary_orbits` if None.
        networks: number of metanetworks, each with random weights of its own, whose outputs are taken together.
        copies: networks of each orbit, each one permuted at random.
        tolerance: distance, relative to the standard deviation of an output over the orbits, beyond which two networks
            count as told apart.
        seed: of the weights and of the permutations.
        options: of the architecture.

    Raises:
        TheoryError: for fewer than one metanetwork or copy.
    """
    check_whole("copies", copies)
    orbits = binary_orbits() if orbits is None else orbits
    repeated = orbits[torch.arange(len(orbits)).repeat(copies)]
    generator = torch.Generator().manual_seed(seed)
    group = orbits.space.symmetry("permutation")
    theta = group.act(group.sample(len(repeated), generator), repeated)
    if isinstance(architecture, str):
        random = random_outputs(architecture, theta, networks, seed, **{"out_features": 16} | options)
        outputs = random.movedim(0, 1).flatten(1)
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
        distances=distances[: len(orbits), : len(orbits)],
    )


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
