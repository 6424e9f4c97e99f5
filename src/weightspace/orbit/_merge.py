"""Merging: networks on the straight line between two that are aligned first."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from .._errors import SymmetryError
from ..space import WeightFeatures, check_features
from ._align import align as align_to
from ._observe import observe

__all__ = ["merge"]

Inputs = Tensor | tuple[Tensor, ...]


def merge(
    a: WeightFeatures,
    b: WeightFeatures,
    t: float | Tensor = 0.5,
    align: bool = True,
    data: Inputs | Iterable[Inputs] | None = None,
) -> WeightFeatures:
    """The networks ``(1 - t) a + t g b``, where g aligns b to a.

    Between two networks of different seeds the loss has a barrier, most of which goes away by alignment (Ainsworth et
    al., 2023, arXiv 2209.04836). The units of a merged network vary less than those of its parents, which its batch
    norms can repair if they see data (Jordan et al., 2023, arXiv 2211.08403): then their running statistics are
    those of the merged networks, averaged over the batches. Without data they are interpolated like all parameters.

    Args:
        a: B networks.
        b: B networks of the same space, or one; or more, and one in ``a``.
        t: the place on the line, 0 for a and 1 for b; or T places as a vector.
        align: False to leave b as it is, for instance because it was aligned with other options.
        data: inputs in batches, as `WeightSpace.realize` takes them; one batch, or an iterable of several.

    Returns:
        B networks, or B T of them, those of the first pair in front.

    Raises:
        SymmetryError: as `align` does; for data that has no batch.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 16, 16, 1])
        >>> a, b = space.sample(3), space.sample(3)
        >>> len(ws.merge(a, b, torch.linspace(0, 1, 11)))
        33
    """
    check_features(a, b)
    pairs = max(len(a), len(b))
    if align:
        b = align_to(a, b).theta
    elif a.space != b.space or len(a) not in (1, pairs) or len(b) not in (1, pairs):
        raise SymmetryError(f"merge takes pairs of networks of one space, found {a!r} and {b!r}")
    places = torch.as_tensor(t, dtype=a.dtype, device=a.device)
    if places.dim() > 1 or not places.numel():
        raise SymmetryError(f"t: expected a number or a vector of numbers, found shape {tuple(places.shape)}")

    def between(x: Tensor, y: Tensor) -> Tensor:
        share = places.reshape(1, -1, *(1,) * (x.dim() - 1))
        line = (1 - share) * x[:, None] + share * y[:, None]
        return line.flatten(0, 1)

    merged = a.map(between, b)
    return merged if data is None else _with_statistics(merged, [data] if isinstance(data, Tensor | tuple) else data)


def _with_statistics(theta: WeightFeatures, batches: Iterable[Inputs]) -> WeightFeatures:
    """The networks with the running statistics that training on the batches, at a cumulative average, would give."""
    space = theta.space
    modules = space.program.module.named_modules() if space.program is not None else ()
    norms = [path for path, module in modules if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return theta
    found: list[dict[str, Tensor]] = []
    with torch.no_grad():
        found = [observe(theta, x, dict.fromkeys(norms, _statistics), batch_statistics=True) for x in batches]
    if not found:
        raise SymmetryError("data: expected at least one batch, found none")
    tensors = dict(theta.items())
    for path in norms:
        mean, variance = torch.stack([seen[path].mean(-1) for seen in found]).mean(0).unbind(1)
        for name, whole in ((f"{path}.running_mean", mean), (f"{path}.running_var", variance)):
            (stored,) = (tensor for tensor in space.stored if name in (tensor.name, *tensor.aliases))
            parts = stored.take_apart(whole[..., None], space.shapes)
            tensors |= {block.parameter: part for block, part in zip(stored.blocks, parts, strict=True)}
    return WeightFeatures(space, tuple(tensors.values()))


def _statistics(x: Tensor, _: Tensor) -> Tensor:
    """[2, channels, 1], the mean and the variance of each channel as running statistics have them."""
    axes = [0, *range(2, x.dim())]
    return torch.stack([x.mean(axes), x.var(axes)])[..., None]
