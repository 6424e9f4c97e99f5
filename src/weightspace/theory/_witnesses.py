"""The computations behind the cells of the expressivity map, each for one architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..models import build
from ..nn import EquivariantLinear, OutputCapacityExpansion
from ..orbit import canonicalize
from ..space import WeightFeatures, WeightSpace, mlp
from ..testing import equivariance_error
from ._canonical import CanonicalFormNetwork
from ._census import census, one_layer_orbits
from ._commutant import commutant_dimension
from ._dws_to_gmn import dws_to_gmn
from ._dws_to_np import dws_to_np
from ._explicit import ramps
from ._forward_pass import ForwardPassNetwork, forward_radius
from ._gmn_to_ng import gmn_to_ng
from ._outputs import COLOR_REFINING, output_gap, random_outputs
from ._pairs import design_pair, wl_pair
from ._partition import PartitionOfUnity
from ._regions import max_pieces
from ._statement import Measurement
from ._zoom import TiledZoom, capacity_lower_bound

_SMALL: dict[str, Any] = {"hidden": 8, "depth": 3}


def _options(architecture: str) -> dict[str, Any]:
    return _SMALL | COLOR_REFINING.get(architecture, {})


def _random(space: WeightSpace, batch: int, seed: int = 0) -> WeightFeatures:
    """Random weights of size at most 1."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, *p.shape, 1) for p in space.parameters]
    drawn = (torch.randn(s, generator=generator, dtype=torch.float64) / 2 for s in shapes)
    return WeightFeatures(space, tuple(t.clamp(-1, 1) for t in drawn))


def _simulates(architecture: str) -> list[Measurement]:
    """What DWS networks do, the architecture does: a random DWS network, converted, or the reason for it."""
    from .checks._attention import uniform_attention
    from .checks._conversion_rows import difference, dws_network

    space = mlp([2, 3, 3, 1])
    if architecture == "hnp-nfn":
        count = sum(p.numel() for p in EquivariantLinear(space, 1, 1).linear_parameters())
        return [Measurement.equal("linear layers of HNP-NFN: dimension", count, commutant_dimension(space))]
    if architecture == "nft":
        return list(uniform_attention())
    if architecture == "canon-mlp":
        return _canonical_mlp(space)
    if architecture not in ("np-nfn", "gmn", "ng-gnn"):
        return []
    with torch.no_grad():
        dws, theta = dws_network(space, 1, 2, 1), _random(space, 10)
        found: nn.Module = dws_to_np(dws, 1.0) if architecture == "np-nfn" else dws_to_gmn(dws, 1.0)
        if architecture == "ng-gnn":
            found = gmn_to_ng(found)
        return [Measurement.at_most("DWS network, converted: error", difference(dws, found, theta), 1e-11)]


def forward_pass(architecture: str) -> list[Measurement]:
    """Networks run on points, by a DWS network, up to the error of its squares."""
    space = mlp([2, 4, 4, 1])
    theta, points = _random(space, 50), torch.rand(16, 2, generator=torch.Generator().manual_seed(1)).double()
    net = ForwardPassNetwork(space, points, knots=64, radius=forward_radius(theta, points))
    error = float((net(theta) - space.realize(theta, points)).abs().max())
    bound = Measurement.at_most("values of networks: error", error, net.error_bound(1.0))
    return [bound, *_simulates(architecture)]


