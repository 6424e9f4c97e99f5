"""An operator on functions from finitely many of its values: a partition of unity, written as networks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import TheoryError
from ..nn import merge_ensemble
from ..space import WeightFeatures, WeightSpace
from ._arguments import check_finite, check_networks, check_positive
from ._chain import check_relu_chain, widths

__all__ = ["PartitionOfUnity"]


class PartitionOfUnity(nn.Module):
    """Approximates an operator by its values at M functions, weighted by how near the input function is to each.

    The weight of centre m is lambda_m(f) = max(0, r - d(f, f_m)), divided by the sum over all m, where d is the largest
    difference at given probes. If the operator moves functions by no more than it is given, the error is below r,
    because only centres nearer than r take part.

    The result is sum_m lambda_m(f) N_m with networks N_m for the values, in three forms: `network`, one wide network
    of which only the last layer depends on the input; `copies`, M networks of the shape of the N_m; and, by calling the
    module, networks of the shape of the *input*, as many as the N_m have hidden units in all. The latter is an
    equivariant map for `weightspace.OutputCapacityExpansion`, on all networks: all units of one of its networks are
    equal, so that every permutation of them leaves it as it is.

    Source: arXiv 2602.01083, theorem 7.2 (`network`); the last form is sharpened here.

    Args:
        centres: M networks in the space of the inputs; they compute the functions f_m.
        references: M ReLU networks N_m that compute the values of the operator there.
        probes: points ``[P, inputs]`` at which functions are compared.
        radius: the radius r of the balls; they must cover the functions of all inputs.

    Raises:
        TheoryError: for centres and references that do not fit, numbers that are not finite, and a radius that is not
            positive. So do its methods for networks whose weights are not finite.
    """

    def __init__(
        self, centres: WeightFeatures, references: WeightFeatures, probes: Float[Tensor, "points inputs"], radius: float
    ) -> None:
        super().__init__()
        for theta, what in ((centres, "centres"), (references, "references")):
            check_relu_chain(theta.space, what)
            check_networks(what, theta)
        check_positive("radius", radius)
        ours, theirs = widths(centres.space), widths(references.space)
        if (len(centres), ours[0], ours[-1]) != (len(references), theirs[0], theirs[-1]):
            raise TheoryError(
                "expected as many references as centres, with the same inputs and outputs, found "
                f"{len(references)} networks {references.space.summary()} for {len(centres)} {centres.space.summary()}"
            )
        self.space, self.references, self.probes, self.radius = centres.space, references, probes, radius
        self.values = self._at_probes(centres)

    def distance(self, theta: WeightFeatures) -> Float[Tensor, "batch centres"]:
        """The largest difference between the functions of networks and of each centre, over the probes."""
        return torch.cdist(self._at_probes(theta), self.values, p=torch.inf)

    def weights(self, theta: WeightFeatures) -> Float[Tensor, "batch centres"]:
        """The weights lambda_m of each network: not negative, and 1 in all.

        Raises:
            TheoryError: for a network that no ball holds.
        """
        distance = self.distance(theta)
        nearest = distance.amin(1)
        if (nearest >= self.radius).any():
            i = int(nearest.argmax())
            raise TheoryError(
                f"network {i} is {float(nearest[i]):.3g} away from the nearest of {len(self.references)} centres, the "
                f"balls have radius {self.radius:.3g}; take more centres or a larger radius"
            )
        weights = (self.radius - distance).relu()
        return weights / weights.sum(1, keepdim=True)

    def combine(self, theta: WeightFeatures, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "batch n outputs"]:
        """The sum of lambda_m N_m at some points, as it stands."""
        return torch.einsum("bm,mno->bno", self.weights(theta), self.references.space.realize(self.references, x))

    def copies(self, theta: WeightFeatures) -> WeightFeatures:
        """M networks of the shape of the references, as channels; their mean is the result.

        Copy m is N_m with its last layer multiplied by M lambda_m: the hidden layers are the same for all inputs.
        """
        weights = len(self.references) * self.weights(theta)
        *hidden, last_weight, last_bias = (t[..., 0].movedim(0, -1) for t in self.references.tensors)
        tensors = [t.expand(len(theta), *t.shape) for t in hidden]
        tensors += [last_weight * weights[:, None, None], last_bias * weights[:, None]]
        return WeightFeatures(self.references.space, tuple(tensors))

    def network(self, theta: WeightFeatures) -> tuple[WeightSpace, WeightFeatures]:
        """One network for each input, with M times the hidden units of a reference, and its weight space."""
        return merge_ensemble(self.references.space, self.copies(theta))

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """K networks of the shape of the input, as channels; their mean is the result on inputs x.

        Network j is unit j of the K hidden units of all references, n times over: each layer behind the first one hands
        on the mean of its inputs, and the last one weighs it by K lambda_m.

        Raises:
            TheoryError: for references with more than one hidden layer.
        """
        if len(self.references.tensors) != 4:
            raise TheoryError(f"expected references with one hidden layer, found {self.references.space.summary()}")
        weights = self.weights(theta)
        in_weight, in_bias, out_weight, out_bias = (t[..., 0] for t in self.references.tensors)
        units = in_bias.numel()
        scaled = units * weights[:, None, :, None] * out_weight.movedim(0, 1)  # [batch, out, M, width]
        ends = {
            "first weight": in_weight.flatten(0, 1).T[None, None],  # [1, 1, in, K]
            "first bias": in_bias.flatten()[None, None],
            "last weight": scaled.flatten(2)[:, :, None],  # [batch, out, 1, K]
            "last bias": (weights @ out_bias)[:, :, None],
        }
        return WeightFeatures(self.space, tuple(self._of_equal_units(ends, units, len(theta))))

    def _of_equal_units(self, ends: dict[str, Tensor], units: int, batch: int) -> list[Tensor]:
        """The layers of networks whose units are equal, given what the first and the last layer hold for a unit."""
        depth, tensors = len(self.space.groups) - 1, []
        for i, parameter in enumerate(self.space.parameters):
            layer, kind = i // 2, "bias" if i % 2 else "weight"
            mean = 1 / parameter.shape[1] if kind == "weight" else 0.0
            if layer == 0:
                tensor = ends[f"first {kind}"]
            elif layer == depth - 1:
                tensor = ends[f"last {kind}"] * (mean or 1.0)
            else:
                tensor = self.values.new_full((), mean)
            tensors.append(tensor.expand(batch, *parameter.shape, units))
        return tensors

    def _at_probes(self, theta: WeightFeatures) -> Float[Tensor, "batch values"]:
        check_networks("the partition of unity", theta)
        check_finite("probes", self.probes)
        return self.space.realize(theta, self.probes).flatten(1)
