"""A partition of unity as a sum, as one network, and as networks of equal units."""

import pytest
import torch

import weightspace as ws
from weightspace.theory import PartitionOfUnity, TiledZoom, interpolant, ramps


def draw(dims, batch=1, scale=1.0, seed=0):
    space, generator = ws.mlp(dims), torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, 1) for p in space.parameters}
    return space.features(
        {name: scale * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    )


def probes(inputs, points=20):
    return torch.rand(points, inputs, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture(params=[([1, 3, 1], [1, 4, 1]), ([2, 3, 4, 2], [2, 5, 2])], ids=["1-3-1", "2-3-4-2"])
def unity(request):
    """Random centres and references; balls that hold every function of small weights."""
    ours, theirs = request.param
    centres, references = draw(ours, 6, 0.3), draw(theirs, 6, seed=1)
    return PartitionOfUnity(centres, references, probes(ours[0]), radius=2.0)


def small(unity, batch=5):
    return draw([g.size for g in unity.space.groups], batch, 0.3, seed=2)


def test_weights_are_not_negative_and_one_in_all(unity):
    weights = unity.weights(small(unity))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    assert weights.std() > 1e-3


def test_one_network_of_which_only_the_last_layer_depends_on_the_input(unity):
    theta, x = small(unity), probes(unity.space.groups[0].size)
    space, wide = unity.network(theta)
    torch.testing.assert_close(space.realize(wide, x), unity.combine(theta, x), rtol=0, atol=1e-12)
    spread = [float((t - t[:1]).abs().max()) for t in wide.tensors]
    assert spread[:-2] == [0.0] * (len(spread) - 2)
    assert min(spread[-2:]) > 1e-3


def test_references_may_be_deep():
    references = draw([1, 4, 3, 1], 6, seed=1)
    unity = PartitionOfUnity(draw([1, 3, 1], 6, 0.3), references, probes(1), radius=2.0)
    theta = small(unity)
    space, wide = unity.network(theta)
    assert space.summary() == "1-24-18-1"
    torch.testing.assert_close(space.realize(wide, probes(1)), unity.combine(theta, probes(1)), rtol=0, atol=1e-12)
    with pytest.raises(ws.TheoryError, match="one hidden layer, found 1-4-3-1"):
        unity(theta)


def test_output_capacity_expansion_with_networks_of_equal_units(unity):
    theta, x = small(unity), probes(unity.space.groups[0].size)
    editor = ws.OutputCapacityExpansion(unity, unity.space, residual=False, init_scale=1.0).double()
    with torch.no_grad():
        predicted = editor(theta)
        assert predicted.channels == 6 * unity.references.space.groups[1].size
        wanted = unity.combine(theta, x)
        torch.testing.assert_close(unity.space.realize(predicted, x).mean(-1), wanted, rtol=0, atol=1e-12)
        wide_space, wide = ws.merge_ensemble(unity.space, predicted)
        torch.testing.assert_close(wide_space.realize(wide, x), wanted, rtol=0, atol=1e-12)


def test_it_is_equivariant_with_ties_and_without(unity):
    group = unity.space.symmetry("permutation")
    element = group.sample(5, torch.Generator().manual_seed(0))
    for theta in (small(unity), small(unity).map(lambda t: t[..., :1].mul(0.0).add(0.05))):
        moved, expected = unity(group.act(element, theta)), group.act(element, unity(theta))
        torch.testing.assert_close(moved.flatten(), expected.flatten(), rtol=0, atol=1e-12)


def test_units_that_differ_are_not_equivariant():
    """Negative control: the copies, taken for networks of the input's architecture, are not permuted with it."""
    centres = draw([1, 3, 1], 6, 0.3)
    unity = PartitionOfUnity(centres, draw([1, 3, 1], 6, seed=1), probes(1), radius=2.0)
    group, theta = unity.space.symmetry("permutation"), small(unity)
    element = group.sample(5, torch.Generator().manual_seed(0))
    gap = unity.copies(group.act(element, theta)).flatten() - group.act(element, unity.copies(theta)).flatten()
    assert gap.abs().max() > 0.1


def test_the_error_is_at_most_the_radius_of_balls_that_cover():
    grid = torch.linspace(-1, 1, 7), torch.linspace(0, 1, 7)
    centres = ramps(grid[0].repeat_interleave(7), grid[1].repeat(7))
    zoom, x = TiledZoom(3), torch.linspace(0, 1, 97, dtype=torch.float64)[:, None]
    unity = PartitionOfUnity(centres, zoom.network(centres), x, radius=0.2)
    generator = torch.Generator().manual_seed(0)
    theta = ramps(torch.rand(200, generator=generator) * 2 - 1, torch.rand(200, generator=generator))
    wanted = zoom(lambda y: theta.space.realize(theta, y))(x)
    error = (unity.combine(theta, x) - wanted).abs().amax((1, 2))
    assert error.max() <= 0.2
    assert error.max() > 0.02  # it is an approximation


def test_a_network_outside_all_balls_is_refused():
    unity = PartitionOfUnity(ramps(torch.ones(1), torch.zeros(1)), draw([1, 2, 1]), probes(1), radius=0.1)
    theta = ramps(torch.tensor([1.0, -1.0]), torch.zeros(2))
    with pytest.raises(ws.TheoryError, match=r"network 1 is 1\.\d+ away from the nearest of 1 centres"):
        unity.weights(theta)


def test_centres_and_references_must_fit():
    centres = draw([1, 3, 1], 4)
    with pytest.raises(ws.TheoryError, match="found 3 networks 1-2-1 for 4 1-3-1"):
        PartitionOfUnity(centres, draw([1, 2, 1], 3), probes(1), 1.0)
    with pytest.raises(ws.TheoryError, match="found 4 networks 2-2-1 for 4 1-3-1"):
        PartitionOfUnity(centres, draw([2, 2, 1], 4), probes(1), 1.0)
    with pytest.raises(ws.TheoryError, match=r"references: expected networks of weightspace\.mlp"):
        PartitionOfUnity(centres, ws.mlp([1, 3, 1], "tanh").sample(4), probes(1), 1.0)


def test_radii_and_numbers_that_make_no_sense_are_refused():
    centres, references = draw([1, 3, 1], 2, 0.3), draw([1, 2, 1], 2)
    for radius in (0, -1.0, float("nan"), "1"):
        with pytest.raises(ws.TheoryError, match="radius: expected a positive number"):
            PartitionOfUnity(centres, references, probes(1), radius)
    broken = centres.map(lambda t: t * float("nan"))
    with pytest.raises(ws.TheoryError, match=r"centres: .* expected finite numbers"):
        PartitionOfUnity(broken, references, probes(1), 1.0)
    with pytest.raises(ws.TheoryError, match=r"references: .* expected finite numbers"):
        PartitionOfUnity(centres, references.map(lambda t: t / 0), probes(1), 1.0)
    with pytest.raises(ws.TheoryError, match="probes: expected finite numbers"):
        PartitionOfUnity(centres, references, probes(1) / 0, 1.0)
    unity = PartitionOfUnity(centres, references, probes(1), 2.0)
    for function in (unity, unity.weights, unity.distance, unity.copies, lambda t: unity.combine(t, probes(1))):
        with pytest.raises(ws.TheoryError, match=r"partition of unity: .* expected finite numbers"):
            function(broken)


def test_one_predicted_network_of_equal_units_cannot_bend_twice():
    """The collapse: an equivariant map sends the zero network to equal units, whose function goes one way only."""
    space = ws.mlp([1, 6, 6, 1])
    zero = space.sample(1).to(torch.float64).map(torch.zeros_like)
    torch.manual_seed(0)
    net = ws.build("dws", space, hidden=6, depth=2).double().eval()
    with torch.no_grad():
        out = net(zero)
    assert out["0.weight"].std(dim=1).max() < 1e-12
    assert ws.theory.linear_pieces(out, -50.0, 50.0).pieces.item() <= 3
    tent = interpolant(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    x = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    assert (space.realize(out, x) - tent.space.realize(tent, x)).abs().max() >= 0.5
