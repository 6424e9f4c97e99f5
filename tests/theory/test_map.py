"""The expressivity map: verdicts that other packages may ask for, and the computations behind them."""

import dataclasses

import pytest
import torch
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


@pytest.mark.parametrize("architecture", SAME)
@pytest.mark.parametrize(
    ("universal", "target", "options"),
    [
        (True, FUNCTIONAL, {}),
        (True, FUNCTIONAL, {"hidden_layers": 1}),
        (True, FUNCTIONAL, {"hidden_layers": 1, "domain": "general position"}),
        (False, INVARIANT, {}),
        (False, INVARIANT, {"hidden_layers": 5}),
        (True, INVARIANT, {"hidden_layers": 1}),
        (True, INVARIANT, {"hidden_layers": 1, "domain": "general position"}),
        (True, INVARIANT, {"hidden_layers": 1, "norm": "mean error"}),
        (True, INVARIANT, {"domain": "general position"}),
        (True, INVARIANT, {"norm": "mean error"}),
        (False, FUNCTIONS, {}),
        (False, FUNCTIONS, {"output": "wide"}),
        (True, FUNCTIONS, {"output": "many"}),
        (False, FUNCTIONS, {"hidden_layers": 1}),
        (False, FUNCTIONS, {"hidden_layers": 1, "output": "wide"}),
        (True, FUNCTIONS, {"hidden_layers": 1, "output": "many"}),
        (False, FUNCTIONS, {"domain": "general position"}),
        (True, FUNCTIONS, {"domain": "general position", "output": "wide"}),
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


def test_without_positions_nothing_is_universal():
    assert not any(v.universal for v in MAP.verdicts if v.architecture == "np-nfn, no positions")


def test_sorting_comes_near_to_all_that_capacity_allows_and_is_symmetric_off_ties_alone():
    found = [v for v in MAP.verdicts if v.architecture == "canon-mlp"]
    assert [v.output for v in found if not v.universal] == ["same", "same"]
    assert all(v.target == FUNCTIONS for v in found if not v.universal)
    assert all(v.symmetric == (v.domain == "general position") for v in found if v.universal)
    assert all(v.symmetric for v in MAP.verdicts if v.architecture != "canon-mlp")


def test_an_mlp_of_the_sorted_network_approximates_an_invariant_functional_at_ties():
    """To a tenth of the spread of the functional, on permuted copies that the fit has not seen."""
    pair = ws.theory.wl_pair("c8")
    space, group = pair.both.space, pair.both.space.symmetry("permutation")
    generator = torch.Generator().manual_seed(0)

    def drawn(batch):
        which = torch.arange(batch) % 2
        moved = group.act(group.sample(batch, generator, dtype=torch.float64), pair.both[which.tolist()])
        return moved, pair.functional(moved)[:, None] / 8 - 3.5  # -0.5 and 0.5

    torch.manual_seed(0)
    net = ws.build("canon-mlp", space, task="invariant", hidden=32, depth=2, dropout=0.0).double()
    theta, wanted = drawn(1200)  # more than the 8 x 9 sorted forms of the two networks have been seen by chance
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (net(theta) - wanted).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        theta, wanted = drawn(2000)
        assert float((net(theta) - wanted).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("no-such", INVARIANT), {}),
        (("dws", "functional"), {}),
        (("dws", INVARIANT, "everywhere"), {}),
        (("dws", FUNCTIONS), {"output": "few"}),
        (("dws", INVARIANT), {"output": "few"}),
        (("dws", INVARIANT), {"norm": "sup"}),
        (("dws", INVARIANT), {"hidden_layers": 0}),
    ],
)
def test_words_that_are_not_known_are_refused_with_those_that_are(arguments, options):
    with pytest.raises(ws.TheoryError, match=r"is none of|at least 1 hidden layer"):
        MAP.query(*arguments, **options)


def test_the_table_has_a_line_for_each_architecture():
    *_, last = lines = str(MAP).splitlines()
    assert last.split() == ["np-nfn,", "no", "positions", *"N" * 14]
    assert next(line for line in lines if line.startswith("dws")).split() == ["dws", *"UUUNUNNUNUUUNU"]
    assert next(line for line in lines if line.startswith("canon-mlp")).split() == ["canon-mlp", *"uUuuUNuuNUUuuU"]


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
    assert "".join(text.get_text() for text in axes.texts[:14]) == "UUUNUNNUNUUUNU"
    assert len(axes.texts) == len(MAP.verdicts)
