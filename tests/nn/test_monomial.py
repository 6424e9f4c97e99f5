import pytest
import torch
from _spaces import norm_space

import weightspace as ws
from weightspace.nn import EquivariantLinear, GradientFeatures, InvariantEntries, MonomialActivation, ProbeFeatures
from weightspace.nn import unit as direction
from weightspace.space import Activation, Axis, NeuronGroup, Parameter, WeightSpace
from weightspace.testing import assert_equivariant, equivariance_error

MIXED = WeightSpace(
    (
        NeuronGroup("input", 2, "input"),
        NeuronGroup("a", 4, "hidden", Activation("relu")),
        NeuronGroup("b", 5, "hidden", Activation("tanh")),
        NeuronGroup("c", 3, "hidden", Activation("gelu")),
        NeuronGroup("output", 2, "output"),
    ),
    tuple(
        parameter
        for (source, n), (target, m) in zip(
            [("input", 2), ("a", 4), ("b", 5), ("c", 3)], [("a", 4), ("b", 5), ("c", 3), ("output", 2)], strict=True
        )
        for parameter in (
            Parameter(f"{target}.weight", (Axis(m, target, "out"), Axis(n, source, "in"))),
            Parameter(f"{target}.bias", (Axis(m, target, "out"),)),
        )
    ),
)
SPACES = [ws.mlp([2, 5, 4, 1], activation=a) for a in ("relu", "tanh", "gelu")] + [ws.siren([2, 5, 4, 1]), MIXED]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.groups[1].activation.name + s.summary())
def test_activation_and_linear_map_respect_the_whole_group(space):
    torch.manual_seed(0)
    symmetry = space.symmetry()
    net = torch.nn.Sequential(
        EquivariantLinear(space, 1, 6, symmetry=symmetry),
        MonomialActivation(space, symmetry),
        EquivariantLinear(space, 6, 2, symmetry=symmetry),
    )
    assert_equivariant(net, space, symmetry)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.groups[1].activation.name + s.summary())
def test_entries_are_invariant_and_only_move(space):
    """After signs and scales nothing changes but the order, which the inverse permutation restores."""
    symmetry = space.symmetry()
    theta = space.features({p.name: torch.randn(3, *p.shape, 4, dtype=torch.float64) for p in space.parameters})
    element = symmetry.sample(3, dtype=torch.float64, scale_range=1e3)
    order = {name: matrix._replace(scale=None) for name, matrix in element.items()}
    net = InvariantEntries(space, symmetry, 4).double()
    permutations = symmetry.restricted(scales=False)
    expected, found = permutations.act(order, net(theta)), net(symmetry.act(element, theta))
    for e, f in zip(expected.tensors, found.tensors, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)


def test_the_activation_is_no_linear_map_where_the_group_allows_more():
    relu, mixed = ws.mlp([2, 3, 1]), MIXED
    theta = relu.sample(2)
    assert (MonomialActivation(relu, relu.symmetry())(theta)["0.weight"] >= 0).all()
    theta = mixed.features({p.name: torch.randn(2, *p.shape, 1) for p in mixed.parameters})
    out = MonomialActivation(mixed, mixed.symmetry())(theta)
    assert torch.equal(out["b.bias"], theta["b.bias"].sin())  # signs
    assert torch.equal(out["b.weight"], theta["b.weight"])  # signs and positive scales: nothing else commutes
    assert torch.equal(out["output.weight"], theta["output.weight"].relu())  # neither


def test_signs_and_positive_scales_at_once():
    """In front of a batch norm: any factor but 0. Gains carry two groups, running variances are not scaled at all."""
    space = norm_space()
    group = space.symmetry()
    theta = space.features({p.name: torch.randn(2, *p.shape, 3, dtype=torch.float64) for p in space.parameters})
    out = MonomialActivation(space, group)(theta)
    for name in ("conv0.weight", "norm0.weight", "norm0.running_mean"):
        assert torch.equal(out[name], theta[name])
    for name in ("norm0.bias", "norm0.running_var", "head.bias"):
        assert torch.equal(out[name], theta[name].relu())
    element = group.sample(2, dtype=torch.float64, scale_range=1e3)
    order = {name: matrix._replace(scale=None) for name, matrix in element.items()}
    net = InvariantEntries(space, group, 3).double()
    expected, found = group.restricted(scales=False).act(order, net(theta)), net(group.act(element, theta))
    for e, f in zip(expected.tensors, found.tensors, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)


def test_directions():
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(direction(x), x / x.norm(dim=-1, keepdim=True))
    for scale in (1e-200, 1e200):
        torch.testing.assert_close(direction(scale * x), direction(x))
    zero = torch.zeros(2, 3, requires_grad=True)
    direction(zero).sum().backward()
    assert (direction(zero) == 0).all()
    assert (zero.grad == 0).all()
    assert torch.autograd.gradcheck(direction, x.requires_grad_())


def test_the_published_editor_breaks_the_signs_and_ours_does_not():
    space = ws.siren([2, 8, 8, 1])
    torch.manual_seed(0)
    published = ws.build("monomial-nfn", space, hidden=8, readout_hidden=16, published=True)
    assert published.symmetry == space.symmetry("permutation")
    assert equivariance_error(published, space) < 1e-9
    assert equivariance_error(published, space, space.symmetry()) > 0.1
    assert equivariance_error(ws.build("monomial-nfn", space, hidden=8), space, space.symmetry()) < 1e-9


def test_recurrent_networks_are_refused_where_they_must_be_run():
    loop = (Axis(3, "h", "out"), Axis(3, "h", "in"))
    groups = (NeuronGroup("input", 2, "input"), NeuronGroup("h", 3), NeuronGroup("output", 1, "output"))
    space = WeightSpace(groups, (Parameter("loop", loop),))
    for make in (ProbeFeatures, GradientFeatures):
        with pytest.raises(ws.ModelError, match=r"'loop' .* weights between two different neuron groups"):
            make(space, 1, 4)


def test_gradients_of_directions_are_those_of_autograd():
    x = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(direction, x)
    assert torch.autograd.gradgradcheck(direction, x)
    (found,) = torch.autograd.grad(direction(x).pow(3).sum(), x)
    (expected,) = torch.autograd.grad((x / x.norm(dim=-1, keepdim=True)).pow(3).sum(), x)
    torch.testing.assert_close(found, expected)
    for size in (0.0, 1e-40, 1e-37):  # 1e-40 has no finite inverse
        small = torch.tensor([[1.0, -2.0, 3.0, 0.0]]).mul(size).requires_grad_()
        direction(small).sum().backward()
        assert small.grad.isfinite().all()
        assert small.grad.any() == (size == 1e-37)
