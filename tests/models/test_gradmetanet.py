"""GradMetaNet, and the input encodings that every architecture can have."""

import pytest
import torch

import weightspace as ws
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error

TASKS = {"equivariant": {"out_channels": 2}, "invariant": {"out_features": 3}}
ENCODED = [{"probes": 6}, {"gradients": 5}, {"probes": 6, "gradients": 5}]


def networks(space, channels=1):
    generator = torch.Generator().manual_seed(0)
    return space.features({p.name: torch.randn(4, *p.shape, channels, generator=generator) for p in space.parameters})


@pytest.mark.parametrize("options", ENCODED, ids=lambda o: "+".join(o))
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["dws", "gmn", "gradmetanet"])
def test_encodings_in_front_of_an_architecture(name, task, options):
    space = ws.mlp([2, 5, 4, 1], activation="tanh")
    torch.manual_seed(0)
    net = ws.build(name, space, task, in_channels=2, hidden=8, depth=2, **TASKS[task], **options)
    assert net.symmetry == space.symmetry("permutation")
    check = assert_equivariant if task == "equivariant" else assert_invariant
    check(net, space, channels=2)
    out = net.train()(networks(space, channels=2))
    (out.flatten() if task == "equivariant" else out).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


@pytest.mark.parametrize("options", ENCODED[:2], ids=lambda o: "+".join(o))
def test_encodings_break_scales_and_the_claim_says_so(options):
    space = ws.mlp([2, 5, 4, 1], activation="relu")
    torch.manual_seed(0)
    plain = ws.build("scalegmn", space, hidden=8, depth=2)
    net = ws.build("scalegmn", space, hidden=8, depth=2, **options)
    assert plain.symmetry == space.symmetry()
    assert net.symmetry == space.symmetry("permutation")
    assert_equivariant(net, space)
    assert equivariance_error(net, space, space.symmetry()) > 1e-3


@pytest.mark.parametrize("task", TASKS)
def test_gradmetanet_sees_more_than_the_weights(task):
    """Its gradient part is in use: other points give another output; so are the weights: so do other statistics."""
    space = ws.siren([2, 8, 8, 1])
    torch.manual_seed(0)
    net = ws.build("gradmetanet", space, task, hidden=8, **TASKS[task]).eval()
    theta = networks(space)

    def run():
        with torch.no_grad():
            out = net(theta)
        return out.flatten() if task == "equivariant" else out

    first = run()
    net.net.features.gradients.points.data.mul_(0.5)
    second = run()
    net.standardize.fit(theta)
    assert (second - first).abs().max() > 1e-3
    assert (run() - second).abs().max() > 1e-3


def test_sizes_of_the_published_task():
    space = ws.siren([2, 32, 32, 1])
    net = ws.build("gradmetanet", space)
    assert net.net.features.gradients.points.shape == (64, 2)
    assert net.net.features.gradients.targets.shape == (64, 1)
    assert len(net.net.features.gradients.layers) == 3
