import pytest
import torch
from _spaces import attention_space, input_norm_space, norm_space, small_spaces

import weightspace as ws
from weightspace.nn import BatchNorm, Dropout, Standardize
from weightspace.nn._dropout import dropout
from weightspace.testing import assert_equivariant, equivariance_error


def training_networks(space, batch=500):
    """Networks whose entries have statistics of their own, also within a parameter."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for p in space.parameters:
        own = torch.rand(1, *p.shape, 1, generator=generator)
        tensors[p.name] = torch.randn(batch, *p.shape, 1, generator=generator) * (0.5 + own) + 3 * own
    return space.features(tensors)


@pytest.mark.parametrize("mode", ["orbit", "tensor"])
def test_shared_statistics_are_equivariant(mode):
    space = ws.mlp([2, 7, 5, 3])
    standardize = Standardize(space, mode)
    theta = training_networks(space)
    standardize.fit(theta)
    assert_equivariant(standardize, space)
    moved = standardize(theta)
    for name in ("0.weight", "2.weight", "4.weight"):
        assert abs(moved[name].mean()) < 1e-4
        assert moved[name].std() == pytest.approx(1, abs=1e-3 if mode == "tensor" else 0.05)


def test_orbit_statistics_keep_what_no_symmetry_relates():
    space = ws.mlp([2, 7, 3])
    standardize = Standardize(space, "orbit")
    theta = training_networks(space)
    standardize.fit(theta)
    assert standardize.mean0.shape == (1, 1, 2, 1)  # per input neuron
    assert standardize.mean1.shape == (1, 1, 1)  # one for the hidden biases
    assert standardize.mean2.shape == (1, 3, 1, 1)  # per output neuron
    torch.testing.assert_close(standardize.mean0.flatten(), theta["0.weight"].mean((0, 1, 3)))


def test_statistics_of_norms_embeddings_and_heads():
    """Along permuted axes they are shared; along taps, positions and the units of a norm of the input they are not."""
    shapes = {}
    for space in (norm_space(), attention_space()):
        standardize = Standardize(space, "orbit")
        standardize.fit(training_networks(space, 20))
        shapes |= {p.name: tuple(getattr(standardize, f"mean{i}").shape[1:-1]) for i, p in enumerate(space.parameters)}
    for name in ("norm0.weight", "norm0.running_var", "0.norm1.weight", "0.norm1.bias"):
        assert shapes[name] == (1,)
    assert shapes["conv1.weight"] == (1, 1, 2)
    assert shapes["position"] == (1, 3, 1)
    assert shapes["token.weight"] == (3, 1)
    assert shapes["0.query.weight"] == (1, 1, 1)
    assert shapes["head.weight"] == (2, 1)
    standardize = Standardize(input_norm_space(), "orbit")
    assert [tuple(getattr(standardize, f"mean{i}").shape[1:-1]) for i in range(3)] == [(3,), (3,), (1, 3)]


@pytest.mark.parametrize("name", small_spaces())
def test_modes_on_any_network(name):
    space = small_spaces()[name]
    for mode in ("orbit", "tensor", "scale"):
        standardize = Standardize(space, mode)
        standardize.fit(training_networks(space, 20))
        assert_equivariant(standardize, space)
        group = space.symmetry().restricted(linear=False)
        if mode == "scale":
            assert_equivariant(standardize, space, group)
        else:  # negative control
            assert equivariance_error(standardize, space, group) > 1e-2


def test_published_statistics_per_entry_are_not_equivariant():
    space = ws.mlp([2, 7, 5, 3])
    standardize = Standardize(space, "entry")
    theta = training_networks(space)
    standardize.fit(theta)
    assert equivariance_error(standardize, space) > 0.1
    moved = standardize(theta)["2.weight"]
    torch.testing.assert_close(moved.mean(0), torch.zeros_like(moved[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.std(0), torch.ones_like(moved[0]))


def test_statistics_are_stored_and_constant_entries_only_centred():
    space = ws.siren([2, 4, 1])
    standardize = Standardize(space)
    theta = space.sample(20)  # zero biases in the first layer
    assert torch.equal(standardize(theta).flatten(), theta.flatten())  # the identity until fit
    standardize.fit(theta)
    again = Standardize(space)
    again.load_state_dict(standardize.state_dict())
    assert torch.equal(again(theta).flatten(), standardize(theta).flatten())
    assert torch.isfinite(again(theta).flatten()).all()
    assert (again(theta)["0.bias"] == 0).all()
    with pytest.raises(ws.ModelError, match="at least 2 training networks, found 1"):
        standardize.fit(theta[:1])
    with pytest.raises(ws.ModelError, match=r"expected one of orbit, .* found 'layer'"):
        Standardize(space, "layer")


def test_batch_norm_normalises_each_parameter_and_is_equivariant():
    space = ws.mlp([2, 7, 5, 3])
    norm = BatchNorm(space, 1)
    moved = norm(training_networks(space)).detach()
    for tensor in moved.values():
        assert abs(tensor.mean()) < 1e-4
        assert tensor.std() == pytest.approx(1, abs=1e-2)
    assert_equivariant(norm, space)


def test_dropout_drops_the_right_share_scales_the_rest_and_stops_in_evaluation():
    space = ws.mlp([30, 40, 30])
    ones = space.sample(50).map(torch.ones_like)
    module = Dropout(0.3)
    torch.manual_seed(0)
    dropped = module(ones).flatten()
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.005)
    assert not torch.equal(module(ones).flatten(), dropped)
    torch.manual_seed(0)
    assert torch.equal(module(ones).flatten(), dropped)
    assert torch.equal(module.eval()(ones).flatten(), ones.flatten())


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.5, 0.999, 1.0])
def test_dropout_of_any_probability_and_size(p):
    x = torch.ones(1000, 101, requires_grad=True)
    y = dropout(x, p, training=True)
    assert (y == 0).float().mean() == pytest.approx(p, abs=0.01)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert dropout(torch.ones(3), p, training=False).sum() == 3
    # neighbours are dropped independently
    if p == 0.5:
        zero = (y == 0).float()
        assert (zero[:, 1:] * zero[:, :-1]).mean() == pytest.approx(0.25, abs=0.01)
