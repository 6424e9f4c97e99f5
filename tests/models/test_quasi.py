"""The monomial networks with quasi-equivariant layers."""

import pytest
import torch
from _orbits import check_orbits_to_orbits
from _spaces import norm_space
from torch import nn

import weightspace as ws
from weightspace.nn import quasi_overhead
from weightspace.testing import assert_equivariant, assert_invariant

CHAIN = ws.mlp([2, 5, 4, 2])
MIXED = norm_space()
SMALL = {"hidden": 8, "depth": 3, "readout_depth": 1, "dropout": 0.0}


def networks(space, batch=4):
    generator = torch.Generator().manual_seed(0)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    return space.features({n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})


def build(space, task, quasi, **options):
    torch.manual_seed(0)
    return ws.build("monomial-nfn", space, task, quasi=quasi, **SMALL | options).double()


@pytest.mark.parametrize("space", [CHAIN, MIXED], ids=["chain", "norm"])
def test_both_forms_keep_an_invariant_task_invariant(space):
    for quasi in ("layer", "channel"):
        net = build(space, "invariant", quasi)
        assert_invariant(net, space)
        assert net.symmetry == build(space, "invariant", "none").symmetry


@pytest.mark.parametrize("space", [CHAIN, MIXED], ids=["chain", "norm"])
def test_the_layer_form_is_not_seen_by_an_invariant_task(space):
    net, theta = build(space, "invariant", "layer"), networks(space)
    before = net(theta)
    assert (before - build(space, "invariant", "none")(theta)).abs().max() < 1e-12  # one seed, the same weights
    before.square().sum().backward()
    alphas = {name: p for name, p in net.named_parameters() if "alpha" in name}
    assert max(float(p.grad.abs().max()) for p in alphas.values()) < 1e-12
    with torch.no_grad():
        for p in alphas.values():
            p.normal_()
    assert (net(theta) - before).abs().max() < 1e-12


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
@pytest.mark.parametrize("space", [CHAIN, MIXED], ids=["chain", "norm"])
def test_the_channel_form_is_seen(space, task):
    strict, net, theta = build(space, task, "none"), build(space, task, "channel"), networks(space)
    known = dict(strict.named_parameters())
    for name, p in net.named_parameters():  # one seed, the same weights
        assert "alpha" in name or torch.equal(p, known[name.replace("beta.", "")])
    found, expected = net(theta), strict(theta)
    if task == "equivariant":
        assert_equivariant(net, space)
        found, expected = found.flatten(), expected.flatten()
    assert (found - expected).abs().max() > 1e-6
    found.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for name, p in net.named_parameters() if "alpha" in name)


def test_the_layer_form_takes_orbits_to_orbits_in_an_equivariant_task():
    check_orbits_to_orbits(build(CHAIN, "equivariant", "layer"), CHAIN.symmetry(), networks(CHAIN), moves=1e-2)


def test_overhead_in_the_published_size():
    """Small convolutional networks: 16 channels, a head of width 200 on the pooled entries."""
    layers = [layer for i in (1, 16, 16) for layer in (nn.Conv2d(i, 16, 3), nn.ReLU())]
    cnn = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    space = ws.from_module(cnn, torch.zeros(2, 1, 28, 28))
    for quasi in ("layer", "channel"):
        net = ws.build(
            "monomial-nfn", space, "invariant", hidden=16, readout_hidden=200, readout_depth=None, quasi=quasi
        )
        assert 0.03 < quasi_overhead(net) < 0.06
        assert_invariant(net, space)


def test_what_is_refused():
    for quasi in ("layer", "channel"):
        with pytest.raises(ws.SymmetryError, match="neuron group 'hidden1' has activation 'sine'"):
            build(ws.siren([2, 8, 1]), "invariant", quasi)
        with pytest.raises(ws.ModelError, match="published=True is not equivariant under scales"):
            build(CHAIN, "equivariant", quasi, published=True)
    with pytest.raises(ws.ModelError, match="quasi: expected one of 'none', 'layer', 'channel', found 'all'"):
        build(CHAIN, "invariant", "all")
    with pytest.raises(ws.ModelError, match="readout_depth=None leaves nothing to modulate"):
        build(CHAIN, "equivariant", "none", readout_depth=False)


def test_a_pool_without_layers_in_front():
    net = build(CHAIN, "invariant", "none", readout_depth=False, readout_hidden=7, out_features=3)
    assert net(networks(CHAIN)).shape == (4, 3)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)][-3:] == [7, 7, 3]
    assert_invariant(net, CHAIN)
