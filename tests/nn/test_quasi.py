import itertools
import math

import pytest
import torch
from _spaces import attention_space, conv_space, norm_space, residual_space
from torch import nn

import weightspace as ws
from weightspace.group import Linear
from weightspace.nn import (
    EquivariantLinear,
    InvariantEntries,
    InvariantPool,
    MonomialActivation,
    Pointwise,
    quasi_overhead,
    safe_eps,
)
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

CHAIN = ws.mlp([2, 5, 4, 2])
LINEAR = ws.mlp([3, 4, 2], activation="identity")
SCALED = {"chain": CHAIN, "conv": conv_space(), "residual": residual_space(), "norm": norm_space()}
WITH_MATRICES = {"attention": attention_space(), "linear": LINEAR}


def networks(space, batch=3, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, channels) for p in space.parameters}
    return space.features({n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})


def mixing(in_channels, out_channels):
    """Maps of channels commute with every group."""
    return Pointwise(nn.Linear(in_channels, out_channels, bias=False))


def quasi(space, in_channels=1, out_channels=4, *, seed=0, **options):
    torch.manual_seed(seed)
    group = space.symmetry()
    any_scale = any(f.scales == "linear" for f in group.factors)
    beta = (
        mixing(in_channels, out_channels)
        if any_scale
        else EquivariantLinear(space, in_channels, out_channels, symmetry=group)
    )
    return ws.QuasiEquivariant(beta, group, in_channels, out_channels, **options).double()


