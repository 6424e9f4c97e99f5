"""Networks in and out of weight features, and what they compute."""

import json
import math
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils import _pytree as pytree

import weightspace as ws
from weightspace.space import Offset, Sine, from_description
from weightspace.testing.strategies import feed_forward_spaces


def module_of(space, seed=0):
    """The same architecture written with torch alone."""
    torch.manual_seed(seed)
    layers = []
    sizes = [g.size for g in space.groups]
    activation = space.groups[1].activation
    known = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "identity": nn.Identity}
    for a, b in pairwise(sizes):
        sine = activation.name == "sine"
        layers += [nn.Linear(a, b), Sine(activation.omega) if sine else known[activation.name]()]
    return nn.Sequential(*layers[:-1], Offset(space.output_offset)).double()


@settings(max_examples=30, deadline=None)
@given(feed_forward_spaces(max_width=9), st.integers(1, 3))
def test_realize_equals_the_modules_one_by_one(space, channels):
    modules = [[module_of(space, 10 * i + c) for c in range(channels)] for i in range(3)]
    stacked = [space.stack(column) for column in zip(*modules, strict=True)]
    theta = stacked[0].map(lambda *ts: torch.cat(ts, -1), *stacked[1:])
    shared = torch.randn(5, space.groups[0].size, dtype=torch.float64)
    own = torch.randn(3, 5, space.groups[0].size, dtype=torch.float64)
    for x in (shared, own):
        found = space.realize(theta, x)
        points = x if x.dim() == 3 else x.expand(3, -1, -1)
        expected = torch.stack([torch.stack([m(points[i]) for m in row], -1) for i, row in enumerate(modules)]).detach()
        expected = expected[..., 0] if channels == 1 else expected
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_stack_and_unstack_are_exact_and_keys_are_those_of_torch():
    space = ws.mlp([3, 8, 8, 2], activation="tanh")
    modules = [nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)) for _ in range(4)]
    theta = space.stack(modules)
    assert theta.keys() == tuple(modules[0].state_dict())
    assert theta["0.weight"].shape == (4, 8, 3, 1)
    for state, module in zip(space.unstack(theta), modules, strict=True):
        assert list(state) == list(module.state_dict())
        assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
        module.load_state_dict(state)
    rebuilt = space.to_module(theta[2])
    x = torch.randn(6, 3)
    assert torch.equal(rebuilt(x), modules[2](x))


def test_published_siren_definition():
    """Statistics of freshly drawn networks; and the output is sin-sin-linear plus one half."""
    space = ws.siren([2, 32, 32, 1], layer_names=["seq.0", "seq.1", "seq.2"])
    theta = space.sample(2000, torch.Generator().manual_seed(0))
    bounds = {"seq.0.weight": math.sqrt(6 / 2) / 30, "seq.1.weight": math.sqrt(6 / 32) / 30, "seq.2.weight": 32**-0.5}
    for name, bound in bounds.items():
        assert theta[name].abs().max() <= bound
        assert theta[name].std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert theta["seq.0.bias"].abs().max() == theta["seq.1.bias"].abs().max() == 0
    assert theta["seq.2.bias"].std() == pytest.approx(32**-0.5 / math.sqrt(3), rel=0.05)
    one, x = theta[5].to(torch.float64), torch.rand(10, 2, dtype=torch.float64)
    w = [t[0, ..., 0] for t in one.values()]
    hidden = torch.sin(30 * (x @ w[0].T + w[1]))
    hidden = torch.sin(30 * (hidden @ w[2].T + w[3]))
    torch.testing.assert_close(space.realize(one, x)[0], hidden @ w[4].T + w[5] + 0.5)


def test_sampled_perceptrons_follow_torchs_default():
    space = ws.mlp([5, 50, 1])
    torch.manual_seed(0)
    ours = space.sample(400, torch.Generator().manual_seed(0))
    theirs = space.stack(nn.Sequential(nn.Linear(5, 50), nn.ReLU(), nn.Linear(50, 1)) for _ in range(400))
    for name in ours:
        assert ours[name].std() == pytest.approx(float(theirs[name].std()), rel=0.06)
        assert ours[name].abs().max() == pytest.approx(float(theirs[name].abs().max()), rel=0.02)


