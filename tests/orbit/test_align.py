import itertools

import numpy as np
import pytest
import torch
from _orbits import error, networks
from _spaces import attention_space, conv_space, norm_space, residual_space, small_spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import nn

import weightspace as ws
from weightspace.group import MONOMIAL, PERMUTATION, POSITIVE_MONOMIAL, TRIVIAL
from weightspace.orbit._assignment import assign, rotate
from weightspace.orbit._balance import balance
from weightspace.orbit._families import families
from weightspace.orbit._match import match
from weightspace.orbit._settled import settled
from weightspace.space import SymmetryGroup
from weightspace.testing.strategies import feed_forward_spaces


def moved(group, theta, noise=0.0, seed=0, **options):
    """Networks moved by known elements, then by noise; and the elements."""
    generator = torch.Generator().manual_seed(seed)
    element = group.sample(len(theta), generator, dtype=theta.dtype, **options)
    return group.act(element, theta).map(
        lambda t: t + noise * torch.randn(t.shape, generator=generator, dtype=t.dtype)
    ), element


def cosine(theta, phi):
    return torch.nn.functional.cosine_similarity(theta.flatten(), phi.flatten())


# ------------------------------------------------------------------------------------------------------------ recovery

STREAM = residual_space(blocks=3)
GROUPS = {
    f"{name}, {which}": group
    for name, space in small_spaces().items()
    for which, group in (
        ("largest", space.symmetry()),
        ("permutation", space.symmetry("permutation")),
        ("identity component", space.symmetry().identity_component()),
    )
}
GROUPS |= {
    "any scales on a stream": SymmetryGroup(
        STREAM, tuple(MONOMIAL if g.kind == "hidden" else TRIVIAL for g in STREAM.groups)
    ),
    "inputs and outputs too": SymmetryGroup(ws.mlp([4, 5, 3]), (PERMUTATION, POSITIVE_MONOMIAL, PERMUTATION)),
    "wide norms": norm_space((3, 8, 8, 8)).symmetry(),
    "wide attention": attention_space(2, 16, 4, 4, 8, 5, 7).symmetry(),
    "linear layers": ws.mlp([3, 4, 5, 4], "identity").symmetry(),
}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_networks_of_one_orbit_are_brought_together(group):
    theta = networks(group.space, 6)
    phi, _ = moved(group, theta)
    found = ws.align(theta, phi, group)
    assert error(found.theta, theta) <= 1e-9
    torch.testing.assert_close(found.cosine, torch.ones_like(found.cosine), rtol=0, atol=1e-12)
    assert error(group.act(found.element, phi), found.theta) == 0
    near, _ = moved(group, theta, 1e-4, scale_range=2.0)
    assert error(ws.align(theta, near, group).theta, theta) < 0.02


@settings(max_examples=25, deadline=None)
@given(feed_forward_spaces(max_width=12, activations=("relu", "tanh", "sine", "gelu")), st.integers(0, 2**16))
def test_any_perceptron(space, seed):
    theta = networks(space, 4, seed)
    phi, _ = moved(space.symmetry(), theta, seed=seed)
    assert error(ws.align(theta, phi).theta, theta) <= 1e-9


def test_networks_of_different_orbits_are_not():
    """Negative control."""
    for space in (ws.mlp([2, 16, 16, 2]), *small_spaces().values()):
        theta, phi = networks(space, 4), networks(space, 4, seed=1)
        found = ws.align(theta, phi)
        assert (found.cosine < 0.99).all()
        assert error(found.theta, theta) > 0.1


@pytest.mark.parametrize(
    ("noise", "sorting", "start"), [(0, 1, 1), (1e-3, 0.8, 0.95), (1e-2, 0.3, 0.95), (0.1, 0, 0.95)]
)
def test_recovery_of_permutations_under_noise(noise, sorting, start):
    """Anchored starts find all of them; the order of the biases alone and the identity as a start do not."""
    space = ws.mlp([2, 16, 16, 2])
    group = space.symmetry("permutation")
    phi = networks(space, 100)
    theta, element = moved(group, phi, noise)

    def recovered(init, iterations=100):
        found = ws.align(theta, phi, group, init, iterations=iterations).element
        same = [(found[n].permutation == element[n].permutation).all(1) for n in ("hidden1", "hidden2")]
        return float(torch.stack(same).all(0).double().mean())

    assert recovered("anchored") == 1
    assert recovered("bias_sort") >= start
    assert sorting <= recovered("bias_sort", 0) <= sorting + 0.3
    assert 0.6 < recovered("identity") < 0.95


