"""Networks in memory, in the place of a folder with shards."""

from dataclasses import dataclass

from torch import Tensor

from ..space import WeightFeatures, WeightSpace

__all__ = ["InMemory"]


@dataclass(frozen=True, eq=False)
class InMemory:
    """What a `Zoo` asks of its folder, of networks that were read from elsewhere: one shard, which has no checksum.

    Attributes:
        theta: the networks as raw weights.
    """

    theta: WeightFeatures

    @property
    def space(self) -> WeightSpace:
        """The weight space of the networks; it can run them."""
        return self.theta.space

    def check_shard(self, number: int, *, checksum: bool) -> None:
        """There is no file that could be damaged."""

    def shard(self, number: int, only: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """The tensors without their channel, as a shard holds them."""
        return {name: tensor[..., 0] for name, tensor in self.theta.items() if only is None or name in only}
