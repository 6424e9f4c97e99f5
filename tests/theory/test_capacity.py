"""Affine pieces and regions are counted as they are; the lower bound is one, and the best of its kind."""

import itertools

import pytest
import torch

import weightspace as ws
from weightspace.theory import (
    TiledZoom,
    capacity_lower_bound,
    count_regions,
    interpolant,
    linear_pieces,
    max_pieces,
    ramps,
    sawtooth,
)


def draw(dims, batch=1, channels=1, seed=0):
    space, generator = ws.mlp(dims), torch.Generator().manual_seed(seed)
    shapes = {p.name: (batch, *p.shape, channels) for p in space.parameters}
    return space.features(
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    )


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


class TestLinearPieces:
    @pytest.mark.parametrize("dims", [[1, 4, 1], [1, 5, 4, 2], [1, 3, 3, 3, 1]])
    def test_networks_are_affine_between_breakpoints_and_bend_there(self, dims):
        theta = draw(dims, batch=20)
        found = linear_pieces(theta, -4.0, 4.0)
        for i, points in enumerate(found.breakpoints):
            assert found.pieces[i] == len(points) + 1
            ends = torch.cat([tensor(-4.0), points, tensor(4.0)])
            assert (ends.diff() > 0).all()
            inner = ends[:-1, None] + ends.diff()[:, None] * torch.linspace(0, 1, 5, dtype=torch.float64)
            y = theta.space.realize(theta[i : i + 1], inner.reshape(-1, 1))[0].view(*inner.shape, -1)
            assert y.diff(n=2, dim=1).abs().max() < 1e-12
            slopes = y.diff(dim=1)[:, 0] / inner.diff(dim=1)[:, :1]
            assert (slopes.diff(dim=0).abs().amax(1) > 1e-9).all()

    def test_a_batch_gives_what_its_networks_give(self):
        theta = draw([1, 4, 4, 1], batch=12)
        together = linear_pieces(theta, -4.0, 4.0)
        for i in range(12):
            alone = linear_pieces(theta[i : i + 1], -4.0, 4.0)
            torch.testing.assert_close(alone.breakpoints[0], together.breakpoints[i], rtol=0, atol=1e-12)

    def test_scales_and_permutations_leave_them_where_they_are(self):
        theta = draw([1, 4, 4, 1], batch=12)
        group = theta.space.symmetry()
        moved = group.act(group.sample(12, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
        first, second = (linear_pieces(t, -4.0, 4.0) for t in (theta, moved))
        assert torch.equal(first.pieces, second.pieces)
        torch.testing.assert_close(torch.cat(first.breakpoints), torch.cat(second.breakpoints), rtol=0, atol=1e-10)

    def test_equal_units_bend_once_and_opposite_ones_not_at_all(self):
        equal = ramps(tensor(0.7), tensor(0.25))
        torch.testing.assert_close(linear_pieces(equal).breakpoints[0], tensor(0.25))
        out = tensor(1.0, -1.0, 0.0).view(1, 1, 3, 1)
        cancelling = equal.space.features(dict(equal.items()) | {"2.weight": out})
        assert linear_pieces(cancelling).pieces.tolist() == [1]
        assert linear_pieces(equal, 0.5, 1.0).pieces.tolist() == [1]
        assert linear_pieces(equal.map(torch.zeros_like)).pieces.tolist() == [1]

    def test_places_that_differ_by_rounding_are_one(self):
        theta = draw([1, 4, 4, 1], batch=200)
        clones = {name: theta[name][:, [0, 0, 0, 1]] for name in ("2.weight", "2.bias")}
        theta = theta.space.features(dict(theta.items()) | clones)
        group = theta.space.symmetry()
        scaled = group.act(group.sample(200, torch.Generator().manual_seed(0), dtype=torch.float64), theta)
        assert torch.equal(linear_pieces(scaled, -5.0, 5.0).pieces, linear_pieces(theta, -5.0, 5.0).pieces)

    def test_along_a_line_they_are_those_of_the_network_restricted_to_it(self):
        theta = draw([3, 5, 4, 1], batch=10)
        low, high = tensor(-3.0, 1.0, -2.0), tensor(2.0, -4.0, 5.0)
        found = linear_pieces(theta, low, high)
        weight, bias = theta["0.weight"], theta["0.bias"]
        tensors = dict(theta.items()) | {
            "0.weight": torch.einsum("buic,i->buc", weight, high - low)[:, :, None],
            "0.bias": bias + torch.einsum("buic,i->buc", weight, low),
        }
        restricted = linear_pieces(ws.mlp([1, 5, 4, 1]).features(tensors), 0.0, 1.0)
        assert torch.equal(found.pieces, restricted.pieces)
        torch.testing.assert_close(torch.cat(found.breakpoints), torch.cat(restricted.breakpoints))
        assert found.pieces.max() <= max_pieces([1, 5, 4, 1])

    def test_steep_outputs_do_not_hide_the_bends_of_flat_ones(self):
        """relu(x - 0.3) and 1e-10 relu(x - 0.6): each output has a limit of its own for what is rounding."""
        space = ws.mlp([1, 2, 2])
        for flat in (1e-10, 1e-30):
            tensors = {"0.weight": tensor(1.0, 1.0), "0.bias": tensor(-0.3, -0.6), "2.bias": tensor(0.0, 0.0)}
            tensors["2.weight"] = torch.diag(tensor(1.0, flat))
            shaped = {p.name: tensors[p.name].view(1, *p.shape, 1) for p in space.parameters}
            found = linear_pieces(space.features(shaped))
            torch.testing.assert_close(found.breakpoints[0], tensor(0.3, 0.6))

    def test_what_cancels_up_to_rounding_is_no_bend(self):
        """0.1 + 0.2 - 0.3 of the same unit is 5.6e-17."""
        space = ws.mlp([1, 3, 1])
        tensors = {"0.weight": torch.ones(3), "0.bias": torch.full((3,), -0.5), "2.bias": torch.zeros(1)}
        tensors["2.weight"] = tensor(0.1, 0.2, -0.3)
        theta = space.features({p.name: tensors[p.name].double().view(1, *p.shape, 1) for p in space.parameters})
        assert linear_pieces(theta).pieces.tolist() == [1]

    def test_a_batch_without_networks_and_weights_that_are_not_finite_are_refused(self):
        theta = draw([1, 3, 1], batch=2)
        for function in (linear_pieces, count_regions):
            with pytest.raises(ws.TheoryError, match="expected at least one network, found an empty batch"):
                function(theta[:0])
            for value in (float("nan"), float("inf")):
                broken = theta.map(lambda t, value=value: t * value if t.shape[1:] == (1, 1) else t)
                with pytest.raises(
                    ws.TheoryError, match=r"2\.bias: expected finite numbers, found 2 that are not, of 2"
                ):
                    function(broken)

    def test_single_precision_and_a_point_of_one_coordinate(self):
        theta = ramps(tensor(1.0), tensor(0.5)).to(torch.float32)
        assert linear_pieces(theta, torch.tensor([0.25]), torch.tensor([0.75])).breakpoints[0].tolist() == [0.5]

    def test_what_is_refused(self):
        theta = draw([1, 3, 1])
        with pytest.raises(ws.TheoryError, match=r"activation relu, found 1-3-1 with activation tanh"):
            linear_pieces(ws.mlp([1, 3, 1], "tanh").sample(1))
        with pytest.raises(ws.TheoryError, match=r"found 2 channels; weightspace\.merge_ensemble makes one"):
            linear_pieces(draw([1, 3, 1], channels=2))
        with pytest.raises(ws.TheoryError, match=r"expected points of shape \(2,\), found shapes \(\) and \(\)"):
            linear_pieces(draw([2, 3, 1]), 0.0, 1.0)
        for low, high in ((1.0, 0.0), (0.0, 0.0), (0.0, float("inf"))):
            with pytest.raises(ws.TheoryError, match="expected finite ones, low below high"):
                linear_pieces(theta, low, high)


class TestBounds:
    def test_the_bound_for_networks_with_one_input(self):
        assert [max_pieces([1, *hidden, 1]) for hidden in ((4,), (8,), (3, 3), (4, 4), (3, 3, 3))] == [5, 9, 16, 25, 64]
        assert [max_pieces(ws.mlp([1, 3, 1]), networks=k) for k in (1, 2, 3, 4)] == [4, 7, 10, 13]
        assert max_pieces([1, 3, 3, 1], networks=2) == 31 < max_pieces([1, 6, 6, 1])

    def test_the_bound_for_several_inputs_counts_the_smallest_width_in_front(self):
        assert max_pieces([2, 8, 1]) == 37
        assert max_pieces([3, 2, 4, 1]) == 4 * 11  # the second layer sees a plane
        assert max_pieces([2, 1]) == 1

    def test_random_networks_keep_to_it(self):
        for k, dims in itertools.product((1, 3), ([1, 3, 3, 1], [1, 5, 1])):
            space, merged = ws.merge_ensemble(ws.mlp(dims), draw(dims, batch=50, channels=k))
            assert linear_pieces(merged, -50.0, 50.0).pieces.max() <= max_pieces(dims, k) <= max_pieces(space)

    def test_what_is_refused(self):
        with pytest.raises(ws.TheoryError, match="networks: expected a whole number, at least 1, found 0"):
            max_pieces([1, 3, 1], networks=0)
        with pytest.raises(ws.TheoryError, match=r"width: expected a whole number, at least 1, found 2\.5"):
            max_pieces([1, 2.5, 1])
        with pytest.raises(ws.TheoryError, match=r"at least two widths, from inputs to outputs, found \[1\]"):
            max_pieces([1])
        with pytest.raises(ws.TheoryError, match="activation sine"):
            max_pieces(ws.siren([1, 3, 1]))


class TestRegions:
    def with_hyperplanes(self, weight, bias):
        theta = draw([len(weight[0]), len(weight), 1])
        tensors = {"0.weight": tensor(*weight)[None, ..., None], "0.bias": tensor(*bias)[None, :, None]}
        return count_regions(theta.space.features(dict(theta.items()) | tensors)).item()

    def test_special_positions(self):
        assert self.with_hyperplanes([[1.0, 0.0]] * 3, [0.0, 1.0, 2.0]) == 4  # parallel
        assert self.with_hyperplanes([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, 0.0]) == 6  # through one point
        assert self.with_hyperplanes([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]], [1.0, -2.0, 0.0]) == 4  # equal
        assert self.with_hyperplanes([[0.0, 0.0], [0.0, 1.0]], [1.0, 0.0]) == 2  # a unit that never bends
        planes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        assert self.with_hyperplanes(planes, [0.0] * 3) == 8

    def test_the_count_is_that_of_sign_patterns(self):
        """In general position every region has a corner, and around it all signs of the hyperplanes that meet there."""
        theta = draw([2, 7, 1])
        weight, bias = theta["0.weight"][0, ..., 0], theta["0.bias"][0, :, 0]
        patterns = set()
        for i, j in itertools.combinations(range(7), 2):
            corner = torch.linalg.solve(weight[[i, j]], -bias[[i, j]])
            signs = weight @ corner + bias > 0
            for first, second in itertools.product((False, True), repeat=2):
                signs[i], signs[j] = first, second
                patterns.add(tuple(signs.tolist()))
        assert count_regions(theta).tolist() == [len(patterns)] == [29]

    def test_only_one_hidden_layer(self):
        with pytest.raises(ws.TheoryError, match="expected one hidden layer, found 2"):
            count_regions(draw([2, 3, 3, 1]))


class TestExplicitNetworks:
    def test_an_interpolant_goes_through_its_points_however_many_networks_share_it(self):
        generator = torch.Generator().manual_seed(0)
        knots = torch.rand(5, 8, generator=generator, dtype=torch.float64).sort(1).values
        values = torch.randn(5, 8, generator=generator, dtype=torch.float64)
        for networks, width in ((1, None), (2, None), (3, 3), (7, 2)):
            theta = interpolant(knots, values, networks=networks, width=width)
            assert theta.channels == networks
            out = theta.space.realize(theta, knots[..., None])
            mean = (out.mean(-1) if networks > 1 else out)[..., 0]
            torch.testing.assert_close(mean, values, rtol=0, atol=1e-9)

    def test_a_flat_end_takes_no_unit_and_a_repeated_knot_does_no_harm(self):
        theta = interpolant(tensor([0.0, 0.5, 1.0]), tensor([0.0, 1.0, 1.0]))
        assert theta.space.summary() == "1-1-1"
        again = interpolant(tensor([0.0, 0.5, 0.5, 1.0]), tensor([0.0, 1.0, 1.0, 0.0]))
        x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
        torch.testing.assert_close(again.space.realize(again, x)[0, :, 0], TiledZoom(2).fold(x)[:, 0])

    def test_what_is_refused(self):
        with pytest.raises(ws.TheoryError, match="take 2 units, found 1 networks of 1"):
            interpolant(tensor([0.0, 0.5, 1.0]), tensor([0.0, 1.0, 0.0]), width=1)
        with pytest.raises(ws.TheoryError, match="ascending knots"):
            interpolant(tensor([1.0, 0.0]), tensor([0.0, 1.0]))
        with pytest.raises(ws.TheoryError, match="at least one hidden layer"):
            sawtooth(0)

    def test_the_sawtooth_is_a_triangle_wave(self):
        x = torch.linspace(0, 1, 257, dtype=torch.float64)[:, None]
        for depth in (1, 3, 5):
            theta = sawtooth(depth)
            torch.testing.assert_close(theta.space.realize(theta, x)[0], TiledZoom(2**depth).fold(x))


class TestTiledZoom:
    @pytest.mark.parametrize("folds", [1, 2, 3, 6])
    def test_its_networks_compute_it(self, folds):
        theta, zoom = draw([1, 4, 4, 1], batch=20), TiledZoom(folds)
        zoomed = zoom.network(theta)
        x = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None]
        wanted = zoom(lambda y: theta.space.realize(theta, y))(x)
        torch.testing.assert_close(zoomed.space.realize(zoomed, x), wanted, rtol=0, atol=1e-10)
        bound = folds * linear_pieces(theta).pieces
        assert (linear_pieces(zoomed).pieces <= bound).all()

    def test_preimages(self):
        points, zoom = tensor([0.0, 0.3, 1.0]), TiledZoom(5)
        found = zoom.preimages(points)
        assert found.shape == (1, 15)
        assert ((zoom.fold(found)[..., None] - points).abs().amin(-1) < 1e-12).all()

    def test_what_is_refused(self):
        with pytest.raises(ws.TheoryError, match="folds: expected a whole number, at least 1, found 0"):
            TiledZoom(0)
        with pytest.raises(ws.TheoryError, match=r"folds: expected a whole number, at least 1, found 1\.5"):
            TiledZoom(1.5)
        with pytest.raises(ws.TheoryError, match="one input and one output, found 2 and 1"):
            TiledZoom(2).network(draw([2, 3, 1]))