def test_features_are_an_immutable_mapping_and_a_pytree():
    space = ws.mlp([2, 3, 1])
    theta = space.sample(5)
    assert len(theta) == 5
    assert list(theta) == list(theta.keys())
    assert "0.weight" in theta
    assert "1.weight" not in theta
    assert len(theta[1:4]) == 3
    assert len(theta[-1]) == 1
    assert torch.equal(theta[-1]["0.bias"], theta["0.bias"][-1:])
    assert torch.equal(theta[torch.tensor([3, 1])]["0.bias"], theta["0.bias"][[3, 1]])
    assert theta.to(torch.float64).dtype == torch.float64
    with pytest.raises(AttributeError):
        theta.tensors = ()
    with pytest.raises(IndexError, match="network 5 of a batch of 5"):
        theta[5]
    assert len(theta[[4, 0]]) == 2
    assert len(theta[theta["2.bias"].flatten() > -10]) == 5
    assert theta.get("0.bias") is theta["0.bias"]
    assert theta.get("none") is None
    leaves, spec = pytree.tree_flatten(theta)
    assert len(leaves) == 4
    assert torch.equal(pytree.tree_unflatten(leaves, spec).flatten(), theta.flatten())
    assert [str(path[0]) for path, _ in pytree.tree_leaves_with_path(theta)] == [f"[{name!r}]" for name in theta]
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    doubled = pytree.tree_map(lambda t: 2 * t, theta)
    assert torch.equal(doubled.flatten(), (theta + theta).flatten())
    assert torch.equal((2 * theta - theta).flatten(), theta.flatten())


def test_features_pass_through_vmap():
    space = ws.mlp([2, 3, 1], activation="tanh")
    theta, x = space.sample(4), torch.randn(6, 2)
    one_by_one = torch.func.vmap(lambda t: space.realize(t.map(lambda a: a[None]), x)[0])(theta)
    torch.testing.assert_close(one_by_one, space.realize(theta, x))


def test_spaces_that_differ_in_their_initialisation_alone_are_equal():
    assert ws.siren([2, 8, 1]) == ws.space.WeightSpace(
        ws.siren([2, 8, 1]).groups, ws.mlp([2, 8, 1], activation="sine").parameters, 0.5
    )
    wide, _ = ws.merge_ensemble(
        ws.siren([2, 8, 8, 1]), ws.siren([2, 8, 8, 1]).sample(1).map(lambda t: t.expand(*t.shape[:-1], 3))
    )
    assert wide == ws.siren([2, 24, 24, 1])
    assert wide.difference(ws.siren([2, 24, 24, 1], omega=20.0)).startswith("activations: expected")


@given(feed_forward_spaces())
def test_descriptions_survive_json(space):
    assert from_description(json.loads(json.dumps(space.describe()))) == space
    assert hash(pickle.loads(pickle.dumps(space))) == hash(space)


# ------------------------------------------------------------------------------------------------------- bad input


