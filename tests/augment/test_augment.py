"""Augmentations: what each claims of the function, of the statistics and of the draws."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace import SpaceError, SymmetryError, WeightFeatures, WeightspaceError
from weightspace.augment import (
    Chain,
    DropWeights,
    GaussianNoise,
    Mixup,
    OneOf,
    PruneSmallest,
    RandomElement,
    RotateInputs,
    ScaleInputs,
    SelfMixup,
    SineShifts,
    SineSigns,
    TranslateInputs,
    transform_inputs,
)

SIREN = ws.siren([2, 9, 7, 3])
EVERY = [
    RotateInputs(),
    TranslateInputs(),
    ScaleInputs(),
    GaussianNoise(),
    DropWeights(0.2),
    PruneSmallest(0.5),
    RandomElement(),
    SineSigns(),
    SineShifts(),
    Chain(RotateInputs(30), GaussianNoise(), SineShifts(2)),
    OneOf(RotateInputs(30), GaussianNoise(), Chain(SineShifts(2), TranslateInputs())),
    SelfMixup(OneOf(RotateInputs(30), GaussianNoise())),
    lambda theta, generator: Mixup()(theta, generator).theta,
    lambda theta, generator: Mixup(aligned=True)(theta, generator).theta,
    lambda theta, generator: Mixup(shuffled=True)(theta, generator).theta,
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(space: Any = SIREN, batch: int = 6, dtype: torch.dtype = torch.float64) -> WeightFeatures:
    """Networks whose biases are not zero, as those of a fresh SIREN are."""
    theta = space.sample(batch, seeded())
    return theta.map(lambda t: t + 0.05 * torch.randn(t.shape, generator=seeded(1))).to(dtype)


def points(count: int = 40, inputs: int = 2) -> torch.Tensor:
    return torch.rand(count, inputs, generator=seeded(2), dtype=torch.float64) * 2 - 1


def difference(space: Any, a: WeightFeatures, b: WeightFeatures, x: torch.Tensor) -> float:
    return float((space.realize(a, x) - space.realize(b, x)).abs().max())


@pytest.mark.parametrize("change", EVERY, ids=lambda change: type(change).__name__)
def test_all_are_pure_seeded_and_batched(change: Any) -> None:
    theta = drawn()
    before = [t.clone() for t in theta.tensors]
    first, again, other = (change(theta, seeded(s)) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(theta.tensors, before, strict=True))
    assert torch.equal(first.flatten(), again.flatten())
    assert not torch.equal(first.flatten(), other.flatten())
    assert first.space == theta.space
    assert first.dtype == torch.float64
    moved = (first - theta).flatten().abs().amax(1)
    assert (moved > 0).all()  # every network of the batch
    assert len(set(moved.tolist())) == len(theta)  # by draws of its own
    state = torch.random.get_rng_state()
    change(theta, seeded())
    assert torch.equal(torch.random.get_rng_state(), state)
    change(theta, None)
    assert not torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("change", EVERY[:11], ids=lambda change: type(change).__name__)
def test_channels_are_networks_and_single_precision_stays(change: Any) -> None:
    theta = drawn(dtype=torch.float32)
    pair = theta.concatenate(theta * 2.0)
    changed = change(pair, seeded())
    assert changed.channels == 2
    assert changed.dtype == torch.float32
    assert len(change(theta[:1], seeded())) == 1


# ---------------------------------------------------------------------------------------------------------- inputs
@pytest.mark.parametrize(
    "space", [SIREN, ws.mlp([2, 5, 4, 1], "relu"), ws.mlp([2, 5, 1], "tanh"), ws.mlp([2, 1])], ids=str
)
def test_inputs_are_transformed_exactly(space: Any) -> None:
    theta, x = drawn(space), points()
    matrix = torch.randn(6, 2, 2, generator=seeded(3), dtype=torch.float64)
    shift = torch.randn(6, 2, generator=seeded(4), dtype=torch.float64)
    moved = transform_inputs(theta, matrix, shift)
    expected = space.realize(theta, torch.einsum("bij,nj->bni", matrix, x) + shift[:, None])
    assert torch.allclose(space.realize(moved, x), expected, atol=1e-10)
    changed = [n for n, a, b in zip(theta, theta.tensors, moved.tensors, strict=True) if not torch.equal(a, b)]
    assert changed == list(space.shapes)[:2]  # the first layer, alone
    one = transform_inputs(theta, matrix[:1], shift[0])
    assert torch.allclose(space.realize(one, x), space.realize(theta, x @ matrix[0].T + shift[0]), atol=1e-10)
    assert torch.equal(transform_inputs(theta).flatten(), theta.flatten())


def test_a_rotation_turns_what_an_inr_shows() -> None:
    theta, x = drawn(batch=200), points()
    moved = RotateInputs(45)(theta, seeded())
    first, turned = theta["0.weight"][..., 0], moved["0.weight"][..., 0]
    assert torch.allclose(first.norm(dim=2), turned.norm(dim=2))
    rotation = torch.linalg.lstsq(first, turned).solution  # W R = W'
    angle = torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0]).rad2deg()
    assert angle.abs().max() <= 45
    assert angle.min() < -40
    assert angle.max() > 40
    assert abs(float(angle.mean())) < 6
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(200, dtype=torch.float64))
    for i in (0, 1):
        expected = SIREN.realize(theta[i], x @ rotation[i].T)
        assert torch.allclose(SIREN.realize(moved[i], x), expected, atol=1e-9)


def test_translations_and_scales_keep_their_bounds() -> None:
    theta = drawn(batch=500)
    shifted = TranslateInputs(0.25)(theta, seeded())
    change = (shifted["0.bias"] - theta["0.bias"])[..., 0]
    shift = torch.linalg.lstsq(theta["0.weight"][..., 0], change[..., None]).solution[..., 0]
    assert shift.abs().max() <= 0.25 + 1e-9
    assert (shift.amin(0) < -0.24).all()
    assert (shift.amax(0) > 0.24).all()
    scaled = ScaleInputs(0.2)(theta, seeded())
    ratio = (scaled["0.weight"] / theta["0.weight"]).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio))
    assert 0.8 <= ratio.min() < 0.81 < 1.19 < ratio.max() <= 1.2
    assert torch.equal(scaled["0.bias"], theta["0.bias"])


def test_inputs_that_cannot_be_transformed_are_refused() -> None:
    with pytest.raises(SpaceError, match="expected networks with 2 inputs, found 3"):
        RotateInputs()(ws.siren([3, 4, 1]).sample(2))
    convolution = ws.from_module(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.randn(2, 2, 4, 4)
    )
    with pytest.raises(SpaceError, match="chains of linear layers"):
        ScaleInputs()(convolution.sample(2))
    without = ws.from_module(nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1)), torch.randn(3, 2))
    with pytest.raises(SpaceError, match=r"inputs cannot be shifted|chains of linear layers"):
        TranslateInputs()(without.sample(2))
    for change in EVERY:
        with pytest.raises(SpaceError, match="expected weight features"):
            change(nn.Linear(2, 2), None)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------- entries
def test_noise_is_random_and_in_proportion() -> None:
    space = ws.mlp([20, 30, 40, 1])
    theta = drawn(space, 50)
    noise = GaussianNoise(0.1)(theta, seeded()) - theta
    for name in ("0.weight", "2.weight"):
        relative = noise[name] / theta[name].flatten(1).std(1).view(-1, 1, 1, 1)
        assert float(relative.std()) == pytest.approx(0.1, rel=0.05)
        assert abs(float(relative.mean())) < 0.005
        assert relative.flatten(1).std(1).min() > 0.08  # not one constant for all entries of a tensor
    assert float(noise["4.bias"].abs().max()) == 0  # a single entry has no spread


def test_dropout_keeps_the_mean() -> None:
    theta = drawn(ws.mlp([20, 30, 40, 1]), 200).map(torch.ones_like)
    dropped = DropWeights(0.2)(theta, seeded()).flatten()
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert float((dropped == 0).double().mean()) == pytest.approx(0.2, abs=0.003)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.004)


def test_pruning_takes_the_smallest() -> None:
    theta = drawn(ws.mlp([20, 30, 1]), 300)
    pruned = PruneSmallest(0.5)(theta, seeded())
    before, after = theta["0.weight"].flatten(1), pruned["0.weight"].flatten(1)
    gone = after == 0
    share = gone.double().mean(1)
    assert 0 <= share.min() < 0.02
    assert 0.48 < share.max() <= 0.5
    assert torch.equal(after[~gone], before[~gone])
    largest_gone = before.abs().where(gone, 0).amax(1)
    smallest_kept = before.abs().where(~gone, math.inf).amin(1)
    assert (largest_gone <= smallest_kept).all()
    expected = (share * 600).round()
    others = (pruned["2.weight"].flatten(1) == 0).sum(1)
    assert ((others - expected / 20).abs() <= 1).all()  # one share for all parameters of a network
    assert torch.equal(pruned["2.bias"], theta["2.bias"])  # of a single entry, no whole one


# ---------------------------------------------------------------------------------------------------------- orbits
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.parametrize("power", [0, 1, 4])
def test_random_elements_keep_the_function(activation: str, power: int) -> None:
    space = ws.mlp([2, 8, 6, 3], activation)
    theta, x = drawn(space), points()
    moved = RandomElement(power)(theta, seeded())
    assert difference(space, moved, theta, x) < 1e-9 * 10 ** (power if activation == "identity" else 0)
    assert not torch.allclose(moved["0.weight"], theta["0.weight"])


def test_scales_are_uniform_from_one_on() -> None:
    space = ws.mlp([2, 400, 3])
    theta = drawn(space, 20).map(torch.ones_like)
    scale = RandomElement(2)(theta, seeded())["0.weight"][:, :, 0, 0]
    assert 1 <= scale.min() < 1.2
    assert 99.5 < scale.max() <= 100
    assert float(scale.mean()) == pytest.approx(50.5, rel=0.02)
    assert torch.allclose(RandomElement(0)(theta, seeded()).flatten(), theta.flatten())
    permuted = RandomElement(4, group="permutation")(theta, seeded())
    assert torch.equal(permuted.flatten(), theta.flatten())  # no scales


def test_random_elements_of_networks_with_heads() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True, dropout=0.0)
    space = ws.from_module(nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2)), torch.randn(2, 5, 3))
    theta = drawn(space, 2)
    x = torch.randn(3, 5, 3, generator=seeded(), dtype=torch.float64)
    moved = RandomElement(1)(theta, seeded())
    assert difference(space, moved, theta, x) < 1e-8
    assert float((moved - theta).flatten().abs().max()) > 0.1


@pytest.mark.parametrize("change", [SineSigns(), SineShifts(), SineShifts(1)], ids=repr)
def test_moves_of_sines_keep_the_function(change: Any) -> None:
    theta, x = drawn(), points()
    moved = change(theta, seeded())
    assert difference(SIREN, moved, theta, x) < 1e-9
    assert torch.equal(moved["4.bias"], theta["4.bias"])  # of the outputs


def test_signs_are_even_and_shifts_are_half_periods() -> None:
    theta = drawn(ws.siren([2, 50, 1]), 100)
    sign = (SineSigns()(theta, seeded())["0.bias"] / theta["0.bias"]).round()
    assert set(sign.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(sign.mean())) < 0.05
    moved = SineShifts(4)(theta, seeded())
    turns = (moved["0.bias"] - theta["0.bias"]) * 30 / math.pi
    assert torch.allclose(turns, turns.round(), atol=1e-9)
    assert sorted(turns.round().unique().tolist()) == list(range(-4, 4))
    assert torch.equal(moved["0.weight"], theta["0.weight"])
    odd = (turns.round().remainder(2) == 1)[..., 0]
    leaving = (moved["2.weight"] / theta["2.weight"])[:, 0, :, 0]
    assert torch.equal(leaving < 0, odd)


def test_sines_are_needed() -> None:
    for change in (SineSigns(), SineShifts()):
        with pytest.raises(SymmetryError, match="no hidden neuron group of the space has a sine"):
            change(ws.mlp([2, 4, 1]).sample(2))


# ----------------------------------------------------------------------------------------------------------- mixup
def test_mixup_mixes_networks_and_targets_alike() -> None:
    theta = drawn(batch=40)
    targets = torch.randn(40, 5, generator=seeded())
    mixed = Mixup()(theta, seeded())
    assert sorted(mixed.partner.tolist()) == list(range(40))
    assert (mixed.partner != torch.arange(40)).all()
    assert ((mixed.share >= 0) & (mixed.share <= 1)).all()
    share = mixed.share[:, None]
    expected = share * theta.flatten() + (1 - share) * theta[mixed.partner].flatten()
    assert torch.allclose(mixed.theta.flatten(), expected)
    own = mixed.share.float()[:, None]
    assert torch.allclose(mixed.targets(targets), own * targets + (1 - own) * targets[mixed.partner])
    assert mixed.targets(targets[:, 0]).shape == (40,)
    alone = Mixup()(theta[:1], seeded())
    assert torch.allclose(alone.theta.flatten(), theta[:1].flatten())


@pytest.mark.parametrize(("alpha", "variance"), [(1.0, 1 / 12), (0.2, 1 / 5.6)])
def test_shares_are_beta(alpha: float, variance: float) -> None:
    share = Mixup(alpha)(drawn(ws.mlp([1, 1]), 4000), seeded()).share
    assert float(share.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(share.var()) == pytest.approx(variance, rel=0.05)


def test_aligned_mixup_of_points_of_one_orbit_stays_in_it() -> None:
    space = ws.mlp([2, 8, 8, 1], "tanh")
    theta = drawn(space, 1)[[0] * 12]
    group = space.symmetry()
    orbit = group.act(group.sample(12, seeded(), dtype=torch.float64), theta)
    x = points()
    aligned = Mixup(aligned=True)(orbit, seeded()).theta
    plain = Mixup()(orbit, seeded()).theta
    spread = float(space.realize(theta, x).std())
    assert difference(space, aligned, orbit, x) < 1e-9
    assert difference(space, plain, orbit, x) > 0.1 * spread


def test_shuffled_mixup_moves_the_partner_along_its_orbit() -> None:
    space = ws.mlp([2, 8, 8, 1], "relu")
    theta, x = drawn(space, 20), points()
    mixed, plain = Mixup(shuffled=True)(theta, seeded()), Mixup()(theta, seeded())
    assert torch.equal(mixed.partner, plain.partner)
    assert torch.equal(mixed.share, plain.share)
    own = mixed.share.view(-1, 1, 1, 1)
    partner = theta.map(
        lambda t, m: (
            (m - mixed.share.view(-1, *[1] * (t.dim() - 1)) * t) / (1 - mixed.share.view(-1, *[1] * (t.dim() - 1)))
        ),
        mixed.theta,
    )
    assert difference(space, partner, theta[mixed.partner], x) < 1e-9
    assert not torch.allclose(partner["2.weight"], theta[mixed.partner]["2.weight"])
    expected = own * theta["4.bias"][..., None, :] + (1 - own) * theta[mixed.partner]["4.bias"][..., None, :]
    assert torch.allclose(mixed.theta["4.bias"][..., None, :], expected)  # outputs stay where they are
    permuted = Mixup(shuffled=True, group="permutation")(drawn(SIREN, 20), seeded())
    assert permuted.theta.space == SIREN


def test_majority_mixes_networks_alone() -> None:
    theta, targets = drawn(batch=40), torch.eye(40)
    mixed, plain = Mixup(majority=True)(theta, seeded()), Mixup()(theta, seeded())
    assert torch.equal(mixed.theta.flatten(), plain.theta.flatten())
    expected = torch.where(mixed.share >= 0.5, torch.arange(40), mixed.partner)
    assert torch.equal(mixed.targets(targets), targets[expected])
    assert torch.equal(plain.target_share, plain.share)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_mixed_with_its_own_orbit_stays(activation: str) -> None:
    space = ws.mlp([2, 8, 8, 1], activation)
    theta, x = drawn(space, 8), points()
    mixed = SelfMixup(RandomElement())(theta, seeded())
    assert float((mixed - theta).flatten().abs().max()) < 1e-12  # the copy comes back to where it was
    plain = (theta + RandomElement()(theta, seeded())) * 0.5  # without alignment
    assert difference(space, plain, theta, x) > 0.1 * float(space.realize(theta, x).std())
    scaled = SelfMixup(RandomElement(power=2))(theta, seeded())
    assert difference(space, scaled, theta, x) < 1e-9


def test_a_network_mixed_with_a_changed_copy_goes_a_part_of_the_way() -> None:
    theta = drawn(batch=20)
    change = RotateInputs(1)  # so small that the nearest copy is the copy itself
    moved, mixed = change(theta, seeded()) - theta, SelfMixup(change)(theta, seeded()) - theta
    part = (mixed["0.weight"] / moved["0.weight"]).flatten(1)
    assert torch.allclose(part, part[:, :1].expand_as(part))
    assert 0 <= part.min() < 0.2 < 0.8 < part.max() <= 1
    rest = {name for name, t in mixed.items() if float(t.abs().max()) > 1e-15}
    assert rest == {"0.weight"}


def test_one_of_changes_each_network_in_one_way() -> None:
    theta = drawn(batch=600)
    change = OneOf(RotateInputs(), SineShifts(), Chain())
    moved = change(theta, seeded()) - theta
    turned, shifted = ((moved[name].flatten(1) != 0).any(1) for name in ("0.weight", "0.bias"))
    assert not (turned & shifted).any()
    for chosen in (turned, shifted, ~turned & ~shifted):
        assert float(chosen.double().mean()) == pytest.approx(1 / 3, abs=0.06)
    assert float(moved[(~turned & ~shifted).nonzero()[:, 0]].flatten().abs().max()) == 0
    x = points()
    place = shifted.nonzero()[:5, 0]
    assert difference(SIREN, change(theta, seeded())[place], theta[place], x) < 1e-9
    assert len(change(theta[:0], seeded())) == 0
    assert repr(OneOf(SineSigns())) == "OneOf(SineSigns())"


# -------------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotateInputs(-1), "RotateInputs: degrees: expected a number from 0 to 180, found -1"),
        (lambda: TranslateInputs(math.nan), "distance"),
        (lambda: TranslateInputs(math.inf), "distance: expected a finite number from 0 on, found inf"),
        (lambda: GaussianNoise(math.inf), "relative: expected a finite number from 0 on, found inf"),
        (lambda: ScaleInputs(1.5), "amount"),
        (lambda: GaussianNoise(-0.1), "relative"),
        (lambda: DropWeights(1.0), "probability"),
        (lambda: PruneSmallest(2), "highest"),
        (lambda: RandomElement("big"), "power"),  # type: ignore[arg-type]
        (lambda: SineShifts(0), "turns"),
        (lambda: SineShifts(1.5), "whole number"),  # type: ignore[arg-type]
        (lambda: Mixup(0), "alpha"),
        (lambda: Mixup(aligned=True, shuffled=True), "aligned or shuffled, not both"),
        (lambda: Mixup(group="trivial"), "group: only for partners that are aligned or shuffled, found 'trivial'"),
        (lambda: SelfMixup(SineSigns(), 0), "SelfMixup: alpha"),
        (lambda: OneOf(), "at least one augmentation"),
    ],
)
def test_impossible_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(WeightspaceError, match=message):
        make()