class TestLowerBound:
    def test_it_is_the_largest_over_all_alternating_selections(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            values = torch.rand(8, generator=generator, dtype=torch.float64)
            for pieces in (1, 2, 4):
                chosen = values[torch.tensor(list(itertools.combinations(range(8), pieces + 2)))].diff(dim=1)
                signs = torch.ones(pieces + 1).cumprod(0) * (-1) ** torch.arange(pieces + 1)
                least = torch.maximum((chosen * signs).amin(1), (-chosen * signs).amin(1))
                assert capacity_lower_bound(values, pieces) == pytest.approx(
                    max(0.0, float(least.max()) / 2), abs=1e-15
                )

    def test_no_network_is_better(self):
        x = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
        target = TiledZoom(8).fold(x)[:, 0] * x[:, 0]
        theta = draw([1, 4, 1], batch=2000)
        errors = (theta.space.realize(theta, x)[..., 0] - target).abs().amax(1)
        assert errors.min() >= capacity_lower_bound(target, max_pieces(theta.space)) > 0.1

    def test_monotone_targets_and_many_pieces_give_none(self):
        assert capacity_lower_bound(torch.linspace(0, 1, 9), 1) == 0.0
        assert capacity_lower_bound([0.0, 1.0], 50) == 0.0
        with pytest.raises(ws.TheoryError, match="pieces: expected a whole number, at least 1, found 0"):
            capacity_lower_bound([0.0, 1.0], 0)
        with pytest.raises(ws.TheoryError, match="values: expected at least one, found none"):
            capacity_lower_bound([], 3)
        with pytest.raises(ws.TheoryError, match="values: expected finite numbers, found 1 that are not, of 5"):
            capacity_lower_bound([0, float("nan"), 1, 0, 1], 1)
