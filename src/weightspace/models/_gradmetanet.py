"""GradMetaNet: networks on the gradients of the input networks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import GradientFeatures, InvariantPool, Pointwise, head
from ..space import WeightFeatures, WeightSpace
from ._metanetwork import Body, Ports
from ._registry import register

__all__ = ["gradmetanet"]


class _GradMetaNet(nn.Module):
    """Features of the gradients of the raw networks, together with x, and what follows them."""

    def __init__(self, features: GradientFeatures, *end: nn.Module) -> None:
        super().__init__()
        self.features, self.end = features, nn.Sequential(*end)

    def forward(self, x: WeightFeatures, raw: WeightFeatures) -> WeightFeatures | Tensor:
        out: WeightFeatures | Tensor = self.end(self.features(raw, x))
        return out


@register("gradmetanet", standardize="orbit")
def gradmetanet(
    space: WeightSpace, ports: Ports, points: int = 64, hidden: int = 64, depth: int = 3, dropout: float = 0.1
) -> Body:
    """DeepSets over the points and the neurons of the gradients that the input networks have at learned points.

    Source: Gelberg et al. (2025), arXiv 2507.01649, whose 64 points it takes; width and depth are a choice of ours.
    The weights themselves enter in the last MLP of each weight beside the features of its two neurons; an invariant
    output pools the results of this MLP.

    Args:
        space: weight space of the networks.
        ports: input and output.
        points: number of points at which the gradients are taken.
        hidden: channels of the neurons and of the weights.
        depth: number of layers on the neurons.
        dropout: probability.
    """
    width = ports.out if ports.equivariant else hidden
    features = GradientFeatures(space, ports.raw_channels, points, width, hidden, depth, dropout, ports.in_channels)
    end: list[nn.Module] = []
    if not ports.equivariant:
        pool = InvariantPool(space, hidden)
        end = [Pointwise(F.silu), pool, head(pool.out_features, hidden, ports.out, dropout)]
    return Body(_GradMetaNet(features, *end), space.symmetry("permutation"), takes_raw=True)