def test_the_scales_of_the_first_network_are_taken_over():
    space = ws.mlp([3, 6, 5, 2])
    theta = networks(space, 3)
    phi, element = moved(space.symmetry(), theta)
    found = ws.align(theta, phi).element["hidden1"]
    expected = space.symmetry().inverse(element)["hidden1"]
    assert torch.equal(found.permutation, expected.permutation)
    torch.testing.assert_close(found.scale, expected.scale)
    assert ws.align(theta, phi, "permutation").element["hidden1"].scale is None


# ------------------------------------------------------------------------------------------------------------- optimum


def plain(theta, phi):
    """Weight matching as published, for one pair of perceptrons."""
    ours, theirs = ([t[0, ..., 0].numpy() for t in x.tensors] for x in (theta, phi))
    layers = len(ours) // 2
    orders = [np.arange(len(ours[2 * i])) for i in range(layers)]
    while True:
        before = [order.copy() for order in orders]
        for i in range(layers - 1):
            into = theirs[2 * i] if i == 0 else theirs[2 * i][:, orders[i - 1]]
            out = theirs[2 * i + 2] if i == layers - 2 else theirs[2 * i + 2][orders[i + 1]]
            scores = ours[2 * i] @ into.T + np.outer(ours[2 * i + 1], theirs[2 * i + 1]) + ours[2 * i + 2].T @ out
            orders[i] = linear_sum_assignment(scores, maximize=True)[1]
        if all(map(np.array_equal, before, orders)):
            return orders[:-1]


@pytest.mark.parametrize("dims", [[3, 20, 2], [2, 16, 16, 2], [80, 12, 13, 14, 70]])
def test_from_the_identity_it_is_the_published_algorithm(dims):
    space = ws.mlp(dims)
    theta, phi = networks(space, 5), networks(space, 5, seed=1)
    found = ws.align(theta, phi, "permutation", "identity").element
    for i in range(5):
        for layer, order in enumerate(plain(theta[i], phi[i]), start=1):
            assert found[f"hidden{layer}"].permutation[i].tolist() == order.tolist()


def test_one_hidden_layer_is_solved_exactly():
    """Against all permutations and signs."""
    space = ws.mlp([2, 4, 3], activation="tanh")
    group = space.symmetry()
    theta, phi = networks(space, 3), networks(space, 3, seed=1)
    found = cosine(ws.align(theta, phi).theta, theta)
    best = torch.full((3,), -1.0, dtype=torch.float64)
    for order in itertools.permutations(range(4)):
        for signs in itertools.product((1.0, -1.0), repeat=4):
            element = group.identity(1, dtype=torch.float64)
            element["hidden1"] = ws.group.Monomial(torch.tensor([order]), torch.tensor([signs]).double())
            best = torch.maximum(best, cosine(group.act(element, phi), theta))
    torch.testing.assert_close(found, best)


@pytest.mark.parametrize("name", ["conv, largest", "residual-tanh, largest", "norm, largest", "attention, largest"])
def test_no_sweep_lowers_the_inner_product(name):
    group = GROUPS[name]
    theta, phi = networks(group.space, 5), networks(group.space, 5, seed=1)
    for init in ("anchored", "bias_sort", "identity"):
        found = torch.stack([ws.align(theta, phi, group, init, iterations=n).cosine for n in (0, 1, 2, 20)])
        assert (found.diff(dim=0) > -1e-12).all()
    assert (found[-1] > found[0] + 0.01).any()


@pytest.mark.parametrize("group", [GROUPS["attention, largest"], GROUPS["norm, largest"]], ids=["attention", "norm"])
def test_no_element_of_one_family_is_better(group):
    """When it is done: of networks of smallest norm, against random permutations, signs and rotations."""
    theta, phi = networks(group.space, 2), networks(group.space, 2, seed=1)
    theta = group.act(balance(theta, group), theta)
    found = ws.align(theta, phi, group)
    for family in families(group):
        tensors = [[x.tensors[i] for i in family.parameters] for x in (found.theta, theta)]
        best = sum((a * b).flatten(1).sum(1) for a, b in zip(*tensors, strict=True))
        for seed in range(50):
            drawn = group.sample(2, torch.Generator().manual_seed(seed), dtype=torch.float64)
            own = {}
            for neurons in family.space.groups:
                if neurons.name in dict(family.frames):
                    rotation = torch.linalg.qr(drawn[neurons.name].matrix).Q
                    own[neurons.name] = drawn[neurons.name]._replace(matrix=rotation)
                elif neurons.units == family.name:
                    scale = drawn[neurons.name].scale
                    signs = None if scale is None or neurons.name not in family.signs else scale.sign()
                    own[neurons.name] = drawn[neurons.name]._replace(scale=signs)
            other = family.act(own, tensors[0])
            assert (sum((a * b).flatten(1).sum(1) for a, b in zip(other, tensors[1], strict=True)) <= best + 1e-9).all()


