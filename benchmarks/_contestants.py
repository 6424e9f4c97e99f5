"""The architectures that are compared: every registered one as published, and the variants that matter."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import weightspace as ws
from weightspace import models

_NFN, _GMN = ((128, 4),), ((128, 10),)
# (channels, layers) of the published configurations, where these are not just the defaults of hidden and depth;
# none where nothing is computed for each entry
_STACKS: dict[str, tuple[tuple[int, int], ...]] = {
    "canon-mlp": (),
    "gmn": _GMN,
    "hnp-nfn": _NFN,
    "mlp": (),
    "monomial-nfn": ((64, 3), (256, 3)),
    "np-nfn": _NFN,
    "scalegmn": _GMN,
    "scalegmn-b": _GMN,
    "statnet": (),
    "transformer-nfn": ((10, 2),),
}
_PLAIN = {"hidden": 64, "depth": 5, "neuron_map": "linear", "batch_norm": False, "dropout": 0.0}


@dataclass(frozen=True)
class Contestant:
    """One architecture with options.

    Attributes:
        name: of the architecture.
        variant: what sets it apart.
        options: beside the published ones.
    """

    name: str
    variant: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and variant."""
        return f"{self.name}, {self.variant}" if self.variant else self.name

    @property
    def stacks(self) -> tuple[tuple[int, int], ...]:
        """Channels and number of the layers that compute something for each entry."""
        if self.name in _STACKS and "hidden" not in self.options:
            return _STACKS[self.name]
        signature = inspect.signature(getattr(models, self.name.replace("-", "_"))).parameters
        hidden, depth = (self.options.get(option, signature[option].default) for option in ("hidden", "depth"))
        return ((hidden, depth),)

    @property
    def width(self) -> int | None:
        """Channels of the widest of these layers."""
        return max((channels for channels, _ in self.stacks), default=None)

    def build(self, space: ws.WeightSpace) -> ws.models.Metanetwork:
        """The network, for an equivariant task if it serves one."""
        equivariant = self.name in ws.architectures("equivariant")
        return ws.build(self.name, space, task="equivariant" if equivariant else "invariant", **self.options)


_VARIANTS = (
    Contestant("dws", "linear, mean", {"neuron_map": "linear", "reduction": "mean"}),
    Contestant("dws", "plain 64 x 5, mean", {**_PLAIN, "reduction": "mean"}),
    Contestant("dws", "plain 64 x 5, max", {**_PLAIN, "reduction": "max"}),
    Contestant("gmn", "64 x 4", {"hidden": 64, "depth": 4, "dropout": 0.0}),
    Contestant("np-nfn", "no positions", {"positions": False}),
    Contestant("ng-gnn", "64 probes", {"probes": 64}),
    Contestant("ng-t", "edges", {"attend": "edges"}),
    Contestant("scalegmn", "64 gradients", {"gradients": 64}),
)


def contestants(names: list[str] | None = None) -> list[Contestant]:
    """All of them, or those with one of the names or labels.

    Raises:
        SystemExit: for a name that there is not.
    """
    every = [c for name in ws.architectures() for c in (Contestant(name), *(v for v in _VARIANTS if v.name == name))]
    if unknown := [name for name in names or () if not any(name in (c.name, c.label) for c in every)]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are: {'; '.join(c.label for c in every)}")
    return [c for c in every if names is None or c.name in names or c.label in names]
