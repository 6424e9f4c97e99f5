"""Whether the neurons of a network can be told apart, and how rounding of weights destroys that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._errors import TheoryError
from ..orbit import wl_colors
from ..space import Parameter, WeightFeatures
from ._arguments import check_networks, check_whole

__all__ = ["GeneralPosition", "general_position_probability", "in_general_position", "quantise"]


class GeneralPosition(NamedTuple):
    """A batch of networks, each in general position or not.

    Attributes:
        holds: [batch], whether the neurons of every layer are told apart.
        margin: [batch], how far each network is from losing that: while no weight moves by half of it, the network
            stays in general position. 0 if it is not.
    """

    holds: Bool[Tensor, "batch"]
    margin: Float[Tensor, "batch"]


def in_general_position(theta: WeightFeatures, level: Literal["bias", "wl"] = "bias") -> GeneralPosition:
    """Whether permutations of neurons move a network: the condition of the universality theorems.

    * "bias": the biases of each hidden layer are distinct (of neurons behind a norm its shifts or running means; see
      `weightspace.canonicalize`). The margin is the smallest gap between two of them.
    * "wl": colour refinement (1-WL) on the weighted graph of the network gives every neuron of a layer a colour of its
      own. The margin is the smallest number t such that it does not once entries of a parameter count as equal
      whenever steps no larger than t lead from one to the other.

    The first implies the second, and its margin is never larger.

    Source: "bias" is the condition of arXiv 2602.01083; "wl" and both margins are sharpened here.

    Args:
        theta: raw weights (one channel) of B networks of any space.
        level: what tells neurons apart.

    Raises:
        TheoryError: for another level, for several channels, for an empty batch, for weights that are not finite, and
            for "bias" if neurons have no bias.

    Example:
        >>> import weightspace as ws
        >>> siren = ws.siren([2, 8, 8, 1])       # fresh ones have zero biases
        >>> in_general_position(siren.sample(2)).holds.tolist()
        [False, False]
        >>> in_general_position(siren.sample(2), "wl").holds.tolist()
        [True, True]
    """
    if theta.channels != 1:
        raise TheoryError(f"general position is of networks, which have 1 channel; found {theta.channels}")
    check_networks("general position", theta)
    theta = theta.detach()
    if level == "bias":
        margin = _bias_margin(theta)
    elif level == "wl":
        margin = _wl_margin(theta)
    else:
        raise TheoryError(f"level: expected 'bias' or 'wl', found {level!r}")
    return GeneralPosition(margin > 0, margin)


def quantise(theta: WeightFeatures, bits: int) -> WeightFeatures:
    """Rounds every parameter of every network to ``2 ** bits`` equidistant levels from its smallest to largest entry.

    Args:
        theta: weights.
        bits: from 1 to 32.

    Raises:
        TheoryError: for another number of bits.
    """
    if not (isinstance(bits, int) and 1 <= bits <= 32):
        raise TheoryError(f"bits: expected a whole number from 1 to 32, found {bits!r}")

    def rounded(t: Tensor) -> Tensor:
        axes = tuple(range(1, t.dim() - 1))
        low, high = t.amin(axes, keepdim=True), t.amax(axes, keepdim=True)
        step = (high - low) / (2**bits - 1)
        level = ((t - low) / torch.where(step > 0, step, 1)).round()
        out: Tensor = low + level * step
        return out

    return theta.map(rounded)


def general_position_probability(
    widths: Sequence[int], bits: int, density: Literal["uniform", "normal"] = "uniform"
) -> float:
    """The probability that all biases of each hidden layer are distinct after `quantise`: a birthday computation.

    The smallest and the largest of n independent values are on the two end levels. If the values are uniform, the
    n - 2 others are uniform between them. Of N = 2^bits levels each inner one draws a value with probability
    s = 1 / (N - 1), and the ends, whose cells are half as wide, draw as much together. So the others miss the ends and
    each other with probability ``(1 - s)(1 - 2 s) ... (1 - (n - 2) s)``: this is exact.

    Values of another density meet as often as two of them come near to each other within the range. For normal ones s
    is larger by R (n + 1) / ((n - 1) 2 sqrt(pi)), where R is their expected range in standard deviations. This is an
    approximation, off by less than 0.03, and by less than 0.01 from 32 values on.

    Args:
        widths: of the hidden layers.
        bits: of the levels.
        density: of the biases.

    Raises:
        TheoryError: for a width or bits that are no whole number of at least 1, or another density.

    Example:
        >>> round(general_position_probability([32, 32], 16), 3)
        0.986
    """
    if density not in ("uniform", "normal"):
        raise TheoryError(f"density: expected 'uniform' or 'normal', found {density!r}")
    check_whole("bits", bits)
    probability = 1.0
    for n in widths:
        check_whole("width", n)
        if n > 2**bits:
            return 0.0
        meet = 1 / (2**bits - 1)
        if density == "normal" and n > 2:
            meet *= _normal_range(n) * (n + 1) / ((n - 1) * 2 * math.sqrt(math.pi))
        probability *= math.prod(max(0.0, 1 - i * meet) for i in range(1, n - 1))
    return probability


def _normal_range(n: int) -> float:
    """The expected range of n standard normal values, by the trapezoidal rule."""
    below = torch.special.ndtr(torch.linspace(-12, 12, 4801, dtype=torch.float64))
    return float((1 - below**n - (1 - below) ** n).sum() * 24 / 4800)


def _bias_margin(theta: WeightFeatures) -> Tensor:
    """[batch] the smallest gap between the sort keys that `canonicalize` takes where each layer has a bias."""
    space = theta.space
    gaps = [torch.full((len(theta), 1), math.inf).to(theta.tensors[0])]
    factors = zip(space.groups, space.symmetry("permutation").factors, strict=True)
    for name, size in {group.units: group.size for group, factor in factors if factor.permutes}.items():
        vectors = [
            t.flatten(1) for p, t in _vectors(theta) if t[0].numel() == size and space.group(p.groups[0]).units == name
        ]
        if size > 1 and not vectors:
            raise TheoryError(f'neuron group {name!r} has no bias to be told apart by; take level="wl"')
        gaps += [vector.sort(dim=1).values.diff(dim=1) for vector in vectors[:1]]
    return torch.cat(gaps, dim=1).amin(1)


def _vectors(theta: WeightFeatures) -> list[tuple[Parameter, Tensor]]:
    """Parameters on a single neuron group: biases, shifts and means first, then gains and variances."""
    pairs = [pair for pair in zip(theta.space.parameters, theta.tensors, strict=True) if len(pair[0].groups) == 1]
    return sorted(pairs, key=lambda pair: sum(len(tuple(axis.carried())) for axis in pair[0].axes) != 1)


def _wl_margin(theta: WeightFeatures) -> Tensor:
    """The smallest gap between entries of a parameter that, when bridged, leaves neurons with one colour.

    Bridging more makes colours coarser, so bisection finds it among all gaps.
    """
    gaps = torch.cat([t.flatten(1).sort(dim=1).values.diff(dim=1) for t in theta.tensors], dim=1).sort(dim=1).values
    gaps = torch.nn.functional.pad(gaps, (1, 0))  # nothing is bridged
    gaps = torch.nn.functional.pad(gaps, (0, 1), value=math.inf)  # found if even that does no harm
    first = torch.zeros(len(theta), 1, dtype=torch.long, device=theta.device)
    last = torch.full_like(first, gaps.shape[1] - 1)
    while bool((first < last).any()):
        middle = (first + last) // 2
        reach = gaps.gather(1, middle)
        discrete = _discrete(theta.map(partial(_bridged, reach=reach)))[:, None]
        first, last = torch.where(discrete, middle + 1, first).minimum(last), torch.where(discrete, last, middle)
    return gaps.gather(1, first).squeeze(1)


def _bridged(t: Tensor, reach: Tensor) -> Tensor:
    """Numbers the entries of each network, those alike between which steps no larger than [batch, 1] lead."""
    ascending, index = t.flatten(1).sort(dim=1)
    number = torch.nn.functional.pad((ascending.diff(dim=1) > reach).cumsum(1), (1, 0))
    return torch.empty_like(number).scatter_(1, index, number).double().view_as(t)  # half precision counts to 2048


def _discrete(theta: WeightFeatures) -> Tensor:
    """[batch], whether all neurons of each layer have different colours."""
    colors = wl_colors(theta, "permutation").values()
    return torch.stack([(c.sort(dim=1).values.diff(dim=1) > 0).all(1) for c in colors]).all(0)
