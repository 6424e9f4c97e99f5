"""Numbers do not depend on torch's default precision, and networks made in float64 refuse others with one sentence."""

import pytest
import torch
from torch import nn

import weightspace as ws
from weightspace.nn import EquivariantLinear
from weightspace.theory import Evidence, Measurement, census, output_gap
from weightspace.theory._census import one_layer_orbits
from weightspace.theory._outputs import random_outputs
from weightspace.theory._statement import Statement

SPACE = ws.mlp([2, 3, 2])


def compute():
    torch.manual_seed(0)
    weight = nn.Linear(3, 3).double().weight
    return Evidence((Measurement.at_least("weight", float(weight[0, 0].detach().abs()), 0),))


def weights(batch=2):
    generator = torch.Generator().manual_seed(0)
    shapes = {p.name: (batch, *p.shape, 1) for p in SPACE.parameters}
    return SPACE.features(
        {n: torch.rand(s, generator=generator, dtype=torch.float64) * 2 - 1 for n, s in shapes.items()}
    )


def distances():
    return census("dws", orbits=one_layer_orbits(), networks=1, hidden=4, depth=2, reduction="mean").distances


MEASURED = {
    "statement": lambda: Statement("", "", "", "", "", compute).run().measurements[0].value,
    "output_gap": lambda: output_gap("dws", weights()[:1], weights()[1:], networks=1, hidden=4, depth=2),
    "random_outputs": lambda: random_outputs("gmn", weights(), 1, 0, hidden=4, depth=2, out_features=2),
    "census": distances,
}


@pytest.mark.parametrize("name", MEASURED)
def test_numbers_do_not_depend_on_the_default_precision(name):
    expected = MEASURED[name]()
    torch.set_default_dtype(torch.float64)
    try:
        found = MEASURED[name]()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_default_precision_comes_back_after_an_error():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ws.TheoryError, match="networks: expected a whole number, at least 1, found 0"):
            output_gap("dws", weights(), weights(), networks=0)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_cannot_be_counted_is_refused():
    for options, name in (({"networks": 0}, "networks"), ({"networks": 1.5}, "networks"), ({"copies": 0}, "copies")):
        with pytest.raises(ws.TheoryError, match=f"{name}: expected a whole number, at least 1"):
            census("dws", orbits=one_layer_orbits(), **options)


def simulations():
    layer = EquivariantLinear(SPACE, 1, 1).double()
    gmn = ws.theory.dws_to_gmn(layer, 1.0)
    np = ws.theory.dws_to_np(layer, 1.0)
    return {
        "dws_to_gmn": gmn,
        "dws_to_np": np,
        "np_to_dws": ws.theory.np_to_dws(np),
        "gmn_to_dws": ws.theory.gmn_to_dws(gmn),
        "gmn_to_ng": ws.theory.gmn_to_ng(gmn),
        "forward": ws.theory.ForwardPassNetwork(SPACE, torch.ones(1, 2)),
        "canonical": ws.theory.CanonicalFormNetwork(SPACE, margin=0.01, radius=1.0),
    }


def test_weights_in_another_precision_are_refused():
    for name, net in simulations().items():
        with pytest.raises(ws.ModelError, match=r"this network is torch\.float64 .* torch\.float32 .*theta\.to"):
            net(weights().to(torch.float32))
        assert net(weights()) is not None, name


@pytest.mark.parametrize("radius", [0, -1.0, float("nan"), float("inf"), "1", None])
def test_radii_are_positive_numbers(radius):
    layer = EquivariantLinear(SPACE, 1, 1).double()
    for make in (
        lambda: ws.theory.dws_to_gmn(layer, radius),
        lambda: ws.theory.dws_to_np(layer, radius),
        lambda: ws.theory.CanonicalFormNetwork(SPACE, margin=0.1, radius=radius),
        lambda: ws.theory.CanonicalFormNetwork(SPACE, margin=radius, radius=1.0),
    ):
        with pytest.raises(ws.TheoryError, match="expected a positive number"):
            make()


def test_rounding_of_the_sorting_circuit_grows_with_the_radius_squared_over_the_margin():
    space, generator = ws.mlp([2, 5, 4, 2]), torch.Generator().manual_seed(0)
    shapes = {p.name: (50, *p.shape, 1) for p in space.parameters}
    theta = space.features({n: torch.rand(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()})
    form = ws.canonicalize(theta, "permutation")
    keep = (form.margin > 0.01).nonzero().squeeze(1)
    for radius in (1.0, 100.0, 1e4):
        circuit = ws.theory.CanonicalFormNetwork(space, margin=0.01, radius=radius)
        off = float((circuit(theta[keep]).flatten() - form.theta[keep].flatten()).abs().max())
        assert 0.02 < off / (1e-15 * radius**2 / 0.01) < 10
