"""Attention between rows and columns sees more than colour refinement, and not everything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ...models import build
from ...nn import NeuronAttention, PerParameter
from ...space import WeightFeatures, mlp
from .._outputs import output_gap
from .._pairs import Kind, design_pair, wl_pair
from .._statement import Evidence, Measurement, statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "attention"
_NFT: dict[str, Any] = {"hidden": 16, "depth": 3}
_SCALES = tuple(0.25 * i for i in range(9))
_LAYERS = (1, 2, 3)


@statement(
    NAME,
    title="Attention between rows and columns sees more than colour refinement, and not everything",
    source="arXiv 2602.01083, proposition 5.3, sharpened here",
    claim="""
    In a neural functional transformer (NFT) the columns of W_l, the bias b_l and the rows of W_(l+1) attend to each
    other. Queries and keys are multiplied over the neurons of layer l, so the scores hold W_l^T W_l and W_(l+1) W_l,
    exact products that message passing never forms. NFT tells all pairs of networks apart that colour refinement takes
    for the same in "wl_pair".

    It loses nothing for that: where queries and keys vanish, attention is uniform, and the sums over rows and columns
    that linear equivariant layers consist of come out exactly. So NFT with positions is strictly stronger than DWS,
    HNP-NFN, NP-NFN, GMN and NG-GNN on all networks. Without bias ties they are all equal.

    Nor is it universal. Two designs with the same products of columns, the same products of rows, and different
    orbits look alike to any number of its layers.
    """,
    construction="""
    One layer of attention with one head and one channel, whose queries are lambda times its keys, is applied to the
    cycle of length 8 and to the two of length 4, and the squares of the new middle weights are averaged. At lambda 0
    the averages agree, at lambda 1 they do not.

    Gates leave nothing but the middle weights of a random network. One uniform layer then puts their row sums on the
    biases behind, their column sums on those in front and their total on the last bias, and a second one brings the row
    sums back to each middle weight.

    Cycles of length 12 and 6 show how depth counts: the scores of the first layer are the same up to order, and with a
    linear readout one layer alone tells nothing, two do. A nonlinear map of each entry, as in a block of NFT, makes
    one layer enough.

    The incidence matrices of two symmetric (16, 6, 2) designs have W W^T = W^T W = 4 I + 2 J, and attention maps
    a W + b J to matrices of this form, with numbers a and b that are the same for both.
    """,
)
def attention() -> Evidence:
    """One layer in closed form, sums from uniform attention, depth, and the two designs."""
    curves = torch.tensor([_one_layer(scale) for scale in _SCALES])
    depth = {kind: [_stacked_gap(kind, layers) for layers in _LAYERS] for kind in ("c8", "c12")}
    measured = (*_example(curves), *uniform_attention(), *_depth(depth["c12"]), *_designs())
    return Evidence(measured, lambda figure: _draw(figure, curves, depth))


def _one_layer(scale: float) -> list[float]:
    """Mean square of W_2 + attention on the two networks, for one head and channel, K = V = 1 and Q = ``scale``."""
    both = wl_pair("c8").both
    space, middle = both.space, both.space.position("2.weight")
    layer = NeuronAttention(space, 1, 1).double()
    with torch.no_grad():
        layer.project.weight.copy_(torch.tensor([[scale * math.sqrt(4)], [1], [1]]))  # the layer divides by sqrt(4)
        layer.project.bias.zero_()
        # less the term that attends between whole parameters and is one number for all of W_2
        query, key, value = layer.project(_means(both)).chunk(3, dim=-1)
        between = F.scaled_dot_product_attention(query, key, value)[:, middle, :, None, None]
        new = (both + layer(both)).tensors[middle] - between
    return [float(x) for x in new.square().mean((1, 2, 3))]


def _means(theta: WeightFeatures) -> Float[Tensor, "batch parameters channels"]:
    return torch.stack([tensor.flatten(1, -2).mean(1) for tensor in theta.tensors], dim=1)


def _example(curves: Tensor) -> Iterator[Measurement]:
    zero, one = curves[_SCALES.index(0.0)], curves[_SCALES.index(1.0)]
    yield Measurement.at_most("lambda 0: difference of the mean squares", float(zero.diff().abs()), 1e-14)
    for value, expected, name in zip(one, (3.8584, 4.1176), ("cycle", "two cycles"), strict=True):
        yield Measurement.about(f"lambda 1: mean square, {name}", float(value), expected, 1.0001)
    yield Measurement.at_least("gap of NFT, cycle and two cycles", output_gap("nft", *wl_pair("c8"), **_NFT), 1e-6)
    yield Measurement.at_most("gap of NFT with Q = K = 0", _gap_without_scores(), 1e-14)


def _gap_without_scores() -> float:
    """Relative gap of an NFT whose attention is uniform on the cycle and the two cycles."""
    both = wl_pair("c8").both
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = build("nft", both.space, task="invariant", out_features=4, **_NFT).double().eval()
        for layer in net.modules():
            if isinstance(layer, NeuronAttention):
                _make_uniform(layer)
        outputs = net(both)
    return float(outputs.diff(dim=0).abs().max() / outputs.abs().max())


def _make_uniform(layer: NeuronAttention) -> None:
    for parameter in layer.project.parameters():
        parameter[: 2 * layer.channels] = 0


def uniform_attention() -> Iterator[Measurement]:
    """Sums over rows and columns from uniform attention, on a random network."""
    space = mlp([2, 5, 4, 3])
    layer = NeuronAttention(space, 1, 1).double()
    with torch.no_grad():
        _make_uniform(layer)
        layer.project.weight[2:], layer.project.bias[2:] = 1, 0
        theta = space.sample(1, torch.Generator().manual_seed(0)).to(torch.float64)
        middle = theta["2.weight"]
        first = layer(_only(theta, "2.weight"))
        second = layer(_only(first, "2.bias"))
    # tokens: rows and columns that meet at a neuron, and its bias; the last bias gets the term between parameters alone
    incoming, outgoing, parameters = 2 + 1 + 4, 5 + 1 + 3, 6
    whole, again = first["4.bias"].mean(), second["4.bias"].mean()
    errors = {
        "row sums": outgoing * (first["2.bias"] - whole) - middle.sum(2),
        "column sums": incoming * (first["0.bias"] - whole) - middle.sum(1),
        "total": parameters * middle[..., 0].numel() * whole - middle.sum(),
        "row sums at each weight": outgoing * (outgoing * (second["2.weight"] - again) - whole)
        - middle.sum(2, keepdim=True),
    }
    for what, error in errors.items():
        yield Measurement.at_most(f"error of the {what} from uniform attention", float(error.abs().max()), 1e-13)


def _only(theta: WeightFeatures, name: str) -> WeightFeatures:
    """All parameters but one gated to 0."""
    zero = theta.map(torch.zeros_like)
    return theta.space.features({**zero, name: theta[name]})


def _stacked_gap(kind: Kind, layers: int) -> float:
    """Largest relative gap of the means of each parameter after attention alone, over six random weights."""
    both, channels, gaps = wl_pair(kind).both, 6, []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in range(6):
            torch.manual_seed(seed)
            lift = PerParameter(both.space, lambda: nn.Linear(1, channels)).double()
            for parameter in lift.parameters():
                nn.init.normal_(parameter)
            theta = lift(both)
            for _ in range(layers):
                layer = NeuronAttention(both.space, channels, 1).double()
                layer.project.weight *= 2  # scores that are far from uniform
                theta = theta + layer(theta)
            means = _means(theta)
            gaps.append(float(means.diff(dim=0).abs().max() / means.abs().max()))
    return max(gaps)


def _depth(found: list[float]) -> Iterator[Measurement]:
    yield Measurement.at_most("cycles of 12 and 6: gap of one layer of attention, linear readout", found[0], 1e-14)
    for layers, gap, expected in ((2, found[1], 1e-4), (3, found[2], 9e-4)):
        yield Measurement.at_least(f"cycles of 12 and 6: gap of {layers} layers, linear readout", gap, expected / 5)
    block = output_gap("nft", *wl_pair("c12"), hidden=16, depth=1)
    yield Measurement.at_least("cycles of 12 and 6: gap of one block of NFT", block, 1e-6)


def _designs() -> Iterator[Measurement]:
    pair = design_pair()
    middle = pair.both["2.weight"][..., 0]
    expected = 4 * torch.eye(16, dtype=torch.float64) + 2
    off = max(float((product - expected).abs().max()) for product in (middle @ middle.mT, middle.mT @ middle))
    yield Measurement.equal("designs: largest deviation of W W^T and W^T W from 4 I + 2 J", off, 0)
    for value, number, name in zip(pair.functional(pair.both), (4096, 2944), ("bits", "numbers mod 8"), strict=True):
        yield Measurement.equal(f"designs: {pair.formula}, {name}", float(value), number)
    yield Measurement.at_most("designs: gap of NFT", output_gap("nft", *pair, networks=4, **_NFT), 1e-13)


def _draw(figure: Figure, curves: Tensor, depth: dict[str, list[float]]) -> None:
    example, layers = figure.subplots(1, 2)
    for i, name in enumerate(("one cycle of 8", "two cycles of 4")):
        example.plot(_SCALES, curves[:, i], "o-", color=f"C{i}", label=name)
    example.set(title="One head, one channel", xlabel="scale of the scores, lambda", ylabel="mean square of new W_2")
    example.legend()
    for i, (kind, found) in enumerate(depth.items()):
        layers.semilogy(_LAYERS, [max(gap, 1e-17) for gap in found], "o-", color=f"C{i}", label=f"pair {kind}")
    layers.set(title="Attention alone, linear readout", xlabel="layers", ylabel="relative gap", xticks=_LAYERS)
    layers.legend()
