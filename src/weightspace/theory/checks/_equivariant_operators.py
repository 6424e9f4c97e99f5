"""No architecture of colour refinement comes near an equivariant operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import build
from ...space import WeightFeatures
from .._operators import EquivariantPair, equivariant_pair
from .._outputs import COLOR_REFINING
from .._statement import Evidence, Measurement, statement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "equivariant-operators"
_TRAINED: dict[str, dict[str, Any]] = {
    "dws": {"hidden": 8, "depth": 2, "reduction": "mean"},
    "nft": {"hidden": 8, "depth": 2},
}
_ITERATIONS = 50


@statement(
    NAME,
    title="An equivariant operator at distance 2 from all architectures of colour refinement",
    source="arXiv 2602.01083, proposition 7.3, sharpened here",
    claim="""
    The map that sends the middle weights W of a network to W W^T W, and all else to 0, is a polynomial and commutes
    with permutations of hidden neurons. On the cycle of length 8 it is 3 where W is 1 and 1 where W is 0, on two cycles
    of length 4 it is 4 and 0.

    DWS, HNP-NFN, NP-NFN with positions, GMN and NG-GNN give all weights of one colour one value, and the colours are
    the same in both networks. So one vector has to serve for two targets at a distance of 4, and the Euclidean error on
    one of the two networks is at least 2. No size, depth or training changes that; outputs halfway between the targets,
    the best possible, have an error of exactly 2 on both. Attention between rows and columns has no such bound.

    The number |W W^T|^2, written to the last bias, is an equivariant operator too, which fails for the same reason.
    """,
    construction="""
    Networks of all five architectures with random weights are applied to both networks. Measured are how far the
    outputs on weights of one colour differ, and the larger error. Then a small DWS and a small neural functional
    transformer (NFT) are trained on just these two networks, by L-BFGS.
    """,
)
def equivariant_operators() -> Evidence:
    """The bound, the outputs on colours, and two trained networks."""
    pair = equivariant_pair()
    curves = {name: _trained(name, pair, options) for name, options in _TRAINED.items()}
    measured = (*_target(pair), *_colours(pair), *_ends(pair, curves))
    return Evidence(measured, lambda figure: _draw(figure, pair, curves))


def _errors(output: WeightFeatures, pair: EquivariantPair) -> Float[Tensor, "2"]:
    """The Euclidean distance to the target on both networks."""
    errors: Tensor = (output - pair.target(pair.both)).flatten().norm(dim=1)
    return errors


def _target(pair: EquivariantPair) -> Iterator[Measurement]:
    middle, target = (theta["2.weight"] for theta in (pair.both, pair.target(pair.both)))
    for network, (name, one, zero) in enumerate((("the cycle", 3, 1), ("two cycles", 4, 0))):
        for weight, expected in ((1, one), (0, zero)):
            values = target[network][middle[network] == weight].unique()
            value = float(values) if len(values) == 1 else torch.nan
            yield Measurement.equal(f"target where W is {weight}, {name}", value, expected)
    group = pair.both.space.symmetry("permutation")
    element = group.sample(2, torch.Generator().manual_seed(0))
    moved = pair.target(group.act(element, pair.both)) - group.act(element, pair.target(pair.both))
    yield Measurement.at_most("target: violation of equivariance", float(moved.flatten().abs().max()), 1e-12)
    yield Measurement.equal("lower bound of the larger error", pair.l2_lower_bound, 2)


def _colours(pair: EquivariantPair) -> Iterator[Measurement]:
    """Random networks: one value for each colour, so an error of 2 or more."""
    middle, smallest = pair.both["2.weight"], torch.inf
    for name, options in COLOR_REFINING.items():
        spread = 0.0
        for seed in range(5):
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(seed)
                output = build(name, pair.both.space, hidden=16, depth=3, **options).double().eval()(pair.both)
            values = output["2.weight"]
            for weight in (0, 1):
                spread = max(
                    spread, float(torch.aminmax(values[middle == weight]).max - values[middle == weight].min())
                )
            smallest = min(smallest, float(_errors(output, pair).max()))
        yield Measurement.at_most(f"{name}: difference of outputs on weights of one colour", spread, 1e-13)
    yield Measurement.at_least("smallest larger error of 25 random networks", smallest, 2)


def _trained(name: str, pair: EquivariantPair, options: dict[str, Any]) -> Float[Tensor, "evaluations 2"]:
    """The errors on both networks whenever they are evaluated in training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(name, pair.both.space, **options).double().eval()  # no dropout
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")
    errors = []

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors.append(_errors(net(pair.both), pair))
        value = errors[-1].square().sum()
        value.backward()
        return value.detach()

    optimizer.step(loss)
    return torch.stack([*errors, _errors(net(pair.both), pair)]).detach()


def _ends(pair: EquivariantPair, curves: dict[str, Float[Tensor, "evaluations 2"]]) -> Iterator[Measurement]:
    for error, network in zip(curves["dws"][-1], ("the cycle", "two cycles"), strict=True):
        yield Measurement.about(f"error of a trained dws, {network}", float(error), pair.l2_lower_bound, 1.00005)
    yield Measurement.at_least(
        "smallest larger error of dws in training", float(curves["dws"].amax(1).min()), 2 - 1e-12
    )
    yield Measurement.at_most("larger error of a trained nft", float(curves["nft"][-1].max()), 0.25)


def _draw(figure: Figure, pair: EquivariantPair, curves: dict[str, Float[Tensor, "evaluations 2"]]) -> None:
    cycle, cycles, training = figure.subplots(1, 3)
    target = pair.target(pair.both)["2.weight"][..., 0]
    for axes, values, name in ((cycle, target[0], "one cycle of 8"), (cycles, target[1], "two cycles of 4")):
        image = axes.imshow(values.numpy(), vmin=0, vmax=4)
        axes.set(title=f"Target, {name}", xlabel="neuron of layer 1", ylabel="neuron of layer 2", yticks=range(4))
    figure.colorbar(image, ax=[cycle, cycles], shrink=0.6)
    for i, (name, errors) in enumerate(curves.items()):
        training.semilogy(errors.amax(1), color=f"C{i}", label=name)
    training.axhline(pair.l2_lower_bound, color="C3", linestyle="--", label="lower bound")
    training.set(title="Training on both", xlabel="evaluation", ylabel="larger error of the two")
    training.legend()
