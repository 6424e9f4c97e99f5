r"""Maps from weight features into the identity component of a group: the α of quasi-equivariant layers.

Scales are :math:`1 + \varepsilon \sin(\cdot)`, and positive as :math:`\varepsilon < 1`. Matrices are
:math:`I + \varepsilon \sin(\cdot)`; as the sines make a matrix of norm at most n, they are invertible and of positive
determinant for :math:`\varepsilon n < 1`, and for no larger :math:`\varepsilon` in general. Single precision, in which
:math:`1 - \varepsilon` becomes 0 already before :math:`\varepsilon` is 1, needs some distance from these bounds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .._errors import ModelError, SymmetryError
from ..group import POSITIVE_MONOMIAL, TRIVIAL, GeneralLinearGroup, Linear, Monomial
from ..space import GroupElement, NeuronGroup, SymmetryGroup, WeightFeatures
from ._mlp import head
from ._monomial import invariant_entries, scales_of
from ._statistics import NUM_STATISTICS, weight_statistics

__all__ = ["NeuronAlpha", "StatisticsAlpha", "check_eps", "safe_eps"]

_WORST = 1e5  # condition number of scales and matrices that single precision still represents with two digits


def safe_eps(group: SymmetryGroup, condition: float = 3.0, *, spectral: bool = False) -> dict[str, float]:
    r"""The largest ε for each neuron group with which no scales and no matrix are conditioned worse than a bound.

    With :math:`t = (\kappa - 1) / (\kappa + 1) < 1` it is t for scales, whose ratios stay below κ, and t / n for n x n
    matrices, whose condition number does; t for these too if the sines are divided by their spectral norm. Whatever the
    condition, scales stay positive and determinants too.

    Args:
        group: the group.
        condition: κ, larger than 1 and at most 1e5: single precision does not tell worse matrices from singular ones.
        spectral: whether matrices of sines are divided by their largest singular value where that is above 1.

    Raises:
        SymmetryError: for a group without scales and matrices near the identity, with the reason.
        ModelError: for another condition, or something else than a group.

    Example:
        >>> import weightspace as ws
        >>> safe_eps(ws.mlp([2, 8, 1]).symmetry())
        {'hidden1': 0.5}
        >>> safe_eps(ws.mlp([2, 8, 1], activation="identity").symmetry())
        {'hidden1': 0.0625}
    """
    if not isinstance(condition, int | float) or not 1 < condition <= _WORST:
        raise ModelError(f"condition: expected a number larger than 1 and at most {_WORST:g}, found {condition!r}")
    largest = (condition - 1) / (condition + 1)
    return {name: largest * bound for name, bound in _bounds(group, spectral).items()}


def check_eps(group: SymmetryGroup, eps: float | Mapping[str, float] | None, spectral: bool) -> dict[str, float]:
    """ε for each neuron group, refused where it could leave the identity component; `safe_eps` if None."""
    if eps is None:
        return safe_eps(group, spectral=spectral)
    highest = safe_eps(group, _WORST, spectral=spectral)
    given = dict(eps) if isinstance(eps, Mapping) else dict.fromkeys(highest, eps)
    if given.keys() != highest.keys():
        found = ", ".join(map(str, given)) or "none"
        raise ModelError(f"eps: expected one for each of {', '.join(highest)}, found {found}")
    for name, bound in highest.items():
        if not isinstance(given[name], int | float) or not 0 < given[name] <= bound:
            raise ModelError(
                f"eps: on neuron group {name!r} expected a number above 0 and at most {bound:.8g}, or scales and "
                f"matrices may become singular in single precision; found {given[name]!r}. safe_eps(group) gives "
                "values that are safe"
            )
    return given


def _bounds(group: SymmetryGroup, spectral: bool) -> dict[str, float]:
    """For each neuron group with scales or matrices the number below which every ε is safe but for rounding."""
    if not isinstance(group, SymmetryGroup):
        raise ModelError(f"group: expected a symmetry group, found {group!r}; space.symmetry() gives one")
    moving = [g for g in group.space.groups if _component(group, g.name) != TRIVIAL]
    if not moving:
        raise SymmetryError(_why_discrete(group))
    linear = {g.name for g in moving if isinstance(group.factor(g.name), GeneralLinearGroup)}
    return {g.name: 1 / g.size if g.name in linear and not spectral else 1.0 for g in moving}


def _component(group: SymmetryGroup, name: str) -> object:
    return group.identity_component().factor(name)


def _why_discrete(group: SymmetryGroup) -> str:
    names = "/".join(sorted({factor.name for factor in group.factors}))
    text = (
        f"quasi-equivariance needs scales or matrices near the identity; the group {names} on {group.space.summary()}"
    )
    text += " is discrete, so that continuous maps into it are constant"
    largest = group.space.symmetry()
    if any(_component(largest, g.name) != TRIVIAL for g in group.space.groups):
        return f"{text}. Take a larger one: space.symmetry()"
    hidden = [g for g in group.space.groups if g.kind == "hidden"]
    reasons = [f"neuron group {g.name!r} {g.refusal(POSITIVE_MONOMIAL)}" for g in hidden[:1]]
    return f"{text}, and these networks have no larger one: " + (reasons or ["there are no hidden neurons"])[0]


class StatisticsAlpha(nn.Module):
    """One element for each network, from statistics of its parameters; any function of them will do.

    Args:
        group: the group.
        channels: of the weight features.
        hidden: width of the scaling network.
        eps: for each neuron group with scales or matrices.
        spectral: see `safe_eps`.
    """

    def __init__(
        self, group: SymmetryGroup, channels: int, hidden: int, eps: Mapping[str, float], spectral: bool
    ) -> None:
        super().__init__()
        self.group, self.eps, self.spectral = group, dict(eps), spectral
        self._shapes = {name: _shape(group, group.space.group(name)) for name in eps}
        outputs = sum(math.prod(shape) for shape in self._shapes.values())
        self.net = head(NUM_STATISTICS * channels * len(group.space.parameters), hidden, outputs, depth=2)

    def forward(self, theta: WeightFeatures) -> GroupElement:
        """A batch of elements."""
        # rescaled networks can have huge statistics, of whose sines rounding would leave noise
        statistics = weight_statistics(theta)
        largest = torch.finfo(statistics.dtype).max  # the sine of infinity, of huge weights' variances, is not a number
        sines = _sines(self.net(torch.asinh(statistics.clamp(-largest, largest))))
        element: GroupElement = {g.name: Monomial() for g in self.group.space.groups}
        parts = sines.split([math.prod(shape) for shape in self._shapes.values()], dim=1)
        for (name, shape), part in zip(self._shapes.items(), parts, strict=True):
            if len(shape) == 1:
                element[name] = Monomial(None, 1 + self.eps[name] * part)
            else:
                element[name] = Linear(self._matrices(name, part.unflatten(1, shape)))
        return element

    def _matrices(self, name: str, sines: Tensor) -> Tensor:
        if self.spectral:
            sines = sines / torch.linalg.matrix_norm(sines, 2, keepdim=True).clamp_min(1)
        return torch.eye(sines.shape[-1]).to(sines) + self.eps[name] * sines


def _sines(x: Tensor) -> Tensor:
    """Sines in single precision at least: with fewer digits 1 - ε might be 0."""
    return torch.sin(x.to(torch.promote_types(x.dtype, torch.float32)))


def _shape(group: SymmetryGroup, neurons: NeuronGroup) -> tuple[int, ...]:
    """Scales, matrices, or matrices of every head."""
    if not isinstance(group.factor(neurons.name), GeneralLinearGroup):
        return (neurons.size,)
    heads = () if neurons.over is None else (group.space.group(neurons.over).size,)
    return (*heads, neurons.size, neurons.size)


class NeuronAlpha(nn.Module):
    r"""One element for each network *and channel*, with scales alone, such that :math:`α(gx) = g α(x) g^{-1}`.

    Each neuron has its scales from features of its own, which permutations of neurons permute and scales leave alone:
    what signs and scales leave alone of each entry of each parameter that carries its units (see `InvariantEntries`),
    averaged over all other axes.

    Args:
        group: the group.
        channels: of the weight features, at least 2: the direction of a single channel is its sign.
        hidden: width of the scaling networks.
        eps: for each neuron group with scales or matrices; the latter stay as they are.

    Raises:
        SymmetryError: for a group with general matrices alone.
        ModelError: for a single channel.
    """

    def __init__(self, group: SymmetryGroup, channels: int, hidden: int, eps: Mapping[str, float]) -> None:
        super().__init__()
        self.group = group
        space = group.space
        linear = {g.name for g in space.groups if isinstance(group.factor(g.name), GeneralLinearGroup)}
        self.eps = {name: value for name, value in eps.items() if name not in linear}
        if not self.eps:
            raise SymmetryError(
                f"form='channel' has scales alone, and the group on {space.summary()} has none, only general matrices"
            )
        if channels < 2:
            raise ModelError(
                f"form='channel': out_channels: expected at least 2, found {channels}: it changes the proportions of "
                "channels. form='layer' takes one"
            )
        self._scales = scales_of(space, group)
        self._reads: dict[str, list[tuple[int, int]]] = {name: [] for name in self.eps}
        for i, parameter in enumerate(space.parameters):
            if any(name in linear for axis in parameter.axes for name, _ in axis.carried()):
                continue  # general matrices mix its entries
            for j, axis in enumerate(parameter.axes):
                for name in self.eps if axis.group is not None else ():
                    if space.group(str(axis.group)).units == space.group(name).units:
                        self._reads[name].append((i, 1 + j))
        self._axes: dict[int, set[int]] = {}
        for i, j in itertools.chain.from_iterable(self._reads.values()):
            self._axes.setdefault(i, set()).add(j)
        self.nets = nn.ModuleList(
            head(channels * len(reads), hidden, channels, depth=2) for reads in self._reads.values()
        )

    def forward(self, x: WeightFeatures) -> GroupElement:
        """A batch of elements, whose scales [batch, n, channels] differ between the channels."""
        means = {i: _means(invariant_entries(x.tensors[i], self._scales[i]), axes) for i, axes in self._axes.items()}
        element: GroupElement = {g.name: Monomial() for g in self.group.space.groups}
        for net, (name, reads) in zip(self.nets, self._reads.items(), strict=True):
            features = torch.cat([means[i][axis] for i, axis in reads], dim=-1)
            scale = 1 + self.eps[name] * _sines(net(features))
            element[name] = Monomial(None, scale)
        return element


def _means(x: Tensor, axes: set[int]) -> dict[int, Tensor]:
    """For each of some axes [batch, its size, channels]: the mean over all others, first over those of none of them."""
    rest = [i for i in range(1, x.dim() - 1) if i not in axes]
    x = x.mean(rest, keepdim=True) if rest else x
    others = {axis: [i for i in range(1, x.dim() - 1) if i != axis] for axis in axes}
    return {axis: x.mean(over) if over else x for axis, over in others.items()}
