import builtins
import subprocess
import sys

import pytest

import weightspace
from weightspace import ReportError
from weightspace.cli import _report, main


def replace_report(monkeypatch, error):
    def fails(*arguments):
        raise error

    monkeypatch.setattr(_report.report, "write_report", fails)


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"weightspace {weightspace.__version__}\n"
    with pytest.raises(SystemExit) as leaves:
        main([])
    assert leaves.value.code == 0
    listed = capsys.readouterr().out
    for command in ("demo", "fit-inrs", "train", "evaluate", "edit", "report"):
        assert command in listed


@pytest.mark.parametrize("command", ["demo", "fit-inrs", "train", "evaluate", "edit", "report"])
def test_help_of_a_command_shows_defaults(command, capsys):
    with pytest.raises(SystemExit) as leaves:
        main([command, "--help"])
    assert leaves.value.code == 0
    assert "(default: " in capsys.readouterr().out


def test_an_unknown_option_is_named(capsys):
    with pytest.raises(SystemExit) as leaves:
        main(["report", "runs", "--colour", "red"])
    assert leaves.value.code == 2
    assert "--colour" in capsys.readouterr().err


def test_a_refusal_is_one_line_and_code_2(monkeypatch, capsys, tmp_path):
    replace_report(monkeypatch, ReportError("[b]runs[/b] holds no run"))
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "[b]runs[/b] holds no run\n"


def test_an_interruption_says_what_is_saved_and_code_130(monkeypatch, capsys, tmp_path):
    replace_report(monkeypatch, KeyboardInterrupt())
    assert main(["report", str(tmp_path), "--out", "page.html"]) == 130
    assert capsys.readouterr().err == "\nInterrupted: page.html is as it was before; run the command again.\n"


def test_an_interruption_that_knows_more_is_quoted(monkeypatch, capsys, tmp_path):
    replace_report(monkeypatch, KeyboardInterrupt("interrupted: 5 of 9 are in [b]; the same call continues"))
    assert main(["report", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "\nInterrupted: 5 of 9 are in [b]; the same call continues\n"


def test_an_interruption_while_modules_are_imported(monkeypatch, capsys):
    def interrupted(name, *arguments):
        if name == "_main":
            raise KeyboardInterrupt
        return usual(name, *arguments)

    usual = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert main(["report"]) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path):
    replace_report(monkeypatch, ModuleNotFoundError("No module named 'jinja2'", name="jinja2"))
    assert main(["report", str(tmp_path)]) == 2
    assert "pip install 'weightspace[report]'" in capsys.readouterr().err


def test_an_error_of_the_library_itself_is_not_hidden(monkeypatch, tmp_path):
    replace_report(monkeypatch, RuntimeError("a mistake"))
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["report", str(tmp_path)])


def test_as_a_module_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "weightspace", "report", str(tmp_path / "absent")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{tmp_path / 'absent'} is no folder; give a run folder or one that holds run folders"
    ]


def test_what_ctrl_c_leaves_half_made_is_let_go_in_silence(monkeypatch, tmp_path, capsys):
    """The hook of pytest makes a failure of what `__del__` raises."""

    class HalfMade:
        def __del__(self):
            raise AttributeError("pos")

    def interrupted(*arguments):
        bar = HalfMade()
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(f"interrupted while {type(bar).__name__} was made") from interrupt

    monkeypatch.setattr(_report.report, "write_report", interrupted)
    assert main(["report", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "\nInterrupted while HalfMade was made\n"
