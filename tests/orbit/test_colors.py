import pytest
import torch
from _orbits import networks
from _spaces import attention_space, small_spaces

import weightspace as ws
from weightspace.group import PERMUTATION, TRIVIAL
from weightspace.orbit import wl_colors
from weightspace.orbit._colors import classes
from weightspace.space import Axis, NeuronGroup, Parameter, SymmetryGroup, WeightSpace


def slow_colors(theta):
    """Colour refinement of networks with matrices and vectors alone, from its definition, by sorting tuples.

    Group of all: permutations of hidden neurons. A neuron sees, for each parameter, the entries with the colours that
    they lead to.
    """
    space = theta.space
    color = {
        (b, g.name, i): i if g.kind != "hidden" else 0
        for b in range(len(theta))
        for g in space.groups
        for i in range(g.size)
    }

    def signature(b, name, i):
        seen = [color[b, name, i]]
        for parameter, tensor in zip(space.parameters, theta.tensors, strict=True):
            entries, names = tensor[b, ..., 0], [axis.group for axis in parameter.axes]
            if names == [name]:
                seen.append((float(entries[i]),))
            elif name in names:
                row, other = (entries[i], names[1]) if names[0] == name else (entries[:, i], names[0])
                seen.append(tuple(sorted((float(w), color[b, other, j]) for j, w in enumerate(row))))
        return tuple(seen)

    count = 0
    while len(set(color.values())) != count:
        count = len(set(color.values()))
        hidden = [key for key in color if space.group(key[1]).kind == "hidden"]
        signatures = {key: (key[1], signature(*key)) for key in hidden}
        numbers = {s: n for n, s in enumerate(sorted(set(signatures.values())))}
        color = {key: numbers[signatures[key]] if key in signatures else color[key] for key in color}
    return color


def partition(colors):
    """The classes of equal values."""
    found = {}
    for key, value in colors.items():
        found.setdefault(value, set()).add(key)
    return {frozenset(c) for c in found.values()}


@pytest.mark.parametrize("dims", [[1, 3, 1], [1, 4, 4, 1], [2, 3, 4, 3, 2]])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition(dims, seed):
    """On networks of few different weights, in which many neurons look alike."""
    space = ws.mlp(dims)
    theta = networks(space, 6, seed).map(lambda t: (t > 0.7).to(t))
    found = wl_colors(theta, "permutation")
    expected = slow_colors(theta)
    for name, colors in found.items():
        if space.group(name).kind == "hidden":
            ours = {(b, i): int(colors[b, i]) for b in range(6) for i in range(colors.shape[1])}
            assert partition(ours) == partition({(b, i): c for (b, n, i), c in expected.items() if n == name})


ALL = {name: space.symmetry("permutation") for name, space in small_spaces().items()}
ALL["conv-tanh, signs"] = small_spaces()["conv-tanh"].symmetry()
ALL["attention, wide"] = attention_space(2, 6, 3, 2).symmetry("permutation")


@pytest.mark.parametrize(
    ("group", "many"),
    [(group, many) for name, group in ALL.items() for many in (True, False) if many or "signs" not in name],
    ids=lambda x: x.space.summary() if isinstance(x, SymmetryGroup) else "generic" if x else "few weights",
)
def test_colours_move_with_the_neurons(group, many):
    theta = networks(group.space, 3)
    if not many:  # few colours; where all entering weights are zero, signs would be open
        theta = theta.map(lambda t: (t > 1).to(t))
    element = group.sample(3, torch.Generator().manual_seed(0), dtype=torch.float64)
    both = theta.map(lambda a, b: torch.cat([a, b]), group.act(element, theta))
    colors = wl_colors(both, group)
    assert set(colors) == {g.name for g in group.space.groups}
    for neurons in group.space.groups:
        before, after = colors[neurons.name].split(3)
        order = element[neurons.units].permutation
        assert torch.equal(after, before if order is None else before.gather(1, order))
        if many and neurons.kind == "hidden":
            assert len(before.unique()) == before.numel()  # generic networks share no colour


def test_colours_of_one_network_do_not_depend_on_the_others_but_their_numbers_do():
    theta = networks(ws.mlp([2, 5, 4, 1]), 4).map(torch.round)
    together = wl_colors(theta, "permutation")
    for i in range(4):
        alone = wl_colors(theta[i], "permutation")
        for name, colors in alone.items():
            ours = dict(enumerate(together[name][i].tolist()))
            assert partition(ours) == partition(dict(enumerate(colors[0].tolist())))


