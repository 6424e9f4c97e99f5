"""Networks that take different architectures in one batch."""

import pytest
import torch
from _spaces import attention_space, conv_space, depthwise_space, grouped_space, norm_space, residual_space
from torch import nn

import weightspace as ws
from weightspace.testing import assert_equivariant, assert_invariant

SPACES = [
    conv_space("relu", (2, 3, 5), 3, 4),
    conv_space("tanh", (2, 6, 4), 1, 2),
    conv_space("relu", (2, 2, 2), 4, 3),
    residual_space("tanh", 5, 3, blocks=2, taps=1),
    residual_space("relu", 3, 4, blocks=2, taps=3),
    residual_space("relu", 4, 4, blocks=1, taps=2),
    norm_space((2, 3, 4), 3, 2),
    norm_space((2, 5, 2), 2, 1),
]
OPTIONS = {
    "gmn": {"reduction": "sum"},
    "gmn, mean": {"reduction": "mean"},
    "gmn, max": {"reduction": "max"},
    "gmn, one way": {"bidirectional": False},
    "ng-gnn": {"fourier": None},
    "ng-gnn, fourier": {"fourier": 4},
}
TASKS = pytest.mark.parametrize("task", ["equivariant", "invariant"])
NETS = pytest.mark.parametrize("net", OPTIONS)


def weights(space, batch, dtype=torch.float64):
    generator = torch.Generator().manual_seed(space.num_parameters)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    return space.features({n: torch.randn(s, generator=generator, dtype=dtype) for n, s in shapes.items()})


def build(net, task, spaces=SPACES, **options):
    torch.manual_seed(0)
    outputs = {"out_channels": 2} if task == "equivariant" else {"out_features": 3}
    options = {"hidden": 8, "depth": 3, "dropout": 0.0} | OPTIONS[net] | outputs | options
    return ws.build(net.partition(",")[0], spaces, task, **options).double()


def outputs(net, batch):
    """One vector for each weight features that were padded, all outputs of their networks."""
    out = net(batch)
    if isinstance(out, torch.Tensor):
        return list(out.split([len(theta) for theta in batch.unpad()]))
    return [theta.flatten() for theta in out.unpad()]


@TASKS
@NETS
def test_padding_changes_no_output_and_no_gradient(net, task):
    thetas = [weights(space, 1 + i % 3).map(lambda t: t.requires_grad_()) for i, space in enumerate(SPACES)]
    net = build(net, task)
    batch = ws.pad(thetas, waste=1e9)
    assert len(batch.buckets) == 4
    assert batch.overhead > 1.3
    together = outputs(net, batch)
    alone = [outputs(net, ws.pad([theta]))[0] for theta in thetas]
    probes = [torch.randn_like(out) for out in alone]
    leaves = [*(t for theta in thetas for t in theta.tensors), *net.parameters()]
    for found, expected in zip(together, alone, strict=True):
        assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
    gradients = [
        torch.autograd.grad(sum((o * p).sum() for o, p in zip(outs, probes, strict=True)), leaves, allow_unused=True)
        for outs in (together, alone)
    ]
    for found, expected in zip(*gradients, strict=True):
        assert (found is None) is (expected is None)
        assert found is None or (found - expected).abs().max() <= 1e-11 * (1e-3 + expected.abs().max())


@TASKS
@NETS
def test_each_architecture_by_itself_is_respected(net, task):
    net = build(net, task)
    for space in (SPACES[0], SPACES[4], SPACES[6]):
        (assert_equivariant if task == "equivariant" else assert_invariant)(net, space)


@NETS
def test_products_and_shared_factors_are_padded_too(net):
    """Heads and coordinates, and groups of convolutions, in other numbers; and a node for the whole network."""
    pairs = (
        (attention_space(1, 4, 3, 2), attention_space(1, 5, 2, 3)),
        (grouped_space(3), grouped_space(2)),
        (depthwise_space(4, 3), depthwise_space(2, 1)),
    )
    for spaces in pairs:
        net_ = build(net, "equivariant", spaces)
        thetas = [weights(space, 2).map(lambda t: t.requires_grad_()) for space in spaces]
        together = net_(ws.pad(thetas, waste=1e9)).unpad()
        for found, theta in zip(together, thetas, strict=True):
            expected = net_(theta).flatten()
            assert (found.flatten() - expected).abs().max() <= 1e-12 * expected.abs().max()
            ours, theirs = (
                torch.autograd.grad(out.square().sum(), theta.tensors, retain_graph=True)
                for out in (found.flatten(), expected)
            )
            for x, y in zip(ours, theirs, strict=True):
                assert (x - y).abs().max() <= 1e-11 * (1e-3 + y.abs().max())


@TASKS
def test_shapes_and_what_comes_back(task):
    net, thetas = build("gmn", task), [weights(space, 2) for space in SPACES]
    out = net(ws.pad(thetas))
    if task == "invariant":
        assert out.shape == (2 * len(SPACES), 3)
        assert net(thetas[3]).shape == (2, 3)
        return
    assert [theta.space for theta in out.unpad()] == SPACES
    assert all(theta.channels == 2 for theta in out.unpad())
    assert net(thetas[3]).space == SPACES[3]
    for bucket in out.buckets:  # what stands in the padding is zero
        assert torch.equal(bucket.replaced(bucket.features).features.flatten(), bucket.features.flatten())


