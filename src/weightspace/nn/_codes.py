"""What is learned for a role: codes of sets of nodes, and maps from and to the plain axes of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..space import centred
from ._blocks import Member, NodeSet
from ._family import Roles, set_key

__all__ = ["Codes", "RoleMaps"]


class Codes(nn.Module):
    """A learned vector for every set of nodes, and for each of its nodes where these stay in their places.

    Args:
        sets: for each set the number of its codes along each factor; see `SpaceFamily`.
        channels: length of the vectors.
    """

    def __init__(self, sets: Mapping[str, tuple[int, ...]], channels: int) -> None:
        super().__init__()
        self.table = nn.ParameterDict({key: 0.1 * torch.randn(*n, channels) for key, n in sets.items()})

    def forward(self, node_set: NodeSet) -> Float[Tensor, "n_or_1 channels"]:
        """The codes of a set: one for all nodes, or one for each."""
        code: Tensor = self.table[set_key(node_set)]
        if not any(node_set.fixed):
            return code.reshape(1, -1)
        fixed = zip(node_set.sizes, node_set.fixed, strict=True)
        part = code[tuple(slice(size if fix else 1) for size, fix in fixed)]
        return part.expand(*node_set.sizes, -1).reshape(node_set.size, -1)


class RoleMaps(nn.Module):
    """Linear maps between the plain axes and channels of parameters and the channels of nodes or edges, one for a role.

    A map for shorter plain axes is the middle of that for the longest ones.

    Args:
        roles: the sizes of the plain axes at most, by role.
        width: channels of the parameters.
        channels: channels of nodes or edges.
        decode: whether the maps are from nodes or edges to parameters.
    """

    def __init__(self, roles: Roles, width: int, channels: int, *, decode: bool = False) -> None:
        super().__init__()
        self.weight = nn.ParameterDict()
        for role, plain in roles.items():
            bound = 1 / math.sqrt(channels if decode else math.prod(plain) * width)
            self.weight[role] = nn.Parameter((torch.rand(channels, *plain, width) * 2 - 1) * bound)

    def _matrix(self, member: Member) -> Float[Tensor, "channels features"]:
        weight: Tensor = self.weight[member.role]
        if weight.shape[1:-1] != member.plain:
            middle = (centred(n, most) for n, most in zip(member.plain, weight.shape[1:-1], strict=True))
            weight = weight[(slice(None), *middle)]
        return weight.flatten(1)

    def encode(self, member: Member, features: Float[Tensor, "*nodes features"]) -> Float[Tensor, "*nodes channels"]:
        """Features of nodes or edges from those of a parameter, folded."""
        return F.linear(features, self._matrix(member))

    def decode(self, member: Member, x: Float[Tensor, "*nodes channels"]) -> Float[Tensor, "*nodes features"]:
        """Features of a parameter, folded, from those of nodes or edges."""
        return F.linear(x, self._matrix(member).mT)