def state(space, **changes):
    return {**space.unstack(space.sample(1))[0], **changes}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.stack([state(s), {"0.weight": torch.zeros(3, 2)}]),
            r"network 1: .*missing \['0.bias', '2.weight'",
        ),
        (lambda s: s.stack([state(s, other=torch.zeros(1))]), r"unexpected \['other'\]"),
        (
            lambda s: s.stack([state(s, **{"0.bias": torch.zeros(4)})]),
            r"'0.bias' of network 0: expected shape \(3\), found \(4,\)",
        ),
        (
            lambda s: s.stack([state(s), state(s, **{"2.bias": torch.tensor([math.nan])})]),
            "'2.bias' has non-finite entries in network 1",
        ),
        (lambda s: s.stack(state(s)), "for one network pass"),
        (lambda s: s.stack([]), "at least one network"),
        (lambda s: s.stack([state(s, **{"2.bias": torch.zeros(1, dtype=torch.float64)})]), "torch.float64"),
        (lambda s: s.stack([state(s, **{"2.bias": torch.zeros(1, dtype=torch.int64)})]), "torch.int64"),
        (
            lambda s: s.features({p.name: torch.zeros(2, *p.shape) for p in s.parameters}),
            r"'0.weight': expected shape \(batch, 3, 2, channels\)",
        ),
        (
            lambda s: s.features({**dict(s.sample(2).items()), "2.bias": torch.zeros(3, 1, 1)}),
            r"'2.bias': expected shape \(2, 1, 1\), found \(3, 1, 1\)",
        ),
        (lambda s: s.unstack(s.sample(2).map(lambda t: t.expand(*t.shape[:-1], 2))), "1 channel, found 2"),
        (
            lambda s: s.realize(s.sample(2), torch.zeros(5, 3)),
            r"x: expected shape \(N, 2\) or \(2, N, 2\), found \(5, 3\)",
        ),
        (lambda s: s.realize(s.sample(2), torch.zeros(3, 5, 2)), r"found \(3, 5, 2\)"),
        (lambda s: s.realize(s.sample(2), torch.zeros(5, 2, dtype=torch.float64)), "x is torch.float64"),
        (lambda s: s.realize(ws.mlp([2, 4, 1]).sample(2), torch.zeros(5, 2)), "widths: expected 2-3-1, found 2-4-1"),
        (lambda s: s.sample(2)["1.weight"], "no parameter '1.weight'; this space has 0.weight"),
        (lambda s: s.to_module(s.sample(2)), "found a batch of 2"),
        (
            lambda s: s.sample(2) + ws.mlp([2, 3, 1], activation="tanh").sample(2),
            "expected .*relu.* found .*tanh",
        ),
        (lambda s: s.sample(2)[None], "selected by an int, a slice"),
        (lambda s: s.sample(2)[torch.zeros(2, 2)], "selected by an int, a slice"),
        (lambda s: s.sample(2) * torch.ones(4), "expected a number to multiply with"),
        (lambda s: s.stack([state(s), [1]]), "stack takes modules and state dicts, found list"),
        (
            lambda s: s.stack([state(s), {n: t.double() for n, t in state(s).items()}]),
            "is torch.float64, in network 0 it is torch.float32",
        ),
        (lambda s: ws.mlp([2, "a", 1]), "at least two positive integers"),
        (lambda s: ws.mlp(5), "at least two positive integers"),
        (lambda s: ws.siren([2, 3, 1], omega=0), "omega: expected a positive number, found 0"),
        (lambda s: ws.mlp([2]), "at least two positive integers"),
        (lambda s: ws.mlp([2, 0, 1]), "at least two positive integers"),
        (lambda s: ws.siren([2, 0, 1]), "at least two positive integers"),
        (lambda s: ws.mlp([2, 3, 1], activation="swish"), "unknown activation 'swish'; known: relu"),
        (lambda s: ws.mlp([2, 3, 1], layer_names=["a"]), "expected 2 names"),
    ],
)
def test_bad_input_gets_one_clear_error(call, message):
    with pytest.raises(ws.SpaceError, match=message):
        call(ws.mlp([2, 3, 1]))


@pytest.mark.parametrize(
    "use",
    [
        lambda s, net: s.unstack(net),
        lambda s, net: s.to_module(net),
        lambda s, net: s.realize(net, torch.zeros(1, 2)),
        lambda s, net: s.symmetry().act(s.symmetry().identity(1), net),
        lambda s, net: ws.canonicalize(net),
        lambda s, net: ws.same_orbit(net, s.sample(1)),
        lambda s, net: ws.align(s.sample(1), net),
        lambda s, net: ws.merge(net, s.sample(1)),
    ],
)
def test_a_module_in_the_place_of_weight_features_is_named(use):
    space = ws.mlp([2, 4, 1])
    with pytest.raises(ws.SpaceError, match=r"expected weight features, as space\.stack.* found Sequential"):
        use(space, space.to_module(space.sample(1)))


def test_a_checkpoint_with_the_state_dict_inside_is_named():
    space = ws.mlp([2, 4, 1])
    with pytest.raises(ws.SpaceError, match="network 0 holds a dictionary under 'state_dict'"):
        space.stack([{"epoch": torch.tensor(3), "state_dict": space.unstack(space.sample(1))[0]}])