def difference(a, b):
    a, b = a.flatten().detach(), b.flatten().detach()
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("space", (SCALED | WITH_MATRICES).values(), ids=SCALED | WITH_MATRICES)
def test_orbits_go_to_orbits(space, spectral):
    layer, group, theta = quasi(space, spectral=spectral), space.symmetry(), networks(space)
    g = group.sample(3, torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = layer(group.act(g, theta))
    assert difference(moved, group.act(ws.quasi_cocycle(layer, g, theta), layer(theta))) < 1e-12
    assert difference(moved, group.act(g, layer(theta))) > 1e-2


@pytest.mark.parametrize("space", (SCALED | WITH_MATRICES).values(), ids=SCALED | WITH_MATRICES)
def test_the_elements_form_a_cocycle(space):
    """(hg)' at theta is h' at g theta times g' at theta, and layers one after another hand theirs on."""
    first, second = quasi(space, 1, 4, seed=0), quasi(space, 4, 3, seed=1)
    group, theta = space.symmetry(), networks(space)
    h, g = (group.sample(3, torch.Generator().manual_seed(s), dtype=torch.float64) for s in (1, 2))
    whole = ws.quasi_cocycle(first, group.compose(h, g), theta)
    parts = group.compose(ws.quasi_cocycle(first, h, group.act(g, theta)), ws.quasi_cocycle(first, g, theta))
    probe = networks(space, channels=2, seed=5)
    assert difference(group.act(whole, probe), group.act(parts, probe)) < 1e-12
    handed_on = ws.quasi_cocycle(second, ws.quasi_cocycle(first, g, theta), first(theta))
    stack = nn.Sequential(first, second)
    assert difference(stack(group.act(g, theta)), group.act(handed_on, stack(theta))) < 1e-12


def test_one_element_serves_many_networks_and_one_network_many_elements():
    layer, group = quasi(CHAIN), CHAIN.symmetry()
    for elements, batch in ((1, 3), (3, 1)):
        g, theta = group.sample(elements, dtype=torch.float64), networks(CHAIN, batch)
        found = group.act(ws.quasi_cocycle(layer, g, theta), layer(theta))
        assert difference(layer(group.act(g, theta)), found) < 1e-12


def invariant_net(space, form, channels=4):
    """Two layers under the group with an activation between, then features that scales leave alone."""
    torch.manual_seed(0)
    group = space.symmetry()
    layers = [EquivariantLinear(space, *widths, symmetry=group) for widths in ((1, channels), (channels, channels))]
    if form != "strict":
        layers = [ws.QuasiEquivariant(layer, group, layer.in_channels, channels, form=form) for layer in layers]
    net = [layers[0], MonomialActivation(space, group), layers[1], InvariantEntries(space, group, channels)]
    net += [InvariantPool(space, channels)]
    net.append(nn.Linear(net[-1].out_features, 3))
    net = nn.Sequential(*net).double()
    torch.manual_seed(1)
    for name, p in sorted(net.named_parameters(), key=lambda named: named[0].replace("beta.", "")):
        if "alpha" not in name:
            nn.init.normal_(p, std=0.5)  # the same in all forms
    return net


@pytest.mark.parametrize("space", SCALED.values(), ids=SCALED)
def test_the_layer_form_is_inert_in_front_of_an_invariant_head(space):
    theta, strict, layer = networks(space), invariant_net(space, "strict"), invariant_net(space, "layer")
    assert (layer(theta) - strict(theta)).abs().max() < 1e-12
    layer(theta).square().sum().backward()
    gradients = {name: p.grad.abs().max() for name, p in layer.named_parameters()}
    assert max(v for name, v in gradients.items() if "alpha" in name) < 1e-12
    assert max(v for name, v in gradients.items() if "beta" in name) > 1e-3


def test_the_layer_form_changes_no_function():
    space = CHAIN
    layer, x = quasi(space, 1, 1), torch.randn(20, 2, dtype=torch.float64)
    theta = networks(space)
    found, expected = space.realize(layer(theta), x), space.realize(layer.beta(theta), x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert difference(layer(theta), layer.beta(theta)) > 1e-2


@pytest.mark.parametrize("space", SCALED.values(), ids=SCALED)
def test_the_channel_form_is_equivariant_and_not_inert(space):
    theta, strict, net = networks(space), invariant_net(space, "strict"), invariant_net(space, "channel")
    assert_equivariant(quasi(space, 1, 4, form="channel"), space, space.symmetry())
    assert_invariant(net, space, space.symmetry())
    assert (net(theta) - strict(theta)).abs().max() > 1e-4
    net(theta).square().sum().backward()
    assert all(p.grad.abs().max() > 1e-9 for name, p in net.named_parameters() if "alpha" in name)


def test_the_channel_form_leaves_matrices_alone():
    """Beside heads and their matrices the norms of a transformer have scales."""
    space = WITH_MATRICES["attention"]
    layer = quasi(space, 1, 4, form="channel")
    assert_equivariant(layer, space, space.symmetry())
    theta = networks(space)
    changed = {n for n, t in layer(theta).items() if not torch.allclose(t, layer.beta(theta)[n])}
    assert "0.norm1.weight" in changed
    assert "0.out.weight" not in changed
    with pytest.raises(ws.SymmetryError, match="has none, only general matrices"):
        quasi(LINEAR, form="channel")


def test_scales_differ_between_neurons_and_channels():
    layer, theta = quasi(CHAIN, form="channel"), networks(CHAIN)
    scale = layer.alpha(layer.beta(theta))["hidden1"].scale
    assert scale.shape == (3, 5, 4)
    assert (scale.std(1) > 0).all()
    assert (scale.std(2) > 0).all()


@pytest.mark.parametrize(
    ("space", "group", "reason"),
    [
        (ws.siren([2, 8, 1]), None, "neuron group 'hidden1' has activation 'sine'"),
        (ws.mlp([2, 8, 1], activation="tanh"), None, "neuron group 'hidden1' has activation 'tanh'"),
        (ws.mlp([2, 8, 1], activation="gelu"), None, "neuron group 'hidden1' has activation 'gelu'"),
        (CHAIN, "permutation", r"Take a larger one: space.symmetry\(\)"),
        (ws.mlp([2, 1]), None, "there are no hidden neurons"),
    ],
)
def test_discrete_groups_are_refused(space, group, reason):
    with pytest.raises(ws.SymmetryError, match=f"is discrete, so that continuous maps into it are constant.*{reason}"):
        ws.QuasiEquivariant(mixing(1, 4), space.symmetry(group), 1, 4)
    with pytest.raises(ws.SymmetryError, match="is discrete"):
        safe_eps(space.symmetry(group))


def test_safe_eps_bounds_condition_numbers():
    for n, condition, spectral in itertools.product((2, 8), (3.0, 100.0), (False, True)):
        space = ws.mlp([2, n, 1], activation="identity")
        eps = safe_eps(space.symmetry(), condition, spectral=spectral)["hidden1"]
        worst = torch.ones(n, n, dtype=torch.float64)
        worst = worst / n if spectral else worst
        matrices = torch.eye(n, dtype=torch.float64) - eps * torch.stack([worst, -worst])
        singular = torch.linalg.svdvals(matrices)
        assert math.isclose(singular.max() / singular.min(), condition, rel_tol=1e-9)
    assert safe_eps(CHAIN.symmetry(), 3.0) == {"hidden1": 0.5, "hidden2": 0.5}
    for condition in (1.0, 0.5, math.inf, math.nan, 1e9, "3"):
        with pytest.raises(
            ws.ModelError, match=r"condition: expected a number larger than 1 and at most 100000, found"
        ):
            safe_eps(CHAIN.symmetry(), condition)


@pytest.mark.parametrize(
    "space", [CHAIN, LINEAR, attention_space(coordinates=64)], ids=["chain", "linear", "attention"]
)
@pytest.mark.parametrize("spectral", [False, True])
def test_the_largest_eps_is_safe_in_single_precision(space, spectral):
    group = space.symmetry()
    layer = ws.QuasiEquivariant(
        nn.Identity(), group, 1, 1, eps=safe_eps(group, 1e5, spectral=spectral), spectral=spectral
    )
    last = layer.alpha.net[-1]
    with torch.no_grad():  # sines of exactly -1, of all entries
        last.weight.zero_()
        last.bias.fill_(-math.pi / 2)
    for part in layer.alpha(space.sample(2)).values():
        if isinstance(part, Linear):
            assert (torch.linalg.det(part.matrix) > 0).all()
            assert torch.linalg.svdvals(part.matrix.double()).amin() > 1e-5
        elif part.scale is not None:
            assert (part.scale > 1e-5).all()


@pytest.mark.parametrize("spectral", [False, True])
def test_alpha_stays_in_the_identity_component(spectral):
    """However large the scaling network's outputs are, up to the largest ε."""
    space = attention_space(coordinates=6)
    group = space.symmetry()
    eps = {name: 0.999 * bound / 0.5 for name, bound in safe_eps(group, 3.0, spectral=spectral).items()}
    layer = quasi(space, eps=eps, spectral=spectral)
    for p in layer.alpha.parameters():
        nn.init.normal_(p, std=10.0)
    for part in layer.alpha(networks(space, 500)).values():
        if isinstance(part, Linear):
            assert part.matrix.shape == (500, 2, 6, 6)
            assert (torch.linalg.det(part.matrix) > 0).all()
            assert torch.linalg.svdvals(part.matrix).amin() >= 0.001 - 1e-12
        elif part.scale is not None:
            assert (part.scale > 0).all()


def test_an_unsafe_eps_is_refused():
    for eps in (0.0, -0.1, 1.0, 1 - 1e-9, math.nan, "a"):
        with pytest.raises(ws.ModelError, match=r"'hidden1' expected a number above 0 and at most 0\.99998, or"):
            quasi(CHAIN, eps=eps)
    with pytest.raises(ws.ModelError, match=r"'hidden1' expected a number above 0 and at most 0\.249995, or"):
        quasi(LINEAR, eps=0.25)
    quasi(LINEAR, eps=0.9, spectral=True)
    quasi(CHAIN, eps=safe_eps(CHAIN.symmetry(), 1e5))
    for found, eps in (("hidden1", {"hidden1": 0.5}), ("1", {1: 0.5}), ("none", {})):
        with pytest.raises(ws.ModelError, match=f"eps: expected one for each of hidden1, hidden2, found {found}"):
            quasi(CHAIN, eps=eps)
    with pytest.raises(ws.ModelError, match="form: expected 'layer' or 'channel'"):
        quasi(CHAIN, form="neuron")


def test_arguments_that_are_out_of_range_are_refused():
    group = CHAIN.symmetry()
    for name, value in (("hidden", 0), ("hidden", -1), ("hidden", 2.5), ("out_channels", 0), ("in_channels", "1")):
        with pytest.raises(ws.ModelError, match=f"{name}: expected a positive whole number, found {value!r}"):
            ws.QuasiEquivariant(mixing(1, 4), group, **{"in_channels": 1, "out_channels": 4, name: value})
    with pytest.raises(ws.ModelError, match="out_channels: expected 4, which beta gives, found 5"):
        ws.QuasiEquivariant(EquivariantLinear(CHAIN, 1, 4, symmetry=group), group, 1, 5)
    for form in ("layer", "channel"):
        layer = ws.QuasiEquivariant(mixing(1, 4), group, 1, 5, form=form)
        with pytest.raises(ws.ModelError, match="beta: expected 5 channels, as out_channels says, found 4"):
            layer(CHAIN.sample(2))
    with pytest.raises(ws.ModelError, match="form='channel': out_channels: expected at least 2, found 1"):
        quasi(CHAIN, out_channels=1, form="channel")
    for call in (safe_eps, lambda group: ws.QuasiEquivariant(mixing(1, 4), group, 1, 4)):
        with pytest.raises(ws.ModelError, match="group: expected a symmetry group, found 'monomial'"):
            call("monomial")
    with pytest.raises(ws.ModelError, match="layer: expected a QuasiEquivariant layer, found EquivariantLinear"):
        ws.quasi_cocycle(EquivariantLinear(CHAIN, 1, 4, symmetry=group), group.sample(2), CHAIN.sample(2))


@pytest.mark.parametrize("space", [CHAIN, attention_space()], ids=["chain", "attention"])
@pytest.mark.parametrize("form", ["layer", "channel"])
def test_a_batch_of_no_networks_gives_none(space, form):
    for spectral in (False, True):
        out = quasi(space, form=form, spectral=spectral)(networks(space, 2)[torch.arange(0)])
        assert len(out) == 0
        assert out.channels == 4


@pytest.mark.parametrize("form", ["layer", "channel"])
def test_huge_weights_give_finite_outputs_and_gradients(form):
    """Their variance is infinite in single precision."""
    layer = quasi(CHAIN, form=form).float()
    out = layer(networks(CHAIN).map(lambda t: 1e30 * t).to(torch.float32))
    assert all(t.isfinite().all() for t in out.tensors)
    (out.flatten() * 1e-30).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.alpha.parameters())


def test_features_of_another_space_are_refused():
    with pytest.raises(ws.ModelError, match="this network is for another weight space"):
        quasi(CHAIN)(networks(LINEAR))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["layer", "channel"])
