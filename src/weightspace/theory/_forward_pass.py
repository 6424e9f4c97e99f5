"""A network on weights that runs its input network: universality for functions of what networks compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._errors import TheoryError
from ..nn import EquivariantLinear, check_space
from ..space import Parameter, WeightFeatures, WeightSpace, activations
from ._arguments import check_networks, check_positive, check_whole
from ._chain import check_relu_chain
from ._simulation import empty_layer, moved, write
from ._squares import DeepSquare, Square, WideSquare

__all__ = ["ForwardPassNetwork", "forward_radius"]


class ForwardPassNetwork(nn.Module):
    r"""A DWS network with explicit weights: the values of its input ReLU network at given points.

    Every channel is a point. The first equivariant layer makes of :math:`W_1` and :math:`b_1` what enters the first
    hidden layer, the points being its coefficients; the other parameters are copied to all channels. Then, for each
    further layer of the input network: ReLU on :math:`b_{l-1}`, a layer that broadcasts it to the columns of
    :math:`W_l` and makes :math:`W_l \pm h`, pointwise squares, and a layer that sums
    :math:`((W_l + h)^2 - (W_l - h)^2) / 4 = W_l h` over the columns to :math:`b_l`. All is exact but the squares.

    Source: arXiv 2602.01083, theorem 6.1; the error bound sharpened here.

    Args:
        space: weight space of the input networks: ReLU, a matrix and a bias in each layer.
        probes: the points, ``[points, d_in]``.
        knots: hidden units of a ReLU square of one hidden layer.
        depth: of a deep ReLU square, in place of ``knots``. With neither the activation is :math:`x^2`, and the network
            exact.
        radius: bound R on :math:`|w| + |h|` for the weights behind the first layer and the activations that they meet,
            see `forward_radius`. The ReLU squares are made for [-R, R], and go on with their last slope beyond it.

    Attributes:
        layers: the `EquivariantLinear` layers, pointwise maps between; their weights are constants.

    Raises:
        TheoryError: for a space that is no `weightspace.mlp` with ReLU, points of another shape, both or impossible
            ``knots`` and ``depth``, and ReLU squares without a positive radius. `forward` raises a `ModelError` for
            weights in another precision than the module, which is made in float64.

    Example:
        >>> import torch, weightspace as ws
        >>> space = ws.mlp([2, 4, 4, 1])
        >>> theta, x = space.sample(5).to(torch.float64), torch.rand(10, 2, dtype=torch.float64)
        >>> net = ForwardPassNetwork(space, x)
        >>> torch.allclose(net(theta), space.realize(theta, x))
        True
    """

    def __init__(
        self,
        space: WeightSpace,
        probes: Float[Tensor, "points inputs"],
        *,
        knots: int | None = None,
        depth: int | None = None,
        radius: float | None = None,
    ) -> None:
        super().__init__()
        check_relu_chain(space, "the forward pass")
        _check_probes(space, probes)
        self.space, self.square = space, _square(knots, depth, radius)
        parameters, points = space.parameters, len(probes)
        modules: list[nn.Module] = [_start(space, probes)]
        for i in range(2, len(parameters), 2):
            modules += [
                At(parameters[i - 1].name, torch.relu),
                _sums_and_differences(space, i, points),
                At(parameters[i].name, self.square),
                _products(space, i, points),
            ]
        self.layers = nn.Sequential(*modules).requires_grad_(False)

    def forward(self, theta: WeightFeatures) -> Float[Tensor, "batch points outputs"]:
        """``space.realize(theta, probes)`` up to the error of the squares."""
        check_space(self.space, theta, 1, like=next(self.layers.parameters()))
        last: Tensor = self.layers(theta).tensors[-1]
        return last.mT + self.space.output_offset

    def error_bound(self, weight_bound: float) -> float:
        r"""A bound on the error of the outputs, for input networks whose weights behind the first layer are bounded.

        A square of n pieces on [-R, R] is too large by at most :math:`R^2/n^2`, so a product, a quarter of the
        difference of two squares, is off by at most :math:`R^2/(4n^2)`. With :math:`d_{l-1}` products to a sum,

        .. math:: e_1 = 0, \qquad e_l \le d_{l-1} \left( \frac{R^2}{4 n^2} + \max|W_l|\, e_{l-1} \right).

        It holds, up to rounding, if :math:`|w| + |h| \le R` for the weights w and for the activations h *of the input
        network*. What is put in their place may have left the interval: beyond it squares go on with their last slope
        on both sides, so that the product of w and :math:`h + e` grows with e no faster than :math:`|w e|`, and stops
        growing.

        Args:
            weight_bound: the largest absolute value of a weight, for all layers behind the first one.

        Raises:
            TheoryError: for a negative bound, and one above the radius, which no weight may exceed.
        """
        check_positive("weight_bound", weight_bound, zero=True)
        product = 0.0
        if not isinstance(self.square, Square):
            if weight_bound > self.square.radius:
                raise TheoryError(
                    f"weight_bound: the squares are made for weights and activations of at most {self.square.radius:g} "
                    f"together, found {weight_bound:g} for the weights; take a larger radius, see forward_radius"
                )
            product = self.square.radius**2 / (4 * self.square.pieces**2)
        error = 0.0
        for group in self.space.groups[1:-1]:
            error = group.size * (product + weight_bound * error)
        return error


class At(nn.Module):
    """A pointwise map of one parameter; the others stay as they are.

    A pointwise ReLU network on one parameter is a stack of equivariant layers with ReLU between: the others pass a ReLU
    as ``x = relu(x) - relu(-x)``, on two channels.

    Args:
        parameter: name of the parameter.
        fn: maps a tensor [..., channels] to one of the same shape.
    """

    def __init__(self, parameter: str, fn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.parameter, self.fn = parameter, fn

    def forward(self, theta: WeightFeatures) -> WeightFeatures:
        """Applies the map."""
        place = theta.space.position(self.parameter)
        return WeightFeatures(theta.space, tuple(self.fn(t) if i == place else t for i, t in enumerate(theta.tensors)))

    def extra_repr(self) -> str:
        """Shows the parameter."""
        return f"parameter={self.parameter!r}"


def forward_radius(theta: WeightFeatures, probes: Float[Tensor, "points inputs"]) -> float:
    """The largest weight behind the first layer plus the largest activation that meets one, in absolute value.

    Args:
        theta: raw weights of ReLU networks.
        probes: ``[points, d_in]``.

    Raises:
        TheoryError: for networks of another kind, an empty batch, and weights that are not finite.
    """
    check_relu_chain(theta.space, "the forward pass")
    check_networks("the forward pass", theta)
    hidden = [value for name, value in activations(theta, probes).items() if theta.space.group(name).kind == "hidden"]
    weights, values = ([float(t.abs().max()) for t in tensors] for tensors in (theta.tensors[2::2], hidden))
    return max(weights, default=0.0) + max(values, default=0.0)


def _check_probes(space: WeightSpace, probes: Tensor) -> None:
    if probes.dim() != 2 or probes.shape[1] != space.groups[0].size or not len(probes):
        raise TheoryError(
            f"probes: expected points of shape [points, {space.groups[0].size}], found {tuple(probes.shape)}"
        )


def _square(knots: int | None, depth: int | None, radius: float | None) -> Square | WideSquare | DeepSquare:
    size = depth if knots is None else knots
    if size is None:
        return Square()
    if knots is not None and depth is not None:
        raise TheoryError(f"expected knots or depth, found knots={knots} and depth={depth}")
    check_whole("knots" if depth is None else "depth", size)
    if radius is None:
        raise TheoryError("squares made of ReLU need a radius, found none; forward_radius measures one")
    check_positive("radius", radius)
    return DeepSquare(radius, size) if knots is None else WideSquare(radius, size)


@torch.no_grad()
def _start(space: WeightSpace, probes: Tensor) -> EquivariantLinear:
    """W_1 x + b_1 for every point x, at b_1; all that comes later, for every point."""
    layer, (weight, bias, *_) = empty_layer(space, 1, len(probes)), space.parameters
    first = layer.coefficients(bias.name, weight.name, moved(layer).intersection(bias.groups))
    if first.dim() == 5:  # units that no permutation moves: only equal ones are joined
        first = first.diagonal(dim1=1, dim2=3).movedim(-1, 0)
    first += probes.double()[:, None]
    _keep(layer, space.parameters[1:])
    return layer


def _sums_and_differences(space: WeightSpace, i: int, points: int) -> EquivariantLinear:
    """W + h and W - h, side by side, at parameter i, where h is what is at the bias before it."""
    layer, one = empty_layer(space, points, 2 * points), torch.eye(points)
    before, weight = space.parameters[i - 1 : i + 1]
    write(layer, weight.name, weight.name, weight.groups, torch.cat([one, one]))
    write(layer, weight.name, before.name, before.groups, torch.cat([one, -one]))
    _keep(layer, space.parameters[i + 1 :])
    return layer


def _products(space: WeightSpace, i: int, points: int) -> EquivariantLinear:
    """A quarter of the difference of the two squares at parameter i, summed to the bias behind it."""
    layer, one = empty_layer(space, 2 * points, points), torch.eye(points)
    weight, bias = space.parameters[i : i + 2]
    write(layer, bias.name, weight.name, bias.groups, torch.cat([one, -one], dim=1) / 4)
    _keep(layer, space.parameters[i + 1 :])
    return layer


def _keep(layer: EquivariantLinear, parameters: Iterable[Parameter]) -> None:
    """The first channels of these parameters stay what they are; one channel becomes that of all points."""
    n = min(layer.in_channels, layer.out_channels)
    matrix = torch.ones(layer.out_channels, 1) if layer.in_channels == 1 else torch.eye(n)
    for parameter in parameters:
        write(layer, parameter.name, parameter.name, parameter.groups, matrix)
