"""The linear layers against those of the package ``nfn``, which were written independently."""

import pytest
import torch
from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
from nfn.layers import HNPLinear, NPLinear

import weightspace as ws
from weightspace.group import PERMUTATION
from weightspace.nn import EquivariantLinear
from weightspace.space import SymmetryGroup

SPACE = ws.mlp([2, 3, 3, 2])
PUBLISHED = {"np": NPLinear, "hnp": HNPLinear}


def ours(kind, channels):
    everything = SymmetryGroup(SPACE, (PERMUTATION,) * len(SPACE.groups))
    symmetry = everything if kind == "np" else SPACE.symmetry("permutation")
    return EquivariantLinear(SPACE, channels, channels, symmetry=symmetry).double()


def theirs(kind, channels):
    spec = network_spec_from_wsfeat(to_nfn(random_features(1, channels)))
    return PUBLISHED[kind](spec, channels, channels).double()


def random_features(batch, channels):
    return SPACE.features({p.name: torch.randn(batch, *p.shape, channels).double() for p in SPACE.parameters})


def to_nfn(theta):
    """Channels first, weights and biases apart."""
    tensors = [t.movedim(-1, 1) for t in theta.values()]
    return WeightSpaceFeatures(tensors[0::2], tensors[1::2])


def outputs(layer, theta):
    if isinstance(layer, EquivariantLinear):
        return layer(theta).flatten().flatten()
    out = layer(to_nfn(theta))
    pairs = zip(out.weights, out.biases, strict=True)
    tensors = [t.movedim(1, -1) for pair in pairs for t in pair]
    return ws.WeightFeatures(SPACE, tuple(tensors)).flatten().flatten()


@torch.no_grad()
def by_coefficient(layer, theta, parameters):
    """The output, which is linear in the coefficients, for each of them alone: [outputs, coefficients]."""
    before = [p.clone() for p in layer.parameters()]
    for p in layer.parameters():
        p.zero_()
    columns = []
    for p in parameters:
        for i in range(p.numel()):
            p.view(-1)[i] = 1
            columns.append(outputs(layer, theta))
            p.view(-1)[i] = 0
    for p, value in zip(layer.parameters(), before, strict=True):
        p.copy_(value)
    return torch.stack(columns, 1)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_ours_computes_what_theirs_does_with_their_coefficients(kind):
    """Their coefficients in our basis, and then the same function on other inputs."""
    torch.manual_seed(0)
    published, layer, theta = theirs(kind, 2), ours(kind, 2), random_features(30, 2)
    with torch.no_grad():
        columns = by_coefficient(layer, theta, list(layer.parameters()))
        coefficients = torch.linalg.lstsq(columns, outputs(published, theta)[:, None]).solution[:, 0]
        torch.nn.utils.vector_to_parameters(coefficients, layer.parameters())
        fresh = random_features(5, 2)
        torch.testing.assert_close(outputs(layer, fresh), outputs(published, fresh), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "dimension", "published_dimension"), [("np", 62, 62), ("hnp", 114, 112)])
def test_dimensions_of_both(kind, dimension, published_dimension):
    """The published HNP layer lacks the map of the last hidden biases to the weights that leave them, one an output."""
    torch.manual_seed(0)
    theta = random_features(60, 1)
    for layer, expected in ((ours(kind, 1), dimension), (theirs(kind, 1), published_dimension)):
        if isinstance(layer, EquivariantLinear):
            linear = layer.linear_parameters()
        else:
            linear = [p for name, p in layer.named_parameters() if name.endswith("weight")]
        assert torch.linalg.matrix_rank(by_coefficient(layer, theta, linear)) == expected
