"""Maps that act on every entry alone: activation, dropout, batch normalisation, standardisation, learned scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._errors import ModelError
from ..space import WeightFeatures, WeightSpace
from ._dropout import dropout
from ._layout import check_space

__all__ = ["BatchNorm", "Dropout", "FeatureNorm", "LearnedScale", "Pointwise", "Standardization", "Standardize"]

Standardization = Literal["orbit", "tensor", "entry", "scale", "none"]


class Pointwise(nn.Module):
    """Applies one function, or one module on the channel axis, to every tensor.

    The function may overwrite its input only where that is the result of the layer before.

    Args:
        fn: maps a tensor [..., channels] to one of the same leading shape.
    """

    def __init__(self, fn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the function."""
        return theta.map(self.fn)


class Dropout(nn.Module):
    """Dropout of single entries, active in training only.

    Args:
        p: probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies dropout to every tensor."""
        return theta.map(lambda t: dropout(t, self.p, self.training))


class FeatureNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors. Of a single one there are no statistics: it is normalised by the running ones."""

    def forward(self, rows: Tensor) -> Tensor:
        if self.training and len(rows) == 1:
            return F.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(rows)


class BatchNorm(nn.Module):
    """Batch normalisation with one set of statistics for each parameter, over networks and positions.

    Statistics are shared by all entries of a parameter, so the map is permutation equivariant.
    """

    def __init__(self, space: WeightSpace, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(FeatureNorm(channels) for _ in space.parameters)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Normalises every tensor; in evaluation mode, or where there is but one entry, with running statistics."""
        # not a view, so that what follows may overwrite it
        tensors = [
            torch.ops.aten._unsafe_view(norm(t.reshape(-1, t.shape[-1])), t.shape)
            for norm, t in zip(self.norms, theta.tensors, strict=True)
        ]
        return WeightFeatures(theta.space, tuple(tensors))


class LearnedScale(nn.Module):
    """One learned factor for each parameter.

    Args:
        space: weight space of the features.
        init: initial value of all factors.
    """

    def __init__(self, space: WeightSpace, init: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((len(space.parameters),), float(init)))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Multiplies every tensor by its factor."""
        tensors = [t * s for t, s in zip(theta.tensors, self.scale.unbind(), strict=True)]
        return WeightFeatures(theta.space, tuple(tensors))


class Standardize(nn.Module):
    """Subtracts the mean and divides by the standard deviation of the training networks; the identity until `fit`.

    Args:
        space: weight space of the networks.
        mode: over what statistics are shared beside the networks: "orbit" shares them over all axes that carry
            permuted hidden neurons and "tensor" over all entries of a parameter, which are both equivariant; "entry"
            shares nothing, as published for DWS, and is *not* equivariant; "scale" is "orbit" without the mean, which
            commutes with signs and scales of neurons too; "none" does nothing.
        channels: channels of the input.
    """

    def __init__(self, space: WeightSpace, mode: Standardization = "orbit", channels: int = 1) -> None:
        super().__init__()
        if mode not in get_args(Standardization):
            raise ModelError(f"standardize: expected one of {', '.join(get_args(Standardization))}, found {mode!r}")
        self.space, self.mode, self.channels = space, mode, channels
        permutations = space.symmetry("permutation")
        hidden = {group.name for group in space.groups if permutations.factor(group.units).permutes}
        self._shared: list[list[int]] = []
        for i, parameter in enumerate(space.parameters):
            every = mode == "tensor"
            axes = [j for j, axis in enumerate(parameter.axes) if every or (axis.group in hidden and mode != "entry")]
            self._shared.append([0, *(1 + j for j in axes)])
            shape = [1 if j in axes else axis.size for j, axis in enumerate(parameter.axes)]
            if mode != "none":
                self.register_buffer(f"mean{i}", torch.zeros(1, *shape, channels))
                self.register_buffer(f"std{i}", torch.ones(1, *shape, channels))

    @torch.no_grad()
    def fit(self, theta: WeightFeatures) -> None:
        """Takes the statistics from the training networks. Entries that never vary are only centred.

        Raises:
            ModelError: if ``theta`` is of another space or holds fewer than two networks.
        """
        check_space(self.space, theta, self.channels)
        if len(theta) < 2:
            raise ModelError(f"standardisation needs at least 2 training networks, found {len(theta)}")
        bad = [name for name, tensor in theta.items() if not tensor.isfinite().all()]
        if bad:
            raise ModelError(f"standardisation: non-finite training weights in {', '.join(bad)}; drop these networks")
        if self.mode == "none":
            return
        for i, (axes, tensor) in enumerate(zip(self._shared, theta.tensors, strict=True)):
            std, mean = torch.std_mean(tensor.double(), dim=axes, keepdim=True)
            if self.mode == "scale":
                std, mean = (std.square() + mean.square()).sqrt(), torch.zeros_like(mean)
            std = torch.where(std > 1e-5 * (1e-5 + mean.abs()), std, 1.0)
            getattr(self, f"mean{i}").copy_(mean)
            getattr(self, f"std{i}").copy_(std)

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Standardises every tensor."""
        check_space(self.space, theta, self.channels)
        if self.mode == "none":
            return theta
        tensors = [(t - getattr(self, f"mean{i}")) / getattr(self, f"std{i}") for i, t in enumerate(theta.tensors)]
        return WeightFeatures(theta.space, tuple(tensors))


def relu_(x: Tensor) -> Tensor:
    """ReLU that overwrites its input where it may: for results of linear maps, which nothing else reads."""
    return F.relu(x, inplace=not x._is_view())
