"""Merging: networks on the straight line between two that are aligned first."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .._errors import SymmetryError
from ..space import WeightFeatures, check_features
from ._align import align as align_to
from ._statistics import Inputs, with_statistics

__all__ = ["merge"]


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
    those of the merged networks, averaged over the samples of all batches, each of which is normalised by itself as in
    training. Without data, and where a norm is not used, they are interpolated like all parameters.

    Args:
        a: B networks.
        b: B networks of the same space, or one; or more, and one in ``a``.
        t: the place on the line, 0 for a and 1 for b; or T places as a vector.
        align: False to leave b as it is, for instance because it was aligned with other options.
        data: inputs in batches, as `WeightSpace.realize` takes them; one batch, or an iterable of several.

    Returns:
        B networks, or B T of them, those of the first pair in front.

    Raises:
        SymmetryError: as `align` does; for data that has no batch, or one without a variance; for data if there are no
            running statistics, or such that are no batch norm's.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 16, 16, 1])
        >>> a, b = space.sample(3), space.sample(3)
        >>> len(ws.merge(a, b, torch.linspace(0, 1, 11)))
        33
    """
    check_features(a, b)
    if not isinstance(align, bool):
        raise SymmetryError(f"align: expected True or False, found {align!r}; options go to ws.align, then align=False")
    places = _places(t, a)
    b = align_to(a, b).theta if align else _checked(a, b)

    def between(x: Tensor, y: Tensor) -> Tensor:
        share = places.reshape(1, -1, *(1,) * (x.dim() - 1))
        line = (1 - share) * x[:, None] + share * y[:, None]
        return line.flatten(0, 1)

    merged = a.map(between, b)
    if data is None:
        return merged
    batches = [data] if isinstance(data, Tensor | tuple) else data
    if not isinstance(batches, Iterable):
        raise SymmetryError(f"data: expected a batch of inputs, or several, found {type(data).__name__}")
    return with_statistics(merged, batches)


def _places(t: float | Tensor, like: WeightFeatures) -> Tensor:
    try:
        places = torch.as_tensor(t, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SymmetryError(f"t: expected a number or a vector of numbers, found {t!r}") from error
    if places.dim() > 1 or not places.numel():
        raise SymmetryError(f"t: expected a number or a vector of numbers, found shape {tuple(places.shape)}")
    if not places.isfinite().all():
        raise SymmetryError(f"t: expected finite numbers, found {t!r}")
    return places


def _checked(a: WeightFeatures, b: WeightFeatures) -> WeightFeatures:
    """The second, if it goes with the first without being aligned."""
    if a.space != b.space or len({1, len(a), len(b)}) > 2:
        raise SymmetryError(f"merge takes pairs of networks of one space, found {a!r} and {b!r}")
    if (a.dtype, a.device, a.channels) != (b.dtype, b.device, b.channels):
        raise SymmetryError(f"merge takes networks of one dtype and on one device, found {a!r} and {b!r}")
    return b
