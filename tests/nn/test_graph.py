"""Which nodes and edges the parameters of a network become."""

import pytest
import torch
from _spaces import (
    attention_space,
    conv_space,
    depthwise_space,
    grouped_space,
    input_norm_space,
    norm_space,
    residual_space,
    small_spaces,
)

import weightspace as ws
from weightspace.nn import Graph, GraphDecoder, GraphEncoder
from weightspace.testing import assert_equivariant

SPACES = small_spaces() | {"grouped": grouped_space(), "input norm": input_norm_space(), "chain": ws.mlp((2, 3, 4, 1))}
EVERY = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def weights(space, batch=2):
    generator = torch.Generator().manual_seed(0)
    return space.features({p.name: torch.randn(batch, *p.shape, 1, generator=generator) for p in space.parameters})


def joins(space):
    """For each block its ends, the parameters in it, and into how many parts it falls."""
    names = [p.name for p in space.parameters]
    return {(b.source, b.target): ([names[m.parameter] for m in b.members], b.shared) for b in Graph(space).blocks}


def features(space):
    """The parameters that are features of nodes."""
    names = [p.name for p in space.parameters]
    return {name: [names[m.parameter] for m in own] for name, own in Graph(space).nodes.items() if own}


@EVERY
def test_every_parameter_is_read_once(space):
    graph = Graph(space)
    members = [m for own in graph.nodes.values() for m in own] + [m for b in graph.blocks for m in b.members]
    assert sorted(m.parameter for m in members) == list(range(len(space.parameters)))
    assert all(block.shared * block.rows == graph.sets[block.target].size for block in graph.blocks)
    assert all(block.shared * block.columns == graph.sets[block.source].size for block in graph.blocks)


def test_parallel_branches_and_shortcuts():
    assert joins(residual_space(blocks=1)) == {
        ("image", "stream"): (["stem.weight"], 1),
        ("stream", "hidden0"): (["0.up.weight"], 1),
        ("hidden0", "stream"): (["0.down.weight", "0.beside.weight"], 1),
        ("stream", "stream"): (["shortcut.weight"], 1),
        ("stream", "output"): (["head.weight"], 1),
    }


def test_norms_are_features_of_the_units_they_are_tied_to():
    assert features(norm_space()) == {
        f"pre{i}": [f"norm{i}.{name}" for name in ("weight", "bias", "running_mean", "running_var")] for i in (0, 1)
    } | {"output": ["head.bias"]}


def test_heads_and_coordinates_are_one_set_and_belong_together():
    qk, v = "heads0*qk0", "heads0*v0"
    found = joins(attention_space())
    assert found["stream", qk] == (["0.query.weight", "0.key.weight"], 1)  # keys have their coordinates on the in side
    assert found["stream", v] == (["0.value.weight"], 1)
    assert found[v, "stream"] == (["0.out.weight"], 1)
    assert found["vocabulary", "stream"] == (["token.weight"], 1)
    for part in (qk, v):
        assert found["heads0", part] == found[part, "heads0"] == ([], 2)
    assert features(attention_space())[qk] == ["0.query.bias", "0.key.bias"]


def test_groups_of_convolutions_are_shared_by_both_ends():
    found = joins(grouped_space())
    assert found["image", "groups*a"] == (["first.weight"], 1)
    assert found["groups*a", "groups*b"] == (["second.weight"], 3)
    assert found["groups*b", "groups*c"] == (["third.weight"], 3)
    assert found["groups*c", "output"] == (["head.weight"], 1)
    assert features(grouped_space())["groups*a"] == ["first.bias"]


def test_what_has_no_units_is_the_whole_networks():
    found = joins(depthwise_space())
    assert features(depthwise_space())["*"] == ["temperature"]
    assert features(depthwise_space())["a"] == ["depthwise.weight", "depthwise.bias"]
    for name in ("image", "a", "c", "output"):
        assert found["*", name] == found[name, "*"] == ([], 1)


def test_depth_counts_hidden_sets_and_fixed_units_are_marked():
    sets = Graph(norm_space()).sets
    assert [(s.name, s.kind, s.place, s.fixed) for s in sets.values()] == [
        ("image", "input", 0, (True,)),
        ("pre0", "hidden", 0, (False,)),
        ("pre1", "hidden", 1, (False,)),
        ("output", "output", 0, (True,)),
    ]


