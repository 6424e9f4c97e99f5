"""What every architecture has around its body: standardisation, input encodings, and the group that it claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from ..nn import GradientFeatures, ProbeFeatures, Standardization, Standardize, check_space
from ..space import SymmetryGroup, WeightFeatures, WeightSpace

__all__ = ["Body", "Metanetwork", "Ports", "Task"]

Task = Literal["equivariant", "invariant"]


class Ports(NamedTuple):
    """What the body of a metanetwork takes and gives.

    Attributes:
        task: whether it gives weight features or a vector.
        in_channels: channels of its input, encodings included.
        out: channels of the weight features, or length of the vector.
        raw_channels: channels of the raw networks, without encodings.
    """

    task: Task
    in_channels: int
    out: int
    raw_channels: int

    @property
    def equivariant(self) -> bool:
        """Whether the output is weight features."""
        return self.task == "equivariant"


class Body(NamedTuple):
    """What makes an architecture: a network on standardised weight features, and the group that it respects.

    Attributes:
        net: maps the standardised features with their encodings, ``net(x)``, to the output.
        symmetry: the group; None for a family of architectures, each of which has one of its own.
        takes_raw: whether the net takes the raw networks too, ``net(x, raw)``, to run them.
    """

    net: nn.Module
    symmetry: SymmetryGroup | None
    takes_raw: bool = False


class Metanetwork(nn.Module):
    """A network that takes networks: standardisation, input encodings, and the body of one architecture.

    Args:
        make: the architecture.
        space: weight space of the networks that it takes.
        task: "equivariant" or "invariant".
        in_channels: channels of the input.
        out_channels: channels of an equivariant output.
        out_features: length of an invariant output.
        standardize: of the input; see `Standardize`. Call ``net.standardize.fit`` with the training networks.
        probes: number of learned points at which the input networks are evaluated; see `ProbeFeatures`.
        gradients: number of learned points at which they are differentiated; see `GradientFeatures`.
        options: of the architecture.

    Attributes:
        symmetry: the group that the network respects: that of the architecture, less what the standardisation and
            the encodings break.
    """

    def __init__(
        self,
        make: Callable[..., Body],
        space: WeightSpace,
        task: Task,
        in_channels: int = 1,
        out_channels: int = 1,
        out_features: int = 1,
        standardize: Standardization = "none",
        probes: int | None = None,
        gradients: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.space, self.task, self.in_channels = space, task, in_channels
        self.standardize = Standardize(space, standardize, in_channels)
        encodings: list[ProbeFeatures | GradientFeatures] = []
        if probes is not None:
            encodings.append(ProbeFeatures(space, in_channels, probes))
        if gradients is not None:
            encodings.append(GradientFeatures(space, in_channels, gradients))
        self.encodings = nn.ModuleList(encodings)
        width = in_channels + sum(encoding.out_channels for encoding in encodings)
        ports = Ports(task, width, out_channels if task == "equivariant" else out_features, in_channels)
        self.net, symmetry, self._takes_raw = make(space, ports, **options)
        if standardize == "entry":
            symmetry = space.symmetry("trivial")
        assert symmetry is not None  # there is one space
        self.symmetry = symmetry.restricted(
            io=standardize in ("none", "tensor") and not encodings,
            scales=standardize in ("none", "scale") and not encodings,
        )

    def forward(self, theta: WeightFeatures) -> WeightFeatures | Tensor:
        """Weight features for an equivariant task, ``[batch, out_features]`` for an invariant one."""
        check_space(self.space, theta, self.in_channels, like=next(self.parameters()))
        x = self.standardize(theta)
        for encoding in self.encodings:
            x = x.concatenate(encoding(theta))
        out: WeightFeatures | Tensor = self.net(x, theta) if self._takes_raw else self.net(x)
        return out