def test_architectures_that_were_not_seen():
    """Other widths, shorter kernels, fewer blocks, other combinations of activations and depths."""
    net = build("gmn", "equivariant")
    for space in (
        conv_space("tanh", (2, 9, 8), 2, 3),
        conv_space("relu", (2, 1, 1), 1, 1),
        residual_space("tanh", 9, 1, blocks=1, taps=1),
        norm_space((2, 7, 7), 1, 1),
    ):
        assert space not in SPACES
        assert_equivariant(net, space)


def test_activations_are_seen():
    net = build("gmn", "invariant")
    relu, tanh = conv_space("relu", (2, 3, 3), 3, 4), conv_space("tanh", (2, 3, 3), 3, 4)
    theta = weights(relu, 1)
    assert (net(theta) - net(ws.WeightFeatures(tanh, theta.tensors))).abs().max() > 1e-6


def test_codes_are_shared_by_place_and_role():
    """Two architectures of one depth have the same parameters; the map of a kernel is the middle of the longest."""
    names = {name for name, _ in build("gmn", "invariant", SPACES[:1]).named_parameters()}
    assert names == {name for name, _ in build("gmn", "invariant", SPACES[:3]).named_parameters()}
    wider = build("gmn", "invariant", [conv_space(channels=(2, 30, 40))])
    assert names == {name for name, _ in wider.named_parameters()}
    net = build("gmn", "invariant", SPACES[:3])
    assert net.net[0].edge.maps.weight["weight_2_0"].shape == (8, 4, 4, 1)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (residual_space("relu", 4, 4, blocks=3), r"at most 3 hidden neuron groups, found 'hidden2'.*depth="),
        (conv_space(taps=7), r"'first.weight': weight_2_0 with plain axes \(7, 7\).*at most \(4, 4\).*taps="),
        (conv_space(channels=(3, 3, 3)), r"neuron group 'image': input, units \(3,\); this network takes \(2,\)"),
        (conv_space(outputs=5), r"neuron group 'output': output, units \(5,\); this network takes \(2,\)"),
        (conv_space("gelu"), r"takes the activations relu, tanh; build it with a space that has gelu too"),
        (attention_space(), "neuron group 'vocabulary'"),
        (grouped_space(), r"neuron group 'groups.a': hidden, units .3, 2.; this network takes none such"),
    ],
)
def test_beyond_the_limits(space, message):
    for net in (build("gmn", "invariant"), build("gmn", "equivariant")):
        with pytest.raises(ws.ModelError, match=message):
            net(ws.pad([weights(space, 1)]))


def test_wider_limits():
    family = ws.SpaceFamily(SPACES, depth=5, taps=7)
    net = build("gmn", "equivariant", family)
    for space in (residual_space("relu", 4, 4, blocks=4), conv_space(taps=7)):
        assert_equivariant(net, space)
    with pytest.raises(ws.ModelError, match=r"at most 5 hidden neuron groups"):
        net(weights(residual_space("relu", 4, 4, blocks=5), 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ws.build("scalegmn", SPACES), "scalegmn takes networks of one architecture; those of several: gmn, n"),
        (lambda: ws.build("gmn", []), "at least one weight space, found none"),
        (
            lambda: ws.build("gmn", [ws.mlp([2, 3, 1]), ws.mlp([3, 3, 1])]),
            "spaces of a family need the same inputs.* of neuron group 'input' number 2 in one and 3 in",
        ),
        (lambda: ws.build("gmn", SPACES, standardize="scale"), "gmn has no option standardize"),
        (lambda: ws.build("ng-gnn", SPACES, published=True), "published: not of a family"),
        (lambda: ws.build("gmn", SPACES)(weights(SPACES[0], 1)), "torch.float32 on cpu; found 1, torch.float64"),
        (lambda: ws.build("gmn", SPACES, in_channels=2)(weights(SPACES[0], 1)), "with 2 channels"),
        (lambda: ws.build("gmn", SPACES)([weights(SPACES[0], 1)]), "expected networks that ws.pad has put together"),
        (lambda: ws.build("gmn", [SPACES[0], 3]), "space: expected weight spaces, found int"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ws.ModelError, match=message):
        call()


def test_the_symmetry_that_is_claimed():
    net = build("gmn", "equivariant", SPACES[3:5])
    assert list(net.symmetries) == SPACES[3:5]
    for group in net.symmetries.values():
        assert_equivariant(net, group.space, group=group)


def test_training_on_different_depths_and_widths():
    """What tells architectures apart is learned, in order: the number of hidden units."""
    torch.manual_seed(0)
    widths = [[2], [6], [2, 3], [5, 4]]
    thetas = [ws.mlp([2, *hidden, 2]).sample(2) for hidden in widths]
    batch = ws.pad(thetas, waste=1e9)
    target = torch.tensor([sum(hidden) / 10 for hidden in widths]).repeat_interleave(2)[:, None]
    net = ws.build("gmn", [theta.space for theta in thetas], "invariant", hidden=8, depth=2, dropout=0.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(50):
        loss = (net(batch) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * target.var()


def test_traced_networks():
    """Convolutions, a shortcut and linear layers, read off modules."""
    torch.manual_seed(0)
    thetas = []
    for width in (2, 3):
        module = nn.Sequential(
            nn.Conv2d(1, width, width), nn.ReLU(), nn.Flatten(), nn.Linear(width * (5 - width) ** 2, 2)
        )
        thetas.append(ws.from_module(module, torch.randn(2, 1, 4, 4)).stack([module]))
    net = build("gmn", "invariant", [theta.space for theta in thetas]).float()
    batch = ws.pad(thetas, waste=1e9)
    assert len(batch.buckets) == 1
    torch.testing.assert_close(net(batch), torch.cat([net(theta) for theta in thetas]))