INDEX = {  # where an entry stands: (target node, source node)
    "0.query.weight": lambda h, c, s: (2 * h + c, s),
    "0.key.weight": lambda h, c, s: (2 * h + c, s),
    "0.out.weight": lambda s, h, c: (s, 2 * h + c),
    "token.weight": lambda v, s: (s, v),
    "0.up.weight": lambda i, j: (i, j),
    "shortcut.weight": lambda i, j: (i, j),
    "second.weight": lambda g, o, i, *_: (3 * g + o, 2 * g + i),
    "third.weight": lambda g, o, i: (2 * g + o, 3 * g + i),
    "head.weight": lambda o, g, c, *_: (o, 2 * g + c),
}
CASES = [(attention_space(), n) for n in ("0.query.weight", "0.key.weight", "0.out.weight", "token.weight")]
CASES += [(residual_space(), "shortcut.weight"), (residual_space(), "0.up.weight")]
CASES += [(grouped_space(), n) for n in ("second.weight", "third.weight", "head.weight")]


@pytest.mark.parametrize(("space", "name"), CASES, ids=[name for _, name in CASES])
def test_every_entry_stands_on_its_edge(space, name):
    theta, graph, position = weights(space), Graph(space), space.position(name)
    for block in graph.blocks:
        for member in block.members:
            if member.parameter == position:
                folded = member.fold(theta, 2 * block.shared, block.rows, block.columns)
                dense = block.spread(folded)
                assert torch.equal(member.unfold(folded, 2, 1), theta[name])
                assert torch.equal(block.gather(dense), folded)
    expected = torch.zeros_like(dense)
    for at in torch.ones(space.parameters[position].shape).nonzero().tolist():
        plain = len(at) - len(space.parameters[position].groups)
        tap = 0
        for size, i in zip(space.parameters[position].shape[len(at) - plain :], at[len(at) - plain :], strict=True):
            tap = size * tap + i
        expected[(slice(None), *INDEX[name](*at), tap)] = theta[name][(slice(None), *at, 0)]
    assert torch.equal(dense, expected)


@EVERY
def test_encoder_and_decoder_lose_and_mix_up_nothing(space):
    """Together they are an equivariant affine map of the weights, whose matrix has full rank."""
    torch.manual_seed(0)
    decoder = GraphDecoder(space, 1, 16)
    net = torch.nn.Sequential(GraphEncoder(space, 1, decoder.width), decoder).double()
    assert_equivariant(net, space, space.symmetry("permutation"))

    def flat(*tensors):
        return net(ws.WeightFeatures(space, tensors)).flatten()[0]

    parts = torch.autograd.functional.jacobian(flat, weights(space, 1).to(torch.float64).tensors)
    matrix = torch.cat([part.flatten(1) for part in parts], 1)
    assert torch.linalg.matrix_rank(matrix) == space.num_parameters


@pytest.mark.parametrize("space", [attention_space(), attention_space(heads=2, coordinates=3)])
def test_which_coordinates_share_a_head_is_seen(space):
    """Coordinates are exchanged between heads, in queries and keys alike, which is no symmetry."""
    torch.manual_seed(0)
    net = ws.build("gmn", space, "invariant", hidden=8, depth=3).double().eval()
    theta = weights(space).to(torch.float64)
    exchanged = {}
    for name, tensor in theta.items():
        if "query" in name or "key" in name:
            flat = tensor.flatten(1, 2).clone()
            flat[:, [0, -1]] = flat[:, [-1, 0]]
            tensor = flat.view_as(tensor)
        exchanged[name] = tensor
    with torch.no_grad():
        assert (net(space.features(exchanged)) - net(theta)).abs().max() > 1e-6 * net(theta).abs().max()


def test_padded_codes_and_kernels_are_centred():
    """A kernel of 3 taps is read by the middle of the map for 5."""
    family = ws.SpaceFamily([conv_space(taps=3), conv_space(taps=5)])
    torch.manual_seed(0)
    encoder = GraphEncoder(family, 1, 8)
    weight = encoder.edge.maps.weight["weight_2_0"]
    member = Graph(conv_space(taps=3)).blocks[0].members[0]
    unit = torch.eye(9)
    torch.testing.assert_close(encoder.edge.maps.encode(member, unit), weight[:, 1:4, 1:4, 0].flatten(1).T)
