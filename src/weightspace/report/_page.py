"""The page: everything the template shows, as plain values."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._files import atomic_write
from ._charts import capacity_chart, curves_charts
from ._pictures import ERROR_LIMIT, galleries
from ._predictions import prediction_parts
from ._runs import Run, find_runs, output_file
from ._style import environment
from ._table import Estimate, Group, group_runs, unit_of

__all__ = ["write_report"]


def write_report(folders: Iterable[str | os.PathLike[str]], out_html: str | os.PathLike[str]) -> Path:
    """Write one HTML file about some runs; it needs no other file and no network to be read.

    Runs of one recipe share a table, a variant over its seeds is one line of it, beside the published figure if the
    recipe has one. Runs that are unfinished, missing or damaged are named as such.

    Args:
        folders: run folders, or folders that hold some at any depth.
        out_html: the file to write; replaced if it is there.

    Returns:
        The path of the page.

    Raises:
        ReportError: if a folder does not exist or holds no run, or ``out_html`` is a folder.
    """
    path = output_file(out_html, "report.html")

    templates = environment()
    templates.filters |= {"percent": _percent, "duration": _duration, "number": _number, "unit": unit_of}
    templates.filters["fixed"] = lambda value, digits: f"{value:.{digits}f}"
    groups = group_runs(find_runs(folders))
    page = templates.get_template("template.html").render(
        sections=[_section(group) for group in groups],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        error_limit=ERROR_LIMIT,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _section(group: Group) -> dict[str, Any]:
    """What the template shows of one recipe."""
    best = min if group.direction == "min" else max
    return {
        "group": group,
        "title": group.recipe.get("title", group.name),
        "best": best((row.test.mean for row in group.rows if row.test), default=None),
        "references": group.recipe.get("references") or {},
        "card": dict(_card(group)),  # the last value of a key counts
        "charts": [*filter(None, [capacity_chart(group)]), *curves_charts(group)],
        "predictions": prediction_parts(group),
        "galleries": galleries(group),
        "runs": [
            {"run": run, "settings": json.dumps(_settings(run), indent=2, ensure_ascii=False)} for run in group.runs
        ],
    }


def _settings(run: Run) -> str:
    """Everything that a run was asked to do, but for the shapes of its tensors, as JSON."""
    settings = {key: value for key, value in run.description.items() if key != "model"}
    return json.dumps(settings, indent=2, ensure_ascii=False)


def _card(group: Group) -> Iterator[tuple[str, str]]:
    """The protocol card, line by line."""
    run = next((run for run in group.runs if run.description), group.runs[0])
    task, train = (run.description.get(key) or {} for key in ("task", "train"))
    reduced = group.recipe.get("reduced")
    if reduced is not None:
        yield (
            "protocol",
            f"reduced: {reduced}" if isinstance(reduced, str) else ("reduced" if reduced else "as published"),
        )
    if group.recipe.get("reference"):
        yield "published figures", str(group.recipe["reference"])
    yield "task", str(task.get("name", "not recorded"))
    yield "examples", " / ".join(f"{size} {split}" for split, size in task.get("splits", {}).items())
    yield from ((f"zoo: {key}", _plain(value)) for key, value in (group.recipe.get("zoo") or {}).items())
    yield from ((str(key), _plain(value)) for key, value in (group.recipe.get("protocol") or {}).items())
    yield (
        "selection",
        (
            f"{'lowest' if group.direction == 'min' else 'highest'} validation {group.metric}, "
            f"every {train.get('validate_every', 1)} epoch(s); the test split is used once, at that epoch"
        ),
    )
    yield (
        "training",
        ", ".join(f"{key} {_plain(value)}" for key, value in train.items() if key not in ("seed", "validate_every")),
    )
    yield "seeds", ", ".join(sorted({str(run.seed) for run in group.runs}, key=lambda seed: (len(seed), seed)))
    yield "spread", "± is the sample standard deviation over seeds (n − 1); a single seed has none"
    yield from _machines(group.runs)


def _machines(runs: Iterable[Run]) -> Iterator[tuple[str, str]]:
    """Where the runs were made; more than one entry if they differ."""
    runs = [run for run in runs if run.environment]

    def seen(key: str) -> str:
        return "; ".join(sorted({_plain(run.environment.get(key)) for run in runs}))

    if runs:
        yield "device", f"{seen('device')}, {seen('processes')} process(es), {seen('threads')} thread(s)"
        yield "platform", f"{seen('platform')}, Python {seen('python')}"
        yield "versions", seen("packages")
    finished = [run.result.seconds for run in runs if run.result]
    yield "wall time", f"{_duration(sum(finished))} of training in {len(finished)} finished run(s)"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(value: Estimate | float) -> str:
    return f"{value.text(100, 1)} %" if isinstance(value, Estimate) else f"{100 * value:.1f} %"


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def _duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
