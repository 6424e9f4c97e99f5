"""Output capacity expansion (OCE): predict k networks for each input and average what they compute."""

from __future__ import annotations

from torch import Tensor, nn

from .._errors import ModelError
from ..space import Axis, NeuronGroup, Parameter, WeightFeatures, WeightSpace
from ._encoding import check_dense
from ._norm import LearnedScale

__all__ = ["OutputCapacityExpansion", "merge_ensemble"]


class OutputCapacityExpansion(nn.Module):
    r"""Reads the k output channels of an equivariant network as k networks.

    .. math:: \theta_i = \theta + s \cdot \Delta_i(\theta), \quad i = 1..k, \qquad
              \hat f = \frac{1}{k} \sum_i f_{\theta_i}

    with one learned scale s for each parameter; running variances are multiplied by :math:`\exp(s \cdot \Delta_i)`
    instead, and stay positive. The average is what ``space.realize(editor(theta), x).mean(-1)``
    computes; `merge_ensemble` gives it as one wider network. The map is as equivariant as ``net`` is.

    Source: arXiv 2602.01083, section 7.

    Args:
        net: maps weight features with one channel to weight features with k channels.
        space: weight space of the networks.
        residual: add the input network to each prediction.
        init_scale: initial value of the scales s.
    """

    def __init__(self, net: nn.Module, space: WeightSpace, *, residual: bool = True, init_scale: float = 1e-2) -> None:
        super().__init__()
        self.net, self.space, self.residual = net, space, residual
        self.scale = LearnedScale(space, init_scale)
        self._variances = [p.name.rpartition(".")[2].startswith("running_var") for p in space.parameters]

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """The k predicted networks, as weight features with k channels."""
        delta: WeightFeatures = self.scale(self.net(theta))
        tensors = []
        for old, new, variance in zip(theta.tensors, delta.tensors, self._variances, strict=True):
            if variance:
                tensors.append(old * new.exp() if self.residual else new.exp())
            else:
                tensors.append(old + new if self.residual else new)
        return WeightFeatures(self.space, tuple(tensors))


def merge_ensemble(space: WeightSpace, theta: WeightFeatures) -> tuple[WeightSpace, WeightFeatures]:
    """The one wider network that computes the average of k networks, exactly.

    Hidden layers stand side by side (block-diagonal weights), the weights into the output are concatenated and
    divided by k. ``wide_space.realize(wide, x)`` equals ``space.realize(theta, x).mean(-1)``.

    Args:
        space: weight space of the k networks.
        theta: a batch of B ensembles, with k channels.

    Returns:
        The space with k times as many units in every hidden group, and B networks of it (one channel).

    Raises:
        ModelError: if ``theta`` is of another space, or the networks are no feed-forward layers: of those only the
            average of what they compute is known, ``space.realize(theta, x).mean(-1)``.
    """
    check_dense(space, "merged ensembles")
    if theta.space != space:
        raise ModelError(f"the ensemble is of another weight space: {space.difference(theta.space)}")
    k = theta.channels
    kinds = {group.name: group.kind for group in space.groups}
    groups = tuple(
        NeuronGroup(g.name, k * g.size if g.kind == "hidden" else g.size, g.kind, g.activation) for g in space.groups
    )
    sizes = {group.name: group.size for group in groups}
    parameters, tensors = [], []
    for parameter, tensor in zip(space.parameters, theta.tensors, strict=True):
        axes = tuple(Axis(sizes.get(str(a.group), a.size), a.group, a.side) for a in parameter.axes)
        parameters.append(Parameter(parameter.name, axes, parameter.bound))
        hidden = [kinds.get(str(axis.group)) == "hidden" for axis in parameter.axes]
        tensors.append(_side_by_side(tensor, hidden)[..., None])
    wide = WeightSpace(groups, tuple(parameters), space.output_offset)
    return wide, WeightFeatures(wide, tuple(tensors))


def _side_by_side(tensor: Tensor, hidden: list[bool]) -> Tensor:
    """[batch, *axes, k] -> [batch, *axes], the hidden axes k times as long; averaged over k where the output is fed."""
    batch, *shape, k = tensor.shape
    places = [i for i, is_hidden in enumerate(hidden) if is_hidden]
    if not hidden[0]:
        tensor = tensor / k
    if not places:
        return tensor.sum(-1)
    full = tensor.new_zeros(batch, *(s for i, size in enumerate(shape) for s in ((k, size) if hidden[i] else (size,))))
    diagonal = full
    # All the k-axes are tied: the diagonal over them is the ensemble, everything off it stays zero.
    first = 1 + places[0]
    for n, place in enumerate(places[1:], start=1):
        diagonal = diagonal.diagonal(dim1=first, dim2=1 + place + n).movedim(-1, first)
    diagonal.copy_(tensor.movedim(-1, first))
    return full.reshape(batch, *(size * k if hidden[i] else size for i, size in enumerate(shape)))
