"""Quasi-equivariant layers, measured: orbits, invariant heads, matrices near the identity, clones, refusals."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..._errors import SymmetryError
from ...nn import (
    EquivariantLinear,
    InvariantEntries,
    InvariantPool,
    MonomialActivation,
    Pointwise,
    QuasiEquivariant,
    QuasiForm,
    quasi_cocycle,
)
from ...space import SymmetryGroup, WeightFeatures, from_module, mlp, siren
from .._statement import Measurement
from .._symmetry_error import function_difference, random_networks
from ._changes import generator, inputs
from ._modules import transformer

__all__ = ["Effect", "clones", "effects", "functions", "left", "orbits", "ranges", "refusals"]

_CHAIN = mlp([2, 5, 4, 2])
_CHANNELS = 4


class Effect(NamedTuple):
    """What one form of α does to the output of an invariant network.

    Attributes:
        form: the form, in words.
        change: largest difference to the output without α.
        variation: largest difference between the outputs for two networks of one orbit.
        alpha: largest gradient for a parameter of α.
        beta: largest gradient for another parameter.
    """

    form: str
    change: float
    variation: float
    alpha: float
    beta: float


def _stir(layer: QuasiEquivariant, seed: int = 3) -> QuasiEquivariant:
    """Draws the scaling networks anew, so that their sines take all values."""
    random = generator(seed)
    with torch.no_grad():
        for p in layer.alpha.parameters():
            p.copy_(torch.randn(p.shape, generator=random, dtype=p.dtype))
    return layer


def _gap(a: WeightFeatures, b: WeightFeatures) -> float:
    return float((a.flatten() - b.flatten()).abs().max() / b.flatten().abs().max())


def orbits() -> list[Measurement]:
    """Orbits go to orbits with the predicted element, and not with the same one."""
    torch.manual_seed(0)
    measured = []
    chain = _CHAIN.symmetry()
    blocks = from_module(transformer(norm_first=True), torch.zeros(2, 5, 3)).symmetry()
    for name, group, beta in (
        ("ReLU networks", chain, EquivariantLinear(_CHAIN, 1, _CHANNELS, symmetry=chain)),
        ("transformers", blocks, Pointwise(nn.Linear(1, _CHANNELS, bias=False))),
    ):
        layer = QuasiEquivariant(beta, group, 1, _CHANNELS).double()
        theta, g = random_networks(group.space, 5, generator()), group.sample(5, generator(1), dtype=torch.float64)
        with torch.no_grad():
            before, after = layer(theta), layer(group.act(g, theta))
            error = _gap(after, group.act(quasi_cocycle(layer, g, theta), before))
            measured.append(Measurement.at_most(f"{name}: F(g theta) - g' F(theta), relative", error, 1e-12))
            error = _gap(after, group.act(g, before))
            measured.append(Measurement.at_least(f"{name}: F(g theta) - g F(theta), relative", error, 0.05))
    return measured


class _EachChannel(nn.Module):
    """An α for each channel from statistics of the raw weights: one layer of the published form for each."""

    def __init__(self, beta: EquivariantLinear, group: SymmetryGroup) -> None:
        super().__init__()
        self.beta = beta
        ones = [QuasiEquivariant(nn.Identity(), group, 1, 1) for _ in range(beta.out_channels)]
        self.alphas = nn.ModuleList(_stir(layer.double(), seed).alpha for seed, layer in enumerate(ones))
        self.group = group

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        x: WeightFeatures = self.beta(theta)
        channels = [WeightFeatures(x.space, parts) for parts in zip(*(t.split(1, -1) for t in x.tensors), strict=True)]
        acted = [self.group.act(alpha(theta), part) for alpha, part in zip(self.alphas, channels, strict=True)]
        return functools.reduce(WeightFeatures.concatenate, acted)


def effects() -> list[Effect]:
    """The three forms of α in front of the same invariant head."""
    torch.manual_seed(0)
    group = _CHAIN.symmetry()
    first, second = (EquivariantLinear(_CHAIN, c, _CHANNELS, symmetry=group).double() for c in (1, _CHANNELS))
    pool = InvariantPool(_CHAIN, _CHANNELS)
    tail = nn.Sequential(InvariantEntries(_CHAIN, group, _CHANNELS), pool, nn.Linear(pool.out_features, 3)).double()
    relu = MonomialActivation(_CHAIN, group)

    def quasi(beta: EquivariantLinear, form: QuasiForm) -> nn.Module:
        return _stir(QuasiEquivariant(beta, group, beta.in_channels, _CHANNELS, form=form).double())

    forms = {
        "one for all channels": (quasi(first, "layer"), quasi(second, "layer")),
        "one for each channel, from invariant features": (quasi(first, "channel"), quasi(second, "channel")),
        "one for each channel, from raw statistics": (_EachChannel(first, group), second),
    }
    theta, g = random_networks(_CHAIN, 20, generator()), group.sample(20, generator(1), dtype=torch.float64)
    strict = tail(second(relu(first(theta))))
    found = []
    for form, (one, two) in forms.items():
        net = nn.Sequential(one, relu, two, tail)
        y = net(theta)
        net.zero_grad()
        y.square().sum().backward()
        sizes = {n: float(p.grad.abs().max()) for n, p in net.named_parameters() if p.grad is not None}
        alpha = max(size for name, size in sizes.items() if "alpha" in name)
        beta = max(size for name, size in sizes.items() if "beta" in name)
        found.append(Effect(form, _largest(y - strict), _largest(net(group.act(g, theta)) - y), alpha, beta))
    return found


def _largest(x: Tensor) -> float:
    return float(x.detach().abs().max())


def functions() -> list[Measurement]:
    """What the weights of a layer compute, with and without α."""
    torch.manual_seed(0)
    group, theta = _CHAIN.symmetry(), random_networks(_CHAIN, 20, generator())
    layer = _stir(QuasiEquivariant(EquivariantLinear(_CHAIN, 1, 1, symmetry=group), group, 1, 1).double())
    with torch.no_grad():
        acted, plain = layer(theta), layer.beta(theta)
    return [
        Measurement.at_least("published form: change of the weights", _gap(acted, plain), 0.05),
        Measurement.at_most(
            "published form: change of the functions", function_difference(plain, acted, inputs(2)), 1e-12
        ),
    ]


def left(n: int, eps: float, draws: int, *, spectral: bool = False) -> float:
    """The fraction of matrices I + eps sin(.) of size n that are not in the identity component."""
    sines = torch.sin(10 * torch.randn(draws, n, n, generator=generator(n), dtype=torch.float64))
    if spectral:
        sines /= torch.linalg.matrix_norm(sines, 2, keepdim=True).clamp_min(1)
    return float((torch.linalg.det(torch.eye(n, dtype=torch.float64) + eps * sines) <= 0).double().mean())


def ranges() -> list[Measurement]:
    """How many layers it takes to scale a neuron by a thousand, up or down."""
    space = mlp([1, 1, 1])
    group, theta = space.symmetry(), random_networks(space, 1, generator())
    measured = []
    for what, angle, goal, layers in (("1000", math.pi / 2, 1e3, 18), ("1/1000", -math.pi / 2, 1e-3, 10)):
        layer = QuasiEquivariant(nn.Identity(), group, 1, 1, eps=0.5).double()
        with torch.no_grad():
            for name, p in layer.alpha.named_parameters():
                p.fill_(angle if name == "net.3.bias" else 0.0)
            x, count = layer(theta), 1
            while abs(math.log(float(x["0.weight"] / theta["0.weight"]))) < abs(math.log(goal)):
                x, count = layer(x), count + 1
        measured.append(Measurement.equal(f"layers with eps = 0.5 that scale a neuron by {what}", count, layers))
    return measured


def clones() -> list[Measurement]:
    """Neurons that cannot be told apart stay so, up to the scales of α; and what does not preserve functions there."""
    torch.manual_seed(0)
    group, theta = _CHAIN.symmetry(), random_networks(_CHAIN, 5, generator())
    theta["0.weight"][:, 1], theta["0.bias"][:, 1] = theta["0.weight"][:, 0], theta["0.bias"][:, 0]
    theta["2.weight"][:, :, 1] = theta["2.weight"][:, :, 0]
    beta = EquivariantLinear(_CHAIN, 1, _CHANNELS, symmetry=group)
    measured = []
    forms: dict[QuasiForm, str] = {"layer": "published form: directions", "channel": "channel form: weights"}
    for form, what in forms.items():
        layer = _stir(QuasiEquivariant(beta, group, 1, _CHANNELS, form=form).double())
        with torch.no_grad():
            y = layer(theta)
        rows = torch.cat([y["0.weight"], y["0.bias"].unsqueeze(2)], dim=2)
        if form == "layer":
            rows = rows / rows.norm(dim=2, keepdim=True)
        measured.append(
            Measurement.at_most(f"{what} into clones, difference", _largest(rows[:, 0] - rows[:, 1]), 1e-12)
        )
    space = mlp([1, 2, 1])
    first, zero = torch.ones(2, 2, 1, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    last = torch.tensor([[1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)[:, None, :, None]
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]
    for what, weights, gap in (("two", last, 0.0), ("two, last weights squared", last.square(), 4.0)):
        y = space.realize(WeightFeatures(space, (first, zero.expand(2, 2)[..., None], weights, zero[:, None, None])), x)
        measured.append(
            Measurement.within(f"networks with clones, {what}: difference", _largest(y[0] - y[1]), gap, gap)
        )
    return measured


def refusals() -> Measurement:
    """Groups whose identity component is trivial."""
    refused = 0
    groups = [siren([2, 8, 1]).symmetry(), mlp([2, 8, 1], "tanh").symmetry(), _CHAIN.symmetry("permutation")]
    for group in groups:
        try:
            QuasiEquivariant(nn.Identity(), group, 1, 1)
        except SymmetryError:
            refused += 1
    return Measurement.equal("discrete groups refused (sine, tanh, permutations)", refused, len(groups))
