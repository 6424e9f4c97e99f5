"""The equivariant operator of `equivariant_pair`, and one layer of attention written out."""

import math

import pytest
import torch

import weightspace as ws
from weightspace.testing import equivariance_error
from weightspace.theory import equivariant_pair, statements, wl_pair
from weightspace.theory._outputs import COLOR_REFINING, fitted_readout
from weightspace.theory.checks._attention import _one_layer


def test_the_target_is_equivariant():
    pair = equivariant_pair()
    assert equivariance_error(pair.target, pair.both.space, pair.both.space.symmetry("permutation")) < 1e-12
    first, second = pair
    (ours, theirs) = (pair.target(theta)["2.weight"][0, :, :, 0] for theta in pair)
    for theta, values, (one, zero) in ((first, ours, (3, 1)), (second, theirs, (4, 0))):
        assert torch.equal(values, torch.where(theta["2.weight"][0, :, :, 0] == 1, one, zero).double())


def test_the_bound_is_the_best_that_colours_can_do():
    """Over outputs with one value where W is 1 and another where it is 0, by a fine grid."""
    pair = equivariant_pair()
    assert pair.l2_lower_bound == 2.0
    one, zero = (
        x.flatten() for x in torch.meshgrid(*[torch.linspace(-1, 5, 601, dtype=torch.float64)] * 2, indexing="ij")
    )
    middle, target = pair.both["2.weight"], pair.target(pair.both)["2.weight"]
    outputs = torch.where(middle == 1, one, zero)  # [2, 4, 4, choices]
    errors = (outputs - target).square().sum((1, 2)).sqrt().amax(0)
    assert float(errors.min()) == pytest.approx(2, abs=1e-9)
    assert float(one[errors.argmin()]) == pytest.approx(3.5)
    assert float(zero[errors.argmin()]) == pytest.approx(0.5)


@pytest.mark.parametrize("name", [*COLOR_REFINING, "nft"])
def test_the_best_readout_of_random_features(name):
    """Sixteen features of each weight: least squares ends at 2 on both networks, or at 0 for attention."""
    pair = equivariant_pair()
    torch.manual_seed(0)
    net = ws.build(name, pair.both.space, hidden=16, depth=3, out_channels=16, **COLOR_REFINING.get(name, {}))
    with torch.no_grad():
        features = net.double().eval()(pair.both)["2.weight"].flatten(0, 2)
    target = pair.target(pair.both)["2.weight"].flatten()[:, None]
    errors = (fitted_readout(features, target) - target).view(2, 16).norm(dim=1)
    torch.testing.assert_close(errors, torch.full_like(errors, 0 if name == "nft" else 2), rtol=1e-9, atol=1e-6)


def test_a_pair_of_one_orbit_has_no_bound():
    pair = equivariant_pair()
    group = pair.both.space.symmetry("permutation")
    twice = pair.both[[0, 0]]
    moved = group.act(group.sample(2, torch.Generator().manual_seed(0)), twice)
    assert type(pair)(moved, pair.functional, pair.formula).l2_lower_bound == 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "low", "high"), [("dws", 0.9999, 1.0001), ("gmn", 0.9999, 1.0001), ("nft", 0, 1e-6)])
def test_training_for_the_labels_of_the_pair(name, low, high):
    both = wl_pair("c8").both
    labels = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    torch.manual_seed(0)
    options = {"hidden": 16, "depth": 2, **COLOR_REFINING.get(name, {})}
    net = ws.build(name, both.space, task="invariant", **options).double().eval()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = (net(both) - labels).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert low <= loss().item() <= high


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0])
def test_one_layer_of_attention_written_out(scale):
    """Tokens are the columns of W_l, b_l and the rows of W_(l+1), for both hidden layers; scores are not normalised."""
    expected = []
    for theta in wl_pair("c8"):
        w1, b1, w2, b2, w3 = (theta[n][0, ..., 0] for n in ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight"))
        tokens = {1: [*w1.T, b1, *w2], 2: [*w2.T, b2, *w3]}
        new = {}
        for layer, vectors in tokens.items():
            new[layer] = []
            for query in vectors:
                scores = [math.exp(scale * float(query @ key)) for key in vectors]
                new[layer].append(sum(s * v for s, v in zip(scores, vectors, strict=True)) / sum(scores))
        rows = torch.stack(new[1][2:])  # after the one column of W_1 and b_1
        columns = torch.stack(new[2][:4], dim=1)
        expected.append(float((w2 + rows + columns).square().mean()))
    assert _one_layer(scale) == pytest.approx(expected, rel=1e-12)
    if scale == 1:
        assert expected == pytest.approx([3.8584, 4.1176], abs=5e-5)


def test_names_and_order():
    names = [s.name for s in statements()]
    assert names.index("colour-refinement") < names.index("attention") < names.index("equivariant-operators")
