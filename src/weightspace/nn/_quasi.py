r"""Quasi-equivariant layers: :math:`F(\theta) = \alpha(\theta) \cdot \beta(\theta)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import nn

from .._errors import ModelError
from ..space import GroupElement, SymmetryGroup, WeightFeatures
from ._alpha import NeuronAlpha, StatisticsAlpha, check_eps
from ._layout import check_space

__all__ = ["QuasiEquivariant", "QuasiForm", "quasi_cocycle", "quasi_overhead"]

QuasiForm = Literal["layer", "channel"]


class QuasiEquivariant(nn.Module):
    r"""An equivariant layer β followed by an element of the group that depends on the networks.

    .. math:: F(\theta) = \alpha(\theta) \cdot \beta(\theta)

    ``form="layer"``, as published: α takes statistics of each parameter (mean, variance, quantiles) through a small
    scaling network to scales :math:`1 + \varepsilon \sin(\cdot)` of every neuron and to matrices
    :math:`I + \varepsilon \sin(\cdot)` of every head, in the identity component of the group. F takes orbits to orbits,

    .. math:: F(g\theta) = g' F(\theta), \qquad g' = \alpha(g\theta)\, g\, \alpha(\theta)^{-1},

    and is in general not equivariant. As α acts on all channels alike, what comes after and respects the group, an
    equivariant layer and an invariant head, does not see it: *it changes no invariant output and no function that the
    weights compute.* Several such layers are one.

    ``form="channel"``: α has scales for each channel, from features of each neuron that scales leave alone. Then
    :math:`\alpha(gx) = g \alpha(x) g^{-1}`, and F is equivariant; it is not inert, as it changes the
    proportions of channels.

    Source: arXiv 2604.23720 (the layer form); the channel form, and that the other one is inert, is ours.

    Args:
        beta: the equivariant layer, or several in a row.
        group: the group that it respects.
        in_channels: channels of its input.
        out_channels: channels of its output; at least 2 for the channel form.
        form: "layer" or "channel".
        hidden: width of the scaling networks; 128 for the one of the layer form, 32 for those of the channel form, if
            None.
        eps: :math:`\varepsilon`, one for all or one for each neuron group with scales or matrices; `safe_eps` if None.
        spectral: whether matrices of sines are divided by their spectral norm where it is above 1, so that
            :math:`\varepsilon < 1` is safe for them too.

    Raises:
        SymmetryError: if the group is discrete (permutations, signs: SIREN and tanh), with the reason.
        ModelError: for an ε with which the identity component could be left, an unknown form, or numbers of channels
            that β does not have.

    Example:
        >>> import weightspace as ws
        >>> from weightspace.nn import EquivariantLinear
        >>> space = ws.mlp([2, 16, 16, 1])
        >>> beta = EquivariantLinear(space, 1, 8, symmetry=space.symmetry())
        >>> layer = QuasiEquivariant(beta, space.symmetry(), 1, 8)
        >>> layer(space.sample(5))
        WeightFeatures(batch=5, channels=8, dtype=torch.float32, device=cpu, space=2-16-16-1)
    """

    def __init__(
        self,
        beta: nn.Module,
        group: SymmetryGroup,
        in_channels: int,
        out_channels: int,
        *,
        form: QuasiForm = "layer",
        hidden: int | None = None,
        eps: float | Mapping[str, float] | None = None,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        if form not in get_args(QuasiForm):
            raise ModelError(f"form: expected 'layer' or 'channel', found {form!r}")
        known = check_eps(group, eps, spectral)
        for name, number in {"in_channels": in_channels, "out_channels": out_channels, "hidden": hidden}.items():
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ModelError(f"{name}: expected a positive whole number, found {number!r}")
        if (found := getattr(beta, "out_channels", out_channels)) != out_channels:
            raise ModelError(f"out_channels: expected {found}, which beta gives, found {out_channels}")
        self.group, self.in_channels, self.out_channels, self.form = group, in_channels, out_channels, form
        self.beta = beta
        width = hidden or (128 if form == "layer" else 32)
        with torch.random.fork_rng(devices=[]):  # a network has the same other weights with and without α
            self.alpha: StatisticsAlpha | NeuronAlpha = (
                StatisticsAlpha(group, in_channels, width, known, spectral)
                if form == "layer"
                else NeuronAlpha(group, out_channels, width, known)
            )

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the layer."""
        check_space(self.group.space, theta, self.in_channels)
        x: WeightFeatures = self.beta(theta)
        if x.channels != self.out_channels:
            raise ModelError(f"beta: expected {self.out_channels} channels, as out_channels says, found {x.channels}")
        if self.form == "layer":
            return self.group.act(self.alpha(theta), x)
        return self.group.restricted(linear=False).act(self.alpha(x), x)

    def extra_repr(self) -> str:
        """Shows the form."""
        return f"form={self.form}"


def quasi_cocycle(layer: QuasiEquivariant, element: GroupElement, theta: WeightFeatures) -> GroupElement:
    r"""The element g' with :math:`F(g\theta) = g' F(\theta)`: :math:`\alpha(g\theta)\, g\, \alpha(\theta)^{-1}`.

    Args:
        layer: the layer F; of one with ``form="channel"``, which is equivariant, g' is g.
        element: g, a batch of B elements, or of one.
        theta: weight features of B networks.

    Returns:
        A batch of B elements. It satisfies the cocycle identity :math:`(hg)'_\theta = h'_{g\theta}\, g'_\theta`, and
        for layers one after another the elements do too: g' of the first is the g of the second.

    Raises:
        ModelError: for another layer.

    Example:
        >>> import torch, weightspace as ws
        >>> from weightspace.nn import EquivariantLinear
        >>> space = ws.mlp([2, 16, 1])
        >>> group = space.symmetry()
        >>> layer = QuasiEquivariant(EquivariantLinear(space, 1, 8, symmetry=group), group, 1, 8).double()
        >>> theta, g = space.sample(5).to(torch.float64), group.sample(5, dtype=torch.float64)
        >>> moved = group.act(quasi_cocycle(layer, g, theta), layer(theta))
        >>> bool((layer(group.act(g, theta)) - moved).flatten().abs().max() < 1e-12)
        True
    """
    if not isinstance(layer, QuasiEquivariant):
        raise ModelError(f"layer: expected a QuasiEquivariant layer, found {type(layer).__name__}")
    if layer.form == "channel":
        return element
    group = layer.group
    before, after = layer.alpha(theta), layer.alpha(group.act(element, theta))
    return group.compose(after, group.compose(element, group.inverse(before)))


def quasi_overhead(net: nn.Module) -> float:
    """The parameters of all α in a network, relative to its other parameters.

    Example:
        >>> import weightspace as ws
        >>> space = ws.mlp([2, 16, 16, 1])
        >>> small = {"hidden": 16, "readout_hidden": 200, "readout_depth": None}
        >>> net = ws.build("monomial-nfn", space, "invariant", quasi="layer", **small)
        >>> f"{quasi_overhead(net):.1%}"
        '13.7%'
    """
    layers = [module for module in net.modules() if isinstance(module, QuasiEquivariant)]
    own = sum(p.numel() for layer in layers for p in layer.alpha.parameters())
    return own / (sum(p.numel() for p in net.parameters()) - own)
