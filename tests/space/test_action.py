"""The action on spaces with heads, tied groups, diagonal and neutral axes."""

import json

import pytest
import torch
from _spaces import attention_space, depthwise_space, norm_space, small_spaces

import weightspace as ws
from weightspace.group import GENERAL_LINEAR, Monomial
from weightspace.space import from_description


def weights(space, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return space.features(
        {p.name: torch.randn(batch, *p.shape, 1, generator=generator, dtype=torch.float64) for p in space.parameters}
    )


def error(a, b):
    return float((a - b).flatten().abs().max() / b.flatten().abs().max())


@pytest.mark.parametrize("name", list(small_spaces()))
def test_elements_form_a_group(name):
    space = small_spaces()[name]
    group, theta = space.symmetry(), weights(space)
    generator = torch.Generator().manual_seed(1)
    g, h = (group.sample(3, generator, dtype=torch.float64) for _ in range(2))
    moved = group.act(g, theta)
    assert error(moved, theta) > 0.1
    assert error(group.act(group.compose(h, g), theta), group.act(h, moved)) < 1e-12
    assert error(group.act(group.inverse(g), moved), theta) < 1e-11
    assert torch.equal(group.act(group.identity(3, dtype=torch.float64), theta).flatten(), theta.flatten())


@pytest.mark.parametrize("name", list(small_spaces()))
def test_a_description_in_json_gives_the_space_back(name):
    space = small_spaces()[name]
    assert from_description(json.loads(json.dumps(space.describe()))) == space


def test_queries_and_keys_are_moved_against_each_other():
    space = attention_space()
    assert "general_linear" in {factor.name for factor in space.symmetry().factors}
    (qk,) = [
        g.name
        for g in space.groups
        if g.over
        and any(a.group == g.name and a.side == "in" and i == 1 for p in space.parameters for i, a in enumerate(p.axes))
    ][:1]
    of_q = next(
        p.name for p in space.parameters if len(p.axes) == 3 and (qk, "out") in [(a.group, a.side) for a in p.axes]
    )
    of_k = next(
        p.name for p in space.parameters if len(p.axes) == 3 and (qk, "in") in [(a.group, a.side) for a in p.axes]
    )
    theta = weights(space)
    group = space.symmetry()
    element = group.identity(3, dtype=torch.float64)
    element[qk] = GENERAL_LINEAR.sample(3, space.group(qk).size, heads=2, dtype=torch.float64)._replace(
        permutation=element[qk].permutation
    )
    moved = group.act(element, theta)
    scores = [torch.einsum("bhcs,bhct->bhst", t[of_q][..., 0], t[of_k][..., 0]) for t in (theta, moved)]
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.allclose(theta[of_q], moved[of_q])


def test_a_running_variance_is_permuted_and_never_scaled():
    space = norm_space()
    neutral = [p.name for p in space.parameters if any(a.group and a.side is None for a in p.axes)]
    assert neutral
    theta, group = weights(space), space.symmetry()
    moved = group.act(group.sample(3, dtype=torch.float64), theta)
    for name in neutral:
        torch.testing.assert_close(moved[name].flatten(1).sort().values, theta[name].flatten(1).sort().values)


def test_subgroups():
    space = norm_space()
    assert {f.scales for f in space.symmetry("permutation").factors} == {"none"}
    assert {f.scales for f in space.symmetry().restricted(scales=False).factors} == {"none"}
    component = space.symmetry().identity_component()
    assert not any(factor.permutes for factor in component.factors if factor.scales != "linear")
    theta = weights(space)
    moved = component.act(component.sample(3, dtype=torch.float64), theta)
    assert torch.equal(moved.flatten().sign(), theta.flatten().sign())
    sines = ws.siren([2, 4, 1]).symmetry().identity_component()
    assert {factor.name for factor in sines.factors} == {"trivial"}  # signs and permutations are not connected to 1
    general = attention_space().symmetry().identity_component()
    drawn = general.sample(20, dtype=torch.float64)
    for factor, neurons in zip(general.factors, general.space.groups, strict=True):
        if factor.scales == "linear":
            assert (torch.linalg.det(drawn[neurons.name].matrix) > 0).all()


def test_units_that_cannot_have_all_of_a_group_have_what_they_can():
    space = attention_space()
    scales = {g.name: f.scales for g, f in zip(space.groups, space.symmetry("general_linear").factors, strict=True)}
    assert {name for name, kind in scales.items() if kind == "linear"} == {g.name for g in space.groups if g.over}
    assert set(scales.values()) == {"linear", "none"}
    assert {f.scales for f in norm_space().symmetry("positive_monomial").factors} == {"none", "positive"}
    with pytest.raises(ws.SymmetryError, match=r"signed_permutation would change .*'hidden1' has activation 'relu'"):
        ws.mlp([2, 3, 1]).symmetry("signed_permutation")
    with pytest.raises(ws.SymmetryError, match=r"general_linear would change .*relu\(-z\) is not"):
        depthwise_space().symmetry("general_linear")


def test_elements_of_the_wrong_shape_are_refused():
    space = attention_space()
    group = space.symmetry()
    element = group.sample(3, dtype=torch.float64)
    name = next(g.name for g in space.groups if g.over)
    wrong = element | {name: element[name]._replace(matrix=element[name].matrix[:, 0])}
    with pytest.raises(
        ws.SymmetryError, match=rf"'{name}' has a matrix of shape \(3, 2, 2\); expected \(3 or 1, 2, 2, 2\)"
    ):
        group.act(wrong, weights(space))


def test_depthwise_weights_are_diagonals():
    space = depthwise_space()
    diagonal = [p for p in space.parameters if any(a.diagonal for a in p.axes)]
    assert diagonal
    group, theta = space.symmetry(), weights(space)
    g = group.sample(3, dtype=torch.float64)
    moved = group.act(g, theta)
    for p in diagonal:
        axis = next(i for i, a in enumerate(p.axes) if a.diagonal)
        post, pre = p.axes[axis].group, p.axes[axis].diagonal[0]
        shape = [3] + [1] * (len(p.axes) + 1)
        shape[axis + 1] = -1
        scaled = theta[p.name] * (g[post].scale / g[pre].scale).reshape(shape)
        index = g[post].permutation.reshape(shape).expand_as(scaled)
        torch.testing.assert_close(moved[p.name], scaled.gather(axis + 1, index))


def test_scales_of_their_own_for_each_channel():
    space = norm_space()
    group = space.symmetry()
    channels = [weights(space, seed=seed) for seed in (0, 1)]
    elements = [group.sample(3, torch.Generator().manual_seed(7 + i), dtype=torch.float64) for i in (0, 1)]
    scales = {name: [element[name].scale for element in elements] for name in elements[0]}
    element = {
        name: Monomial(None, None if pair[0] is None else torch.stack(pair, dim=-1)) for name, pair in scales.items()
    }
    moved = group.act(element, channels[0].concatenate(channels[1]))
    for i, (theta, own) in enumerate(zip(channels, elements, strict=True)):
        expected = group.act({name: Monomial(None, matrix.scale) for name, matrix in own.items()}, theta)
        for found, tensor in zip(moved.tensors, expected.tensors, strict=True):
            torch.testing.assert_close(found[..., i : i + 1], tensor)
    with pytest.raises(ws.SymmetryError, match=r"has a scale of shape \(3, 3, 2\); expected \(3 or 1, 3\)"):
        group.act(element, channels[0])


@pytest.mark.parametrize(("elements", "batch"), [(1, 3), (3, 1)])
def test_one_element_for_many_networks_and_many_for_one(elements, batch):
    """The tensors that nothing moves, such as the bias of the output, are of as many networks as the others."""
    space = norm_space()
    group = space.symmetry()
    moved = group.act(group.sample(elements, dtype=torch.float64), weights(space, batch))
    assert {len(t) for t in moved.tensors} == {3}
