"""The default initialisation of traced parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["initial", "is_statistic"]

_LINEAR = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def initial(owners: Mapping[str, nn.Module], name: str, tensor: Tensor) -> dict[str, float]:
    """Mean, bound and standard deviation with which torch initialises a parameter of the layer that owns it.

    A parameter that no layer of torch owns is drawn with the mean and the standard deviation of its own entries.
    """
    path, _, kind = name.rpartition(".")
    owner = owners.get(path)
    if isinstance(owner, _LINEAR):
        weight = owner.weight
        fan_in = weight[0].numel() if not getattr(owner, "transposed", False) else weight[:, 0].numel()
        return {"bound": 1 / math.sqrt(max(fan_in, 1))}
    if isinstance(owner, _NORMS):
        return {"mean": 1.0 if kind in ("weight", "running_var") else 0.0}
    if isinstance(owner, nn.Embedding):
        return {"std": 1.0}
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        return {"bound": 1 / math.sqrt(owner.hidden_size)}
    if isinstance(owner, nn.MultiheadAttention):
        return {"bound": math.sqrt(6 / sum(tensor.shape))} if tensor.dim() == 2 else {}
    if tensor.is_meta or tensor.numel() == 0:
        return {"std": 0.02}
    values = tensor.detach().float()
    return {"mean": float(values.mean()), "std": float(values.std(correction=0))}


def is_statistic(owners: Mapping[str, nn.Module], name: str) -> bool:
    """Whether a tensor is a running statistic of a norm."""
    path, _, kind = name.rpartition(".")
    return isinstance(owners.get(path), nn.modules.batchnorm._NormBase) and kind in ("running_mean", "running_var")
