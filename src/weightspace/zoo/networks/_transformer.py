"""Transformers of the Small Transformer Zoo (Tran et al., 2024, arXiv 2410.04209), alone and many at once."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ._dropout import Dropout

__all__ = ["WIDTH", "SmallTextTransformer", "SmallViT", "transformer_logits"]

WIDTH, _HEADS, _BLOCKS, _PATCH = 32, 2, 2, 4


class SmallViT(nn.Module):
    """Patches 4 × 4, width 32, two blocks of two heads without residual connections: 18 506 parameters.

    A block is attention, then two linear layers (32-64-32, ReLU), each behind a layer norm without gains; queries,
    keys, values and their projection have no biases, positions are fixed sines. A classifier 32-32-10 reads the mean
    token. Source: Tran et al. (2024), arXiv 2410.04209; the names in the state dict are theirs.

    Args:
        classes: number of outputs.
        dropout: share of what embedding, attention and linear layers return that is dropped in training.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.from_module(ws.zoo.SmallViT(), torch.randn(2, 1, 28, 28))
        >>> space.num_parameters
        18506
    """

    def __init__(self, classes: int = 10, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.ModuleDict({"conv1": nn.Conv2d(1, WIDTH, _PATCH, stride=_PATCH)})
        self.encoder = nn.ModuleList(_Block(dropout) for _ in range(_BLOCKS))
        self.classifier = nn.ModuleDict({"fc1": nn.Linear(WIDTH, WIDTH), "fc2": nn.Linear(WIDTH, classes)})
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: "Float[Tensor, 'batch 1 height width']") -> "Float[Tensor, 'batch classes']":
        """The logits; the sides of the images are multiples of 4."""
        return self._read(self.embedding["conv1"](images).flatten(2).mT)

    def _read(self, tokens: Tensor) -> Tensor:
        x = self.dropout(tokens + _positions(tokens.shape[1]).to(tokens))
        for block in self.encoder:
            x = block(x)
        x = F.layer_norm(x, (WIDTH,)).mean(1)
        logits: Tensor = self.classifier["fc2"](F.relu(self.classifier["fc1"](x)))
        return logits


class SmallTextTransformer(SmallViT):
    """The same behind word vectors that are not trained: 17 764 parameters for four classes.

    Args:
        classes: number of outputs.
        dropout: as for `SmallViT`.
    """

    def __init__(self, classes: int = 4, *, dropout: float = 0.0) -> None:
        super().__init__(classes, dropout=dropout)
        del self.embedding

    def forward(self, vectors: "Float[Tensor, 'batch words 32']") -> "Float[Tensor, 'batch classes']":
        """The logits."""
        return self._read(vectors)


class _Block(nn.Module):
    """Attention and linear layers, each behind a norm, without residual connections."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.attention(F.layer_norm(x, (WIDTH,))))
        out: Tensor = self.dropout(self.fc2(F.relu(self.fc1(F.layer_norm(x, (WIDTH,))))))
        return out


class _Attention(nn.Module):
    """Attention of all heads, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.values, self.out_projection = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = (self.queries, self.keys, self.values)
        q, k, v = (linear(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2) for linear in maps)
        out: Tensor = self.out_projection(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


def transformer_logits(
    parameters: Mapping[str, Tensor],
    inputs: "Float[Tensor, 'networks batch 1 height width'] | Float[Tensor, 'networks batch words 32']",
    dropout: Dropout | None = None,
) -> "Float[Tensor, 'networks batch classes']":
    """The logits of many transformers, each on inputs of its own: batched matrix products, one attention for all.

    Args:
        parameters: those of the modules, stacked along a first axis.
        inputs: the images of each `SmallViT`, or the word vectors of each `SmallTextTransformer`.
        dropout: drops units; nothing does without it.
    """

    def linear(x: Tensor, name: str) -> Tensor:
        weight, bias = parameters[f"{name}.weight"].flatten(2).mT, parameters.get(f"{name}.bias")
        rows = x.flatten(1, -2)
        rows = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias[:, None], rows, weight)
        out: Tensor = rows.unflatten(1, x.shape[1:-1])
        return out

    def dropped(x: Tensor) -> Tensor:
        return x if dropout is None else dropout(x)

    if "embedding.conv1.weight" in parameters:
        patches = inputs[:, :, 0].unfold(2, _PATCH, _PATCH).unfold(3, _PATCH, _PATCH).flatten(4).flatten(2, 3)
        inputs = linear(patches, "embedding.conv1")
    x = dropped(inputs + _positions(inputs.shape[2]).to(inputs))
    for i in range(_BLOCKS):
        x = F.layer_norm(x, (WIDTH,))
        names = [f"encoder.{i}.attention.{name}.weight" for name in ("queries", "keys", "values")]
        packed = torch.bmm(x.flatten(1, 2), torch.cat([parameters[name] for name in names], dim=1).mT)
        q, k, v = packed.view(-1, x.shape[2], 3, _HEADS, WIDTH // _HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = F.layer_norm(dropped(linear(attended, f"encoder.{i}.attention.out_projection")), (WIDTH,))
        x = dropped(linear(F.relu(linear(x, f"encoder.{i}.fc1")), f"encoder.{i}.fc2"))
    x = F.layer_norm(x, (WIDTH,)).mean(2)
    return linear(F.relu(linear(x, "classifier.fc1")), "classifier.fc2")


def _positions(tokens: int) -> "Float[Tensor, 'tokens width']":
    """Sines and cosines of the position, in turn (Vaswani et al., 2017)."""
    rates = torch.exp(torch.arange(0, WIDTH, 2, dtype=torch.float64) * (-math.log(10_000) / WIDTH))
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