# -------------------------------------------------------------------------------------------------------------- pieces


@given(st.integers(1, 12), st.integers(0, 2**16), st.booleans())
@settings(max_examples=30, deadline=None)
def test_assignments(n, seed, easy):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, n, n, generator=generator)
    if easy:  # the largest of each row are a permutation
        scores += 10 * torch.eye(n)[torch.randperm(n, generator=generator)]
    for one, order in zip(scores, assign(scores), strict=True):
        _, columns = linear_sum_assignment(one.numpy(), maximize=True)
        assert order.argsort().tolist() == columns.tolist()


@pytest.mark.parametrize("positive", [False, True])
def test_rotations(positive):
    products = torch.randn(40, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation, trace = rotate(products, positive=positive)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(4, dtype=torch.float64).expand(40, 4, 4))
    torch.testing.assert_close((rotation @ products).diagonal(dim1=1, dim2=2).sum(1), trace)
    assert not positive or (torch.linalg.det(rotation) > 0).all()
    for seed in range(100):
        other = torch.linalg.qr(torch.randn(40, 4, 4, generator=torch.Generator().manual_seed(seed)).double()).Q
        if positive:
            other[:, 0] *= torch.linalg.det(other).sign()[:, None]
        assert ((other @ products).diagonal(dim1=1, dim2=2).sum(1) <= trace + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["relu", "tanh"]), st.floats(0, 1.5), st.booleans(), st.integers(0, 2**16))
def test_what_is_settled_is_optimal(activation, noise, swap, seed):
    space = ws.mlp([5, 6, 70], activation=activation)
    theta = networks(space, 6, seed)
    generator = torch.Generator().manual_seed(seed)
    phi = theta.map(lambda t: t + noise * torch.randn(t.shape, generator=generator, dtype=t.dtype))
    (family,) = families(space.symmetry("signed_permutation" if activation == "tanh" else "permutation"))
    if swap:
        element = family.relabelled(torch.tensor([1, 0, 2, 3, 4, 5]).repeat(6, 1), theta.tensors[0])
        phi = ws.WeightFeatures(space, (*family.act(element, phi.tensors[:3]), phi.tensors[3]))
    tensors = phi.tensors[:3], theta.tensors[:3]
    done = settled(family, *tensors)
    gain = match(family, family.scores(*tensors, family.places)).gain
    assert (gain[done] <= 1e-12).all()
    assert bool(done.all()) or noise > 0.1 or swap


def test_balanced_networks_have_the_smallest_norm_of_their_orbit():
    for group in (GROUPS["residual, largest"], GROUPS["norm, largest"], GROUPS["attention, largest"]):
        theta = networks(group.space, 3)
        best = group.act(balance(theta, group), theta)
        size = best.flatten().norm(dim=1)
        assert (size < theta.flatten().norm(dim=1)).all()
        for seed in range(10):
            other, _ = moved(group, best, seed=seed, scale_range=1.1)
            assert (other.flatten().norm(dim=1) > size * (1 - 1e-3)).all()


# ------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("name", ["conv-tanh, largest", "residual, permutation", "attention, largest"])
def test_a_batch_is_what_its_pairs_are_one_by_one(name):
    group = GROUPS[name]
    theta = networks(group.space, 4)
    near, _ = moved(group, theta[:2], 1e-3)
    phi = near.map(lambda t, u: torch.cat([t, u]), networks(group.space, 2, seed=1))  # half of them settle early
    together = ws.align(theta, phi, group)
    for i in range(4):
        alone = ws.align(theta[i], phi[i], group)
        assert error(alone.theta, together.theta[i]) <= 1e-9


def test_one_reference_for_many_and_one_network_to_many():
    space = ws.mlp([2, 8, 8, 1], activation="tanh")
    theta, phi = networks(space, 1), networks(space, 3, seed=1)
    assert error(ws.align(theta, phi).theta[1], ws.align(theta, phi[1]).theta) <= 1e-12
    assert error(ws.align(phi, theta).theta[2], ws.align(phi[2], theta).theta) <= 1e-12


