from pathlib import Path

from weightspace.cli import main


def test_report_writes_page_and_figure(tmp_path, capsys, folders):
    runs = folders.write_all(tmp_path / "runs")
    out, figure = tmp_path / "new" / "page.html", tmp_path / "new" / "figure.png"
    assert main(["report", str(runs), "--out", str(out), "--figure", str(figure)]) == 0
    assert [Path(line) for line in capsys.readouterr().out.splitlines()] == [figure, out]
    assert out.read_text().startswith("<!doctype html>")
    assert figure.read_bytes().startswith(b"\x89PNG")