def test_half_precision_makes_no_scale_of_zero(form, dtype):
    layer = quasi(CHAIN, form=form, eps=0.999).to(dtype)
    for name, p in layer.named_parameters():
        if "alpha" in name:
            nn.init.normal_(p, std=2.0)
    out = layer(networks(CHAIN, 200).to(dtype))
    assert out.dtype == dtype
    assert all(t.isfinite().all() for t in out.tensors)


def test_a_dead_neuron_has_a_scale_and_gradients():
    """All its channels are zero, and so is the direction that they have."""
    theta, layer = networks(CHAIN), quasi(CHAIN, form="channel")
    tensors = {
        n: t * (torch.arange(5) > 0).to(t).reshape(-1, *[1] * (t.dim() - 2)) if n[0] == "0" else t
        for n, t in theta.items()
    }
    out = layer(CHAIN.features(tensors))
    out.flatten().sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_overhead_counts_alphas():
    layer = quasi(CHAIN)
    alpha, beta = (sum(p.numel() for p in part.parameters()) for part in (layer.alpha, layer.beta))
    assert quasi_overhead(layer) == alpha / beta
    assert quasi_overhead(nn.Sequential(layer, nn.Linear(beta - 1, 1))) == alpha / (2 * beta)
    assert quasi_overhead(layer.beta) == 0.0
    assert equivariance_error(layer.beta, CHAIN, CHAIN.symmetry()) < 1e-12


def test_small_sines_are_not_divided_by_their_norm():
    matrices = []
    for spectral in (False, True):
        layer = quasi(LINEAR, eps=0.2, spectral=spectral)
        with torch.no_grad():
            for p in layer.alpha.net[-1].parameters():
                p.mul_(0.1)
        matrices.append(layer.alpha(networks(LINEAR))["hidden1"].matrix)
    sines = (matrices[0] - torch.eye(4, dtype=torch.float64)) / 0.2
    assert 0 < torch.linalg.matrix_norm(sines, 2).max() < 1
    torch.testing.assert_close(*matrices)