def test_the_pair_that_refinement_does_not_tell_apart():
    theta, phi = ws.theory.wl_pair()
    colors = wl_colors(theta.map(lambda a, b: torch.cat([a, b]), phi), "permutation")
    assert len(colors["hidden1"].unique()) == len(colors["hidden2"].unique()) == 1
    # one bias of one network breaks the tie there
    marked = theta.space.features({**theta, "0.bias": theta["0.bias"] + torch.eye(4)[:1, :, None]})
    colors = wl_colors(marked, "permutation")
    assert [len(colors[name].unique()) for name in ("hidden1", "hidden2")] == [3, 2]


def test_both_networks_of_one_colouring_are_told_apart_by_their_colours():
    """Discrete in each of both, and yet no colour is in both: they differ far from the neurons of one layer."""
    space = ws.mlp([1, 4, 4, 4, 1])
    theta = networks(space, 1)
    phi = space.features({**theta, "6.weight": theta["6.weight"] + 1})
    colors = wl_colors(theta.map(lambda a, b: torch.cat([a, b]), phi), "permutation")
    for name in ("hidden1", "hidden2", "hidden3"):
        ours, theirs = (set(row.tolist()) for row in colors[name])
        assert len(ours) == len(theirs) == 4
        assert not ours & theirs


def loops(matrices):
    groups = (NeuronGroup("h", matrices.shape[-1]),)
    axes = (Axis(matrices.shape[-1], "h", "out"), Axis(matrices.shape[-1], "h", "in"))
    space = WeightSpace(groups, (Parameter("loop", axes),))
    return space.features({"loop": matrices[..., None]}), SymmetryGroup(space, (PERMUTATION,))


def test_the_diagonal_of_a_loop_is_seen():
    """Rows and columns with the same entries, of which some are on the diagonal."""
    matrix = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    colors = wl_colors(*loops(matrix[None]))["h"][0].tolist()
    assert colors[0] == colors[1] != colors[2] == colors[3]


def test_paths_are_told_apart_by_distance():
    path = torch.diag(torch.ones(6), 1) + torch.diag(torch.ones(6), -1)
    colors = wl_colors(*loops(path[None]))["h"][0].tolist()
    assert colors == colors[::-1]
    assert len(set(colors)) == 4


def test_units_that_are_not_permuted_are_numbered():
    space = ws.mlp([2, 3, 1])
    theta = networks(space, 2)
    colors = wl_colors(theta, SymmetryGroup(space, (TRIVIAL,) * 3))
    assert {name: c.tolist() for name, c in colors.items()} == {
        "input": [[0, 1]] * 2,
        "hidden1": [[0, 1, 2]] * 2,
        "output": [[0]] * 2,
    }


def test_scales_are_divided_out():
    space = ws.mlp([2, 4, 1])
    group = space.symmetry()
    theta = networks(space, 1).map(torch.round)
    powers = group.sample(1, torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = powers["hidden1"]._replace(scale=torch.tensor([[0.5, 4.0, 2.0, 16.0]], dtype=torch.float64))
    moved = group.act({**powers, "hidden1": matrix}, theta)
    both = theta.map(lambda a, b: torch.cat([a, b]), moved)
    before, after = wl_colors(both)["hidden1"]
    assert torch.equal(after, before[matrix.permutation[0]])
    before, after = wl_colors(both, "permutation")["hidden1"]
    assert not set(before.tolist()) & set(after.tolist())


def test_classes_are_chains_of_near_entries():
    x = torch.tensor([[3.0, 1.0, 1.1, 0.0], [-0.0, 1.2, 5.0, 1.0]])
    assert classes(x, 1).tolist() == [[3, 1, 2, 0], [0, 2, 3, 1]]
    assert classes(x, 2).tolist() == [[4, 1, 2, 0], [0, 3, 5, 1]]
    assert classes(x, 2, 0.11).tolist() == [[2, 1, 1, 0], [0, 1, 3, 1]]
    assert classes(x, 1, torch.tensor([0.0, 2.0])).tolist() == [[3, 1, 2, 0], [0, 0, 1, 0]]
