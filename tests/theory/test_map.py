"""The expressivity map: verdicts that other packages may ask for, and the computations behind them."""

import dataclasses

import pytest
from matplotlib.figure import Figure

import weightspace as ws
from weightspace.theory import Measurement, expressivity_map

MAP = expressivity_map()
SAME = ("dws", "hnp-nfn", "np-nfn", "gmn", "ng-gnn", "nft")
FUNCTIONAL, INVARIANT = "functional of the function", "invariant functional"
FUNCTIONS, EQUIVARIANT = "operator on functions", "equivariant operator"


@pytest.fixture(scope="module")
def verified():
    return MAP.verify()


def test_every_cell_runs_and_agrees(verified):
    assert set(verified) == set(MAP.verdicts)
    assert all(numbers for numbers in verified.values())
    wrong = {(v.architecture, v.target): m for v, numbers in verified.items() for m in numbers if not m.holds}
    assert not wrong


def test_a_verdict_of_no_is_backed_by_a_gap_or_a_bound_and_one_of_yes_by_errors(verified):
    for verdict, numbers in verified.items():
        bounded_below = any(m.high == float("inf") for m in numbers)
        assert bounded_below != verdict.universal


@pytest.mark.parametrize("architecture", SAME)
@pytest.mark.parametrize(
    ("universal", "target", "options"),
    [
        (True, FUNCTIONAL, {}),
        (False, INVARIANT, {}),
        (False, INVARIANT, {"hidden_layers": 5}),
        (True, INVARIANT, {"hidden_layers": 1}),
        (True, INVARIANT, {"domain": "general position"}),
        (True, INVARIANT, {"norm": "mean error"}),
        (False, FUNCTIONS, {}),
        (False, FUNCTIONS, {"output": "wider"}),
        (True, FUNCTIONS, {"output": "many"}),
        (False, FUNCTIONS, {"domain": "general position"}),
        (True, FUNCTIONS, {"domain": "general position", "output": "wider"}),
        (False, FUNCTIONS, {"norm": "mean error"}),
        (False, EQUIVARIANT, {}),
        (True, EQUIVARIANT, {"hidden_layers": 1}),
        (True, EQUIVARIANT, {"domain": "general position"}),
    ],
)
def test_verdicts(architecture, universal, target, options):
    verdict = MAP.query(architecture, target, **options)
    assert verdict.universal == universal
    assert verdict.architecture == architecture
    assert verdict.reason


def test_architectures_that_differ():
    assert not any(v.universal for v in MAP.verdicts if v.architecture == "np-nfn, no positions")
    canonical = [v for v in MAP.verdicts if v.architecture == "canon-mlp"]
    assert not any(v.universal for v in canonical if v.domain == "all networks")
    assert MAP.query("canon-mlp", INVARIANT, "general position").universal
    assert MAP.query("canon-mlp", INVARIANT, norm="mean error").universal


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("no-such", INVARIANT), {}),
        (("dws", "functional"), {}),
        (("dws", INVARIANT, "everywhere"), {}),
        (("dws", FUNCTIONS), {"output": "few"}),
        (("dws", INVARIANT), {"norm": "sup"}),
        (("dws", INVARIANT), {"hidden_layers": 0}),
    ],
)
def test_words_that_are_not_known_are_refused_with_those_that_are(arguments, options):
    with pytest.raises(ws.TheoryError, match=r"dws|largest error"):
        MAP.query(*arguments, **options)


def test_the_table_has_a_line_for_each_architecture():
    *_, last = lines = str(MAP).splitlines()
    assert last.split() == ["np-nfn,", "no", "positions", *"N" * 14]
    assert next(line for line in lines if line.startswith("dws")).split() == ["dws", *"UUUNUNNUNUUUNU"]


def test_each_witness_runs_once_for_an_architecture():
    runs = []

    def witness(name):
        runs.append(name)
        return [Measurement.equal("one", 1, 1)]

    verdicts = tuple(dataclasses.replace(v, witness=witness) for v in MAP.verdicts)
    seen = []
    found = dataclasses.replace(MAP, verdicts=verdicts).verify(progress=lambda cells: seen.extend(cells) or cells)
    assert len(found) == len(seen) == len(verdicts)
    assert len(runs) == len(set(runs)) == 8


def test_the_picture_has_a_cell_for_each_verdict():
    figure = Figure()
    MAP.draw(figure)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["U" if v.universal else "N" for v in MAP.verdicts]
