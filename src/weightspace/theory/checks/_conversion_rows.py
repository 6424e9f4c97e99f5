"""Errors of the conversions between architectures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models import all_permutations, build
from ...nn import EquivariantLinear, GraphDecoder, GraphEncoder, MessagePassing, Pointwise, Reduction, gmn_layer
from ...space import WeightFeatures, WeightSpace, mlp
from .._dws_to_gmn import dws_to_gmn
from .._dws_to_np import dws_to_np
from .._gmn_to_dws import gmn_to_dws
from .._gmn_to_ng import gmn_to_ng
from .._maximum import max_to_dws
from .._np_to_dws import np_to_dws
from .._statement import Measurement

__all__ = [
    "SCALES",
    "against_radius",
    "chains",
    "difference",
    "dws_network",
    "maxima",
    "networks",
    "single_layers",
    "without_positions",
]

Network = Callable[[WeightFeatures], WeightFeatures]

SCALES = (0.125, 0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Largest entries of the networks for which conversions are tested, in units of the radius."""


def networks(space: WeightSpace, batch: int, channels: int, radius: float, seed: int = 0) -> WeightFeatures:
    """Random weights whose largest absolute value is the radius."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, *p.shape, channels) for p in space.parameters]
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    largest = max(float(t.abs().max()) for t in drawn)
    return WeightFeatures(space, tuple(t * (radius / largest) for t in drawn))


def difference(a: Network, b: Network, theta: WeightFeatures) -> float:
    """The largest difference of two networks, relative to the largest output of the first one."""
    outputs = a(theta), b(theta)
    error, size = (
        max(float(t.abs().max()) for t in x.tensors) for x in (outputs[0].map(torch.sub, outputs[1]), outputs[0])
    )
    return error / size


def _drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in float64 with random parameters."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    for parameter in module.parameters():
        width = parameter.shape[-1] if parameter.dim() > 1 else 4
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / width**0.5)
    return module.eval()


def dws_network(space: WeightSpace, *widths: int) -> nn.Module:
    """Random equivariant linear layers with ReLU between."""
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [EquivariantLinear(space, widths[i], widths[i + 1]), Pointwise(F.relu)]
    return _drawn(nn.Sequential(*layers[:-1]))


def _gmn(space: WeightSpace, reduction: Reduction, depth: int = 2, hidden: int = 4) -> nn.Module:
    """A random graph metanetwork with ReLU."""
    layers = [gmn_layer(hidden, 1 if i == depth - 1 else None, reduction=reduction, relu=True) for i in range(depth)]
    return _drawn(nn.Sequential(GraphEncoder(space, 1, hidden), *layers, GraphDecoder(space, 1, hidden)))


def single_layers() -> list[Measurement]:
    """Single layers of DWS as layers of NP and of GMN, with several channels in and out."""
    measured = []
    for dims, channels, out in (((2, 3, 3, 2), 1, 1), ((2, 3, 4, 3), 2, 3), ((3, 4, 2), 2, 2), ((2, 3, 3, 3, 1), 1, 2)):
        space = mlp(list(dims))
        layer, theta = dws_network(space, channels, out), networks(space, 20, channels, 2.0)
        for name, convert in (("NP", dws_to_np), ("GMN", dws_to_gmn)):
            what = f"DWS layer on {'-'.join(map(str, dims))}, {channels} to {out} channels, as {name}"
            measured.append(Measurement.at_most(what, difference(layer, convert(layer, 2.0), theta), 1e-12))
    return measured


def chains() -> list[Measurement]:
    """Whole networks, and one conversion after another."""
    space = mlp([2, 3, 3, 2])
    theta = networks(space, 20, 1, 1.0)
    dws, layer = dws_network(space, 1, 3, 3, 1), dws_network(space, 1, 1)
    positions, graph, network = dws_to_np(dws, 1.0), dws_to_gmn(layer, 1.0), dws_to_gmn(dws, 1.0)
    counts = {
        "layers of NP for 3 of DWS": (_count(positions, EquivariantLinear), 3 * 3),
        "layers of GMN for 3 of DWS on networks of 3 layers": (_count(network, MessagePassing), 3 * (3 + 2)),
        "layers of NG-GNN for 2 of GMN": (_count(gmn_to_ng(_gmn(space, "sum")), MessagePassing), 2 + 1),
    }
    known = _drawn(build("np-nfn", space, hidden=4, depth=3, fourier=None))
    errors = {
        "DWS network of 3 layers as NP": difference(dws, positions, theta),
        "DWS network of 3 layers as NP, and that as DWS again": difference(dws, np_to_dws(positions), theta),
        "NP network with positions as DWS": difference(known, np_to_dws(known), theta),
        "DWS network of 3 layers as GMN": difference(dws, network, theta),
        "DWS layer as GMN, and that as NG-GNN": difference(layer, gmn_to_ng(graph), theta),
        "DWS layer as GMN, and that as DWS again": difference(layer, gmn_to_dws(graph), theta),
    }
    reductions: tuple[Reduction, ...] = ("sum", "mean")
    for reduction in reductions:
        gmn = _gmn(space, reduction)
        errors[f"GMN of 2 layers, {reduction}, as DWS"] = difference(gmn, gmn_to_dws(gmn, space), theta)
        errors[f"GMN of 2 layers, {reduction}, as NG-GNN"] = difference(gmn, gmn_to_ng(gmn), theta)
    rows = [Measurement.at_most(f"{name}: error", error, 1e-12) for name, error in errors.items()]
    return [*(Measurement.equal(name, *pair) for name, pair in counts.items()), *rows]


def _count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def against_radius() -> dict[str, list[float]]:
    """The errors of conversions for the radius 1 on networks of other sizes, of `SCALES`."""
    space = mlp([2, 3, 3, 2])
    dws, gmn = dws_network(space, 1, 2, 1), _gmn(space, "sum")
    pairs: dict[str, tuple[Network, Network]] = {
        "DWS to NP": (dws, dws_to_np(dws, 1.0)),
        "DWS to GMN": (dws, dws_to_gmn(dws, 1.0)),
        "GMN to NG-GNN": (gmn, gmn_to_ng(gmn)),
        "GMN to DWS": (gmn, gmn_to_dws(gmn, space)),
    }
    thetas = [networks(space, 20, 1, scale) for scale in SCALES]
    return {name: [difference(*pair, theta) for theta in thetas] for name, pair in pairs.items()}


def maxima() -> list[Measurement]:
    """The maximum of n numbers, ties among them."""
    measured = []
    for n in range(2, 9):
        x = torch.randn(2000, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        x[:500, 0] = x[:500, 1]
        net = max_to_dws(n)
        y: Tensor = net(net.space.features({"set": x[..., None]}))["set"][..., 0]
        error = float((y - x.amax(1, keepdim=True)).abs().max())
        measured.append(Measurement.at_most(f"maximum of {n} numbers: error", error, 1e-14))
    return measured


def without_positions() -> list[Measurement]:
    """Features of two networks that differ by an exchange of their inputs."""
    space = mlp([2, 3, 3, 2])
    theta = networks(space, 20, 1, 1.0)
    swapped = WeightFeatures(space, (theta.tensors[0].flip(2), *theta.tensors[1:]))
    measured = []
    for name, words, options in (
        ("np-nfn", "NP-NFN without positions", {"positions": False, "fourier": None}),
        ("np-nfn", "NP-NFN with positions", {"fourier": None}),
        ("hnp-nfn", "HNP-NFN", {"fourier": None}),
        ("dws", "DWS", {"reduction": "mean", "neuron_map": "linear", "depth": 3}),
    ):
        net = _drawn(build(name, space, task="invariant", out_features=4, hidden=8, **options))
        outputs = net(theta), net(swapped)
        gap = float((outputs[0] - outputs[1]).abs().amax() / outputs[0].abs().amax())
        what = f"inputs exchanged: difference of features, {words}"
        lost = "without" in words
        measured.append(Measurement.at_most(what, gap, 1e-13) if lost else Measurement.at_least(what, gap, 1e-3))
    single = mlp([1, 4, 4, 1])
    layers = (EquivariantLinear(single, 1, 1, symmetry=group) for group in (None, all_permutations(single)))
    own, larger = (len(layer.terms()) for layer in layers)
    return [*measured, Measurement.equal("coefficients of an NP layer on 1-4-4-1, as many as of DWS", larger, own)]