def test_networks_are_left_as_they_are_and_gradients_pass():
    space = ws.mlp([2, 8, 8, 1])
    theta = networks(space, 2)
    phi = networks(space, 2, seed=1).map(lambda t: t.requires_grad_())
    before = phi.flatten().detach().clone()
    found = ws.align(theta, phi)
    found.theta.flatten().square().sum().backward()
    assert torch.equal(phi.flatten(), before)
    assert all(t.grad.abs().max() > 0 for t in phi.tensors)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_precision(dtype, tolerance):
    space = ws.mlp([2, 16, 16, 1])
    theta = networks(space, 3, dtype=dtype)
    phi, _ = moved(space.symmetry(), theta.to(torch.float64), scale_range=2.0)
    found = ws.align(theta, phi.to(dtype))
    assert found.theta.dtype == dtype
    assert error(found.theta.to(torch.float64), theta.to(torch.float64)) < tolerance


# --------------------------------------------------------------------------------------------------------- activations


class Stream(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.block = nn.Sequential(nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.relu(x + self.block(x)).mean((2, 3)))


@pytest.mark.parametrize("name", ["permutation", None])
def test_activations_of_traced_modules(name):
    torch.manual_seed(0)
    x = torch.randn(7, 2, 5, 5, dtype=torch.float64)
    space = ws.from_module(Stream(), x[:2].float())
    theta = networks(space, 3)
    theta = space.features({n: t.abs() + 0.1 if n.endswith("running_var") else t for n, t in theta.items()})
    group = space.symmetry(name)
    phi, _ = moved(group, theta)
    assert error(ws.align(theta, phi, group, activations=x).theta, theta) <= 1e-9
    # they are not the weights: another input gives another element for networks of other seeds
    other = networks(space, 3, seed=1)
    other = space.features({n: t.abs() + 0.1 if n.endswith("running_var") else t for n, t in other.items()})
    found = [ws.align(theta, other, group, activations=x * scale).theta for scale in (1, 20)]
    assert error(*found) > 0.1


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_activations_of_chains(activation):
    space = ws.mlp([3, 8, 7, 2], activation=activation)
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = networks(space, 3)
    phi, _ = moved(space.symmetry(), theta)
    assert error(ws.align(theta, phi, activations=x).theta, theta) <= 1e-9
    # of other networks: the sum of the correlations is as large as can be
    other = networks(space, 3, seed=1)
    found = ws.align(theta, other, activations=x).theta
    for name in ("hidden1", "hidden2"):
        ours, theirs = (ws.space.activations(t, x)[name][:, 0] for t in (theta, found))
        for i in range(3):
            with np.errstate(invalid="ignore"):  # units that are always 0
                both = np.nan_to_num(np.corrcoef(ours[i], theirs[i])[: len(ours[i]), len(ours[i]) :])
            _, columns = linear_sum_assignment(np.abs(both) if activation == "tanh" else both, maximize=True)
            assert both.trace() == pytest.approx(both[np.arange(len(both)), columns].sum(), abs=1e-9)


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, t: ws.align(t, networks(ws.mlp([2, 4, 1]))), "different weight spaces: widths: expected 2-5-1, fou"),
        (lambda s, t: ws.align(t, t, ws.mlp([2, 4, 1]).symmetry()), "widths: expected 2-4-1, found 2-5-1"),
        (lambda s, t: ws.align(t, t, "signed_permutation"), "would change what the networks compute"),
        (lambda s, t: ws.align(t.concatenate(t), t), "which have 1 channel; found weight features with 2"),
        (lambda s, t: ws.align(t, t[:3]), "5 networks cannot be paired with 3; expected as many, or one"),
        (lambda s, t: ws.align(t, t.to(torch.float32)), r"theta is torch.float64 on cpu, phi is torch.float32"),
        (lambda s, t: ws.align(t, t, init="random"), "init: expected one of anchored, bias_sort, identity, found 'ran"),
        (lambda s, t: ws.align(1e300 * t, 1e300 * t, "permutation"), "units cannot be matched"),
        (lambda s, t: ws.align(t, t, activations=(torch.ones(2, 2),)), "expected a tensor of inputs, found a tuple"),
    ],
)
def test_bad_input(call, message):
    space = ws.mlp([2, 5, 1])
    with pytest.raises(ws.SymmetryError, match=message):
        call(space, networks(space))


def test_activations_that_are_not_known():
    for space, message in (
        (conv_space(), "of chains of linear layers and of traced modules, and this space is neither"),
        (attention_space(), "general matrices act on neuron group 'qk0'; use group=\"permutation\""),
    ):
        theta = networks(space, 2)
        with pytest.raises(ws.SymmetryError, match=message):
            ws.align(theta, theta, activations=torch.ones(3, 2, dtype=torch.float64))
    layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
    space = ws.from_module(layer, torch.randn(2, 3, 8))
    theta = space.stack([layer])
    with pytest.raises(ws.SymmetryError, match=r"'self_attn.heads' are not returned by any linear layer"):
        ws.align(theta, theta, "permutation", activations=torch.randn(2, 3, 8))
