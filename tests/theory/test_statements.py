"""Every statement holds, each number within the bounds that its check states."""

import math

import pytest

import weightspace as ws
from weightspace.theory import Evidence, Measurement


@pytest.fixture(scope="module", params=[statement.name for statement in ws.theory.statements()])
def checked(request):
    (statement,) = ws.theory.statements(request.param)
    return statement, statement.run()


def test_every_number_agrees_with_its_statement(checked):
    statement, evidence = checked
    assert evidence.measurements
    assert not [m for m in evidence.measurements if not m.holds], statement.name


def test_the_words_are_there(checked):
    statement, _ = checked
    assert all((statement.title, statement.source, statement.claim, statement.construction))
    assert not statement.title.endswith(".")


def test_the_picture_can_be_drawn(checked):
    from matplotlib.figure import Figure

    _, evidence = checked
    if evidence.draw is None:
        pytest.skip("this statement has no picture")
    figure = Figure()
    evidence.draw(figure)
    assert figure.axes
    figure.draw_without_rendering()


def test_bounds_of_measurements():
    assert Measurement.at_most("error", 1e-13, 1e-12).holds
    assert not Measurement.at_most("error", 1e-11, 1e-12).holds
    assert not Measurement.at_most("error", math.nan, 1e-12).holds
    assert Measurement.at_least("gap", 0.2, 0.1).holds
    assert not Measurement.at_least("gap", 0.0, 0.1).holds
    assert not Measurement.equal("classes", 315, 316).holds
    assert Measurement.about("gap", 1.9e-4, 1e-4, factor=2).holds
    assert not Measurement.about("gap", 0.4e-4, 1e-4, factor=2).holds
    assert not Measurement.within("slope", -1.7, -2.2, -1.8).holds
    good, bad = Measurement.equal("a", 1, 1), Measurement.equal("b", 1, 2)
    assert Evidence((good,)).holds
    assert not Evidence((good, bad)).holds


def test_an_unknown_statement_is_refused():
    with pytest.raises(ws.TheoryError, match="unknown statement 'flat-earth'; known: bases"):
        ws.theory.statements("flat-earth")


@pytest.mark.parametrize(
    ("dims", "dws", "np"),
    [
        ([2, 3, 3, 2], 114, 62),
        ([2, 3, 2], 74, 32),
        ([1, 2, 3, 2], 90, None),
        ([2, 2, 2, 2, 1], 117, None),
        ([1, 4, 4, 1], 55, None),
    ],
)
def test_dimensions_of_commutants(dims, dws, np):
    space = ws.mlp(dims)
    assert ws.theory.commutant_dimension(space) == dws
    if np:
        assert ws.theory.commutant_dimension(space, ws.models.all_permutations(space)) == np


def test_commutants_are_counted_for_small_groups_of_permutations():
    with pytest.raises(ws.TheoryError, match="at most 1000000 elements, found 3628800"):
        ws.theory.commutant_dimension(ws.mlp([2, 10, 1]))
    space = ws.mlp([2, 3, 1])
    with pytest.raises(ws.TheoryError, match="permutations, found scales on neuron group"):
        ws.theory.commutant_dimension(space, space.symmetry())
