"""Networks and checks that all tests of orbits need."""

import torch

import weightspace as ws

__all__ = ["check_form", "error", "networks", "orders"]


def networks(space, batch=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    drawn = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return space.features({name: tensor.to(dtype) for name, tensor in drawn.items()})


def error(theta, phi):
    """The largest relative error of a parameter."""
    pairs = zip(theta.tensors, phi.tensors, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-300)) for a, b in pairs)


def check_form(group, seed=0, positive=True):
    """Constant on orbits, in the orbit, idempotent."""
    theta = networks(group.space, seed=seed)
    form = ws.canonicalize(theta, group)
    assert not positive or (form.margin > 0).all()
    moved = group.act(group.sample(5, torch.Generator().manual_seed(seed), dtype=torch.float64), theta)
    again = ws.canonicalize(moved, group)
    assert error(again.theta, form.theta) <= 1e-12
    torch.testing.assert_close(again.margin, form.margin, rtol=1e-9, atol=0)
    assert error(group.act(form.element, theta), form.theta) == 0
    assert error(group.act(group.inverse(form.element), form.theta), theta) <= 1e-12
    assert error(ws.canonicalize(form.theta, group).theta, form.theta) <= 1e-12


def orders(element):
    """Permutations and signs, without positive scales."""
    parts = [part for m in element.values() for part in (m.permutation, None if m.scale is None else m.scale.sign())]
    return [part for part in parts if part is not None]


def check_orbits_to_orbits(net, group, theta, moves):
    """A quasi-equivariant network takes orbits to orbits, and is not equivariant by at least ``moves``."""
    g = group.sample(len(theta), torch.Generator().manual_seed(1), dtype=torch.float64)
    found = net(group.act(g, theta)).flatten()
    expected = group.act(ws.quasi_cocycle(net.net, g, theta), net(theta)).flatten()
    assert (found - expected).abs().max() < 1e-11 * expected.abs().max()
    assert {factor.name for factor in net.symmetry.factors} == {"trivial"}
    assert ws.testing.equivariance_error(net, theta.space, group) > moves
