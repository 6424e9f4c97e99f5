"""Self-attention over the neurons of one group: the set layer of DWS."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SetAttention"]

_FEW = 128
"""Up to so many neurons."""


class SetAttention(nn.Module):
    r"""Attention over a set of neurons, with the projected query as its residual.

    .. math:: O = Q + softmax(Q K^T / \sqrt{width}) V, \qquad y = O + ReLU(W_o O)

    The scale is that of the full width, not of one head (Lee et al., 2019, arXiv 1810.00825, eq. 6-8, as used in
    Navon et al., 2023, arXiv 2301.12780).

    Args:
        in_channels: channels of each neuron.
        width: channels of the result.
        heads: wanted number of heads; the greatest common divisor with ``width`` is taken.
    """

    def __init__(self, in_channels: int, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = math.gcd(heads, width)
        self.project = nn.Linear(in_channels, 3 * width)
        self.update = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "batch n in_channels"]) -> Float[Tensor, "batch n width"]:
        """Applies the layer; permuting the neurons permutes the result."""
        query, key, value = self.project(x).chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        scale = query.shape[-1] ** -0.5
        if x.device.type == "cpu" and x.shape[1] <= _FEW:  # the fused kernel costs more than its matrix products there
            mixed = (q @ k.mT * scale).softmax(dim=-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, scale=scale)
        out: Tensor = query + mixed.transpose(1, 2).flatten(2)
        return out + F.relu(self.update(out))
