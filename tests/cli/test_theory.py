import pytest

from weightspace.cli import main


def test_theory_lists_the_statements(capsys):
    assert main(["theory"]) == 0
    out = capsys.readouterr().out
    assert "bases" in out
    assert "weightspace theory NAME" in out


def test_theory_prints_the_numbers_of_one_statement(capsys, tmp_path):
    assert main(["theory", "bases", "--out", str(tmp_path / "theory")]) == 0
    out = capsys.readouterr().out
    assert "coefficients of the DWS layer on 2-3-3-2" in out
    assert "does not agree" not in out
    assert not (tmp_path / "theory").exists()  # no picture, no folder


def test_an_unknown_statement_is_refused(capsys, tmp_path):
    assert main(["theory", "flat-earth", "--out", str(tmp_path)]) == 2
    assert "unknown statement 'flat-earth'" in capsys.readouterr().err


def test_what_cannot_be_meant_is_refused_before_anything_is_computed(capsys, tmp_path):
    assert main(["theory", "bases", "--all", "--out", str(tmp_path)]) == 2
    assert "leave out bases" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["theory", "bases", "--out", str(tmp_path / "file")]) == 2
    assert "--out takes a folder" in capsys.readouterr().err


@pytest.mark.parametrize("value", [1.0, 3.0])
def test_all_writes_the_page_and_tells_of_numbers_that_do_not_agree(value, monkeypatch, capsys, tmp_path):
    from weightspace import theory

    def draw(figure):
        figure.subplots().plot([1, 2, 3])

    evidence = theory.Evidence((theory.Measurement.equal("sides of a triangle", value, 3),), draw)
    claim = "Three sides.\n\nThree <corners>."
    triangle = theory.Statement("triangle", "A triangle", "Euclid", claim, "By drawing it.", lambda: evidence)
    monkeypatch.setattr(theory, "statements", lambda *names: (triangle,))
    assert main(["theory", "--all", "--out", str(tmp_path)]) == (0 if value == 3 else 2)
    page = (tmp_path / "theory.html").read_text()
    assert (tmp_path / "triangle.png").read_bytes().startswith(b"\x89PNG")
    assert "<p>Three &lt;corners&gt;.</p>" in page
    assert "<svg" in page
    assert "#05050" not in page  # colours are the page's variables
    assert ("1 of 1" in page) == (value == 3)
    captured = capsys.readouterr()
    assert ("do not agree with their statements: see triangle" in captured.err) == (value != 3)