def _canonical_mlp(space: WeightSpace) -> list[Measurement]:
    """Permutations cancel in the canonical form, and an MLP does all else."""
    theta, group = _random(space, 50), space.symmetry("permutation")
    moved = group.act(group.sample(50, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
    error = (canonicalize(moved, group).theta - canonicalize(theta, group).theta).flatten().abs().max()
    lift = build("canon-mlp", space, dropout=0.0, **_SMALL)
    return [
        Measurement.at_most("canonical forms of permuted networks: difference", float(error), 0.0),
        Measurement.at_most(
            "MLP of the canonical form, moved back: equivariance", equivariance_error(lift, space), 1e-9
        ),
    ]


def one_hidden_layer(architecture: str) -> list[Measurement]:
    """The multisets of three neurons, told apart by random weights."""
    found = census(architecture, orbits=one_layer_orbits(), **_options(architecture))
    return [Measurement.equal("classes of 120 orbits with one hidden layer", found.classes, 120)]


def one_hidden_layer_equivariant(architecture: str) -> list[Measurement]:
    """What random weights say at a neuron: as many values as there are neurons in multisets, up to symmetry."""
    theta = one_layer_orbits()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = build(architecture, theta.space, out_channels=4, **_options(architecture)).double().eval()
        outputs: Tensor = net(theta)["0.bias"]
    neurons = torch.cat([theta[name].reshape(120, 3, 1) for name in ("0.weight", "0.bias", "2.weight")], 2)
    different = sum(len(own.unique(dim=0)) for own in neurons)
    rounded = (outputs.flatten(0, 1) / outputs.abs().amax((0, 1)) * 1e8).round()
    return [
        Measurement.equal("neurons of 120 multisets that are told apart", len(rounded.unique(dim=0)), different),
        *one_hidden_layer(architecture),
    ]


def pair(architecture: str) -> list[Measurement]:
    """Two networks of different orbits, and the outputs of random weights."""
    found = design_pair() if architecture == "nft" else wl_pair("c8")
    first, second = (float(found.functional(theta)) for theta in found)
    gap = output_gap(architecture, *found, networks=4, **_options(architecture))
    return [
        Measurement.at_least(f"{found.formula}: difference", abs(first - second), 1.0),
        Measurement.at_most(f"{architecture}: gap of the outputs", gap, 1e-13),
    ]


def sorting(architecture: str) -> list[Measurement]:
    """The canonical form of networks whose biases are 0.01 apart, by a DWS network with ReLU."""
    space = mlp([2, 4, 4, 1])
    theta = _random(space, 200)
    form = canonicalize(theta, "permutation")
    apart = (form.margin >= 0.01).nonzero().squeeze(1)
    net = CanonicalFormNetwork(space, 0.01, radius=1.0)
    error = float((net(theta[apart]).flatten() - form.theta[apart].flatten()).abs().max())
    return [Measurement.at_most("canonical forms by a circuit: error", error, 1e-11), *_simulates(architecture)]


def capacity(architecture: str) -> list[Measurement]:
    """The tiled zoom by 6 of a tent, for networks 1-3-1, whatever predicts them."""
    tent = TiledZoom(12).fold(torch.linspace(0, 1, 13, dtype=torch.float64))
    bound = capacity_lower_bound(tent, max_pieces([1, 3, 1]))
    return [Measurement.at_least("networks 1-3-1: error for a zoomed tent", bound, 0.5)]


def collapse(architecture: str) -> list[Measurement]:
    """Random weights at the network whose weights are 0: the predicted hidden neurons are equal, however many."""
    x = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    tent = TiledZoom(2).fold(x)[:, 0]
    measured = []
    for width in (8, 32):
        space, functions = mlp([1, width, width, 1]), []
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for seed in range(3):
                torch.manual_seed(seed)
                net = build(architecture, space, **_options(architecture)).double().eval()
                functions.append(space.realize(net(_random(space, 1) * 0.0), x)[0, :, 0])
        values = torch.stack(functions)
        steps = values.diff(dim=1)
        one_way = ((steps >= -1e-12).all(1) | (steps <= 1e-12).all(1)).sum()
        error = float((values - tent).abs().amax(1).min())
        name = f"of 3 predictions at weights 0, width {width}"
        measured.append(Measurement.equal(f"{name}: go one way only", float(one_way), 3))
        measured.append(Measurement.at_least(f"{name}: least error for a tent", error, 0.5))
    return measured


def ensembles(architecture: str) -> list[Measurement]:
    """The tiled zoom of networks with tied neurons, as the mean of many networks."""
    zoom = TiledZoom(4)
    x = torch.linspace(0, 1, 129, dtype=torch.float64)[:, None]
    grid = torch.cartesian_prod(torch.linspace(-1, 1, 5), torch.linspace(0, 1, 5)).unbind(1)
    fine = torch.cartesian_prod(torch.linspace(-1, 1, 17), torch.linspace(0, 1, 17)).unbind(1)
    centres, theta = ramps(*grid), ramps(*fine)
    unity = PartitionOfUnity(centres, zoom.network(centres), x, radius=0.3)
    editor = OutputCapacityExpansion(unity, theta.space, residual=False, init_scale=1.0).double()
    with torch.no_grad():
        found = theta.space.realize(editor(theta), x).mean(-1)
        wanted = zoom(lambda x: theta.space.realize(theta, x)[..., 0])(x)
        group = theta.space.symmetry("permutation")
        g = group.sample(len(theta), torch.Generator().manual_seed(0), dtype=torch.float64)
        moved = (editor(group.act(g, theta)) - group.act(g, editor(theta))).flatten().abs().max()
    return [
        Measurement.at_most(
            "mean of many networks: error, at most the radius", float((found[..., 0] - wanted).abs().max()), 0.3
        ),
        Measurement.at_most("mean of many networks: equivariance on tied networks", float(moved), 1e-12),
        *_simulates(architecture),
    ]


def ties(architecture: str) -> list[Measurement]:
    """A network with ties, permuted: its sorted forms lie in its orbit, but differ, and so do outputs on them."""
    found = wl_pair("c8")
    theta = found.both[[0] * 50]
    group = theta.space.symmetry("permutation")
    moved = group.act(group.sample(50, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
    values = found.functional(canonicalize(moved, group).theta)
    outputs = random_outputs(architecture, moved, 1, 0, out_features=4, dropout=0.0, **_SMALL)
    change = float(outputs.std(1).max() / outputs.abs().max())
    return [
        Measurement.at_most(
            f"{found.formula} of sorted forms of permuted copies: spread", float(values.max() - values.min()), 1e-12
        ),
        Measurement.at_least("outputs on permuted copies, random weights: spread", change, 1e-3),
    ]


def inputs_exchanged(architecture: str) -> list[Measurement]:
    """Networks before and after an exchange of their inputs: other functions, the same output."""
    space = mlp([2, 4, 4, 1])
    theta, x = _random(space, 20), torch.rand(50, 2, generator=torch.Generator().manual_seed(1)).double()
    swapped = WeightFeatures(space, (theta.tensors[0].flip(2), *theta.tensors[1:]))
    gap = output_gap("np-nfn", theta, swapped, networks=4, positions=False, fourier=None, **_SMALL)
    change = float((space.realize(theta, x) - space.realize(swapped, x)).abs().max())
    return [
        Measurement.at_least("inputs exchanged: change of the functions", change, 0.1),
        Measurement.at_most("inputs exchanged: gap of the outputs", gap, 1e-13),
    ]
