"""Networks of different architectures in one batch, and back."""

import pytest
import torch
from _spaces import attention_space, conv_space, depthwise_space, norm_space, residual_space
from hypothesis import given, settings
from hypothesis import strategies as st

import weightspace as ws

WIDTH = st.integers(1, 6)
MIXED = st.one_of(
    st.builds(lambda widths, name: ws.mlp([2, *widths, 2], name), st.lists(WIDTH, max_size=3), st.just("relu")),
    st.builds(lambda a, b, taps, n: conv_space("relu", (2, a, b), taps, n), WIDTH, WIDTH, WIDTH, WIDTH),
    st.builds(lambda a, b, n, taps: residual_space("tanh", a, b, n, taps), WIDTH, WIDTH, st.integers(1, 2), WIDTH),
    st.builds(lambda a, b, taps: norm_space((2, a, b), taps), WIDTH, WIDTH, WIDTH),
    st.builds(lambda h, c, t: attention_space(1, 4, h, c, 3, t), WIDTH, WIDTH, WIDTH),
    st.builds(depthwise_space, WIDTH, WIDTH),
)


def weights(space, batch, channels=1):
    return space.features({p.name: torch.randn(batch, *p.shape, channels) for p in space.parameters})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(MIXED, st.integers(1, 3)), min_size=1, max_size=6), st.sampled_from((1.0, 2.0, 1e9)))
def test_unpad_gives_back_what_was_padded(given, waste):
    thetas = [weights(space, n, 2) for space, n in given]
    batch = ws.pad(thetas, waste=waste)
    assert len(batch) == sum(map(len, thetas))
    assert batch.overhead <= waste or waste == 1.0
    for found, theta in zip(batch.unpad(), thetas, strict=True):
        assert found.space == theta.space
        assert all(torch.equal(a, b) for a, b in zip(found.tensors, theta.tensors, strict=True))
    numbers = torch.cat([torch.full((len(b),), float(i)) for i, b in enumerate(batch.buckets)])
    places = torch.cat([torch.full((len(t),), float(b)) for t, (b, _) in zip(thetas, batch.places, strict=True)])
    assert torch.equal(numbers[batch.order], places)
    norms = torch.cat([b.features.flatten().square().sum(1) for b in batch.buckets])[batch.order]
    torch.testing.assert_close(norms, torch.cat([t.flatten().square().sum(1) for t in thetas]))


@settings(max_examples=20, deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4))
def test_padding_stays_zero(given):
    batch = ws.pad([weights(space, 2) for space in given], waste=1e9)
    ones = batch.map(lambda t: torch.ones_like(t))
    assert sum(b.features.flatten().sum() for b in ones.buckets) == sum(2 * space.num_parameters for space in given)
    for theta in ones.unpad():
        assert all((t == 1).all() for t in theta.tensors)
    doubled = batch.map(torch.add, batch)
    for found, theta in zip(doubled.unpad(), batch.unpad(), strict=True):
        assert torch.equal(found.flatten(), 2 * theta.flatten())


def test_what_corresponds_shares_a_bucket():
    thetas = [weights(space, 1) for space in (ws.mlp([2, 5, 1]), ws.mlp([2, 7, 7, 1]), ws.mlp([2, 9, 1], "tanh"))]
    batch = ws.pad(thetas)
    assert [[space.summary() for space in b.spaces] for b in batch.buckets] == [["2-5-1", "2-9-1"], ["2-7-7-1"]]
    assert batch.places == ((0, 0), (1, 0), (0, 1))
    # inputs and outputs stand for different things where their numbers differ
    assert len(ws.pad([weights(ws.mlp([2, 5, 1]), 1), weights(ws.mlp([3, 5, 1]), 1)]).buckets) == 2


def test_buckets_are_split_where_padding_wastes_too_much():
    thetas = [weights(ws.mlp([2, width, width, 1]), 2) for width in (4, 40, 5, 41)]
    assert [len(b) for b in ws.pad(thetas).buckets] == [4, 4]
    together = ws.pad(thetas, waste=float("inf"))
    assert len(together.buckets) == 1
    assert 1.5 < together.overhead < 4 * 41**2 / (4**2 + 5**2 + 40**2 + 41**2) + 0.1


def test_taps_are_centred():
    """The middle of a kernel of 3 taps is that of one of 5; of 2 it is the second, as of 4."""
    thetas = [weights(conv_space(channels=(2, 3, 3), taps=taps), 1) for taps in (3, 5, 2)]
    (bucket,) = ws.pad(thetas, waste=1e9).buckets
    kernels = dict(zip(bucket.spaces, bucket.features["first.weight"], strict=True))
    for theta, part in zip(thetas, (slice(1, 4), slice(0, 5), slice(1, 3)), strict=True):
        kernel = kernels[theta.space]
        assert torch.equal(kernel[:, :, part, part], theta["first.weight"][0])
        assert kernel.count_nonzero() == theta["first.weight"].count_nonzero()


def test_other_dtypes_and_devices():
    batch = ws.pad([weights(ws.mlp([2, n, 1]), 1) for n in (3, 5)])
    assert batch.to(torch.float64).dtype == torch.float64
    assert batch.to("meta").device.type == batch.to("meta").order.device.type == "meta"
    assert batch.channels == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "pad takes a list of weight features, each of one architecture; found none"),
        ([torch.zeros(1)], "found Tensor"),
        (lambda a, b: [a, b.to(torch.float64)], "networks of one batch have one dtype, found torch.float32 and"),
        (lambda a, b: [a, b.concatenate(b)], "one channels, found 1 and 2"),
    ],
)
def test_bad_input(given, message):
    if callable(given):
        given = given(*(weights(ws.mlp([2, n, 1]), 1) for n in (3, 5)))
    with pytest.raises(ws.SpaceError, match=message):
        ws.pad(given)


@pytest.mark.parametrize("waste", [0, 0.99, float("nan"), "2"])
def test_waste_below_one(waste):
    with pytest.raises(ws.SpaceError, match=r"waste: expected a number from 1 on"):
        ws.pad([weights(ws.mlp([2, 3, 1]), 1)], waste=waste)
