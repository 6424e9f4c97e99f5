import pytest
import torch

import weightspace as ws
from weightspace.testing import equivariance_error

SPACE = ws.mlp([2, 6, 5, 1])
OPTIONS = {"hidden": 16, "depth": 2, "dropout": 0.0}


def output(net, theta):
    out = net(theta)
    return out.flatten() if isinstance(out, ws.WeightFeatures) else out


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_it_claims_and_has_no_symmetry(task):
    net = ws.build("mlp", SPACE, task=task, **OPTIONS)
    assert net.symmetry == SPACE.symmetry("trivial")
    assert equivariance_error(net, SPACE, SPACE.symmetry("permutation")) > 1e-2


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_augmentation_permutes_in_training_only(task):
    theta = SPACE.sample(7)
    augmented = ws.build("mlp", SPACE, task=task, **OPTIONS)
    plain = ws.build("mlp", SPACE, task=task, augment=False, **OPTIONS)
    torch.manual_seed(0)
    assert not torch.equal(output(augmented, theta), output(augmented, theta))
    assert torch.equal(output(plain, theta), output(plain, theta))
    augmented.eval()
    plain.eval().load_state_dict(
        {name.replace("net.net.", "net."): value for name, value in augmented.state_dict().items()}
    )
    assert torch.equal(output(augmented, theta), output(plain, theta))


@pytest.mark.parametrize("task", ["equivariant", "invariant"])
def test_what_augmentation_does(task):
    """Each network is permuted by an element of its own, and an equivariant output is permuted back."""
    theta = SPACE.sample(7)
    net = ws.build("mlp", SPACE, task=task, **OPTIONS)
    group = SPACE.symmetry("permutation")
    torch.manual_seed(5)
    found = net.train()(theta)
    torch.manual_seed(5)
    element = group.sample(7)
    expected = net.eval()(group.act(element, theta))
    if task == "equivariant":
        expected = group.act(group.inverse(element), expected).flatten()
        found = found.flatten()
    torch.testing.assert_close(found, expected)
    orders = element["hidden1"].permutation
    assert (orders != orders[0]).any()


def test_augmentation_learns_what_lies_on_one_side_of_equivariance():
    """The identity map is equivariant: with augmentation it is still the optimum, as the output is moved back."""
    theta = SPACE.sample(256, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = ws.build("mlp", SPACE, hidden=SPACE.num_parameters * 2, depth=2, dropout=0.0)
    net.standardize.fit(theta)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(300):
        loss = (net(theta) - theta).flatten().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * theta.flatten().square().mean()


def test_the_depth_counts_linear_layers():
    for depth in (1, 2, 4):
        net = ws.build("mlp", SPACE, hidden=8, depth=depth)
        assert sum(isinstance(m, torch.nn.Linear) for m in net.modules()) == depth
