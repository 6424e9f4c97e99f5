"""A DWS network that has been trained, converted."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ...models import build
from ...space import WeightFeatures, mlp
from .._dws_to_gmn import dws_to_gmn
from .._dws_to_np import dws_to_np
from .._gmn_to_ng import gmn_to_ng
from .._statement import Measurement
from ._conversion_rows import Network, difference, networks

__all__ = ["trained_editor"]

_SPACE = mlp([2, 6, 6, 1])


def trained_editor(steps: int = 150) -> list[Measurement]:
    """A network that learns to lift all weights to the mean of those of their neuron, and its conversions.

    It has batch normalisation and standardised inputs, which become part of the converted layers.
    """
    torch.manual_seed(0)
    net = build(
        "dws", _SPACE, hidden=6, depth=3, reduction="mean", neuron_map="linear", dropout=0.0, standardize="orbit"
    ).double()
    seen, unseen = networks(_SPACE, 512, 1, 2.0, seed=1), networks(_SPACE, 100, 1, 2.0, seed=2)
    net.standardize.fit(seen)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        batch = seen[torch.randint(len(seen), (32,))]
        optimizer.zero_grad()
        _loss(net, batch).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        radius = max(float(t.abs().max()) for t in unseen.tensors)
        graph = dws_to_gmn(net, radius)
        errors = {"NP": dws_to_np(net, radius), "GMN": graph, "GMN, and that as NG-GNN": gmn_to_ng(graph)}
        return [
            Measurement.at_most(
                "trained DWS editor: loss, relative to the identity",
                float(_loss(net, unseen) / _loss(lambda x: x, unseen)),
                0.5,
            ),
            *(
                Measurement.at_most(f"trained DWS editor as {name}: error", difference(net, other, unseen), 1e-8)
                for name, other in errors.items()
            ),
        ]


def _loss(net: Network, theta: WeightFeatures) -> torch.Tensor:
    lifted = [torch.maximum(t, t.mean(2, keepdim=True)) if t.dim() == 4 else t for t in theta.tensors]
    parts = [F.mse_loss(*pair) for pair in zip(net(theta).tensors, lifted, strict=True)]
    return torch.stack(parts).mean()
