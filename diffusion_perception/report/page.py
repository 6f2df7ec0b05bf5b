"""The report as one HTML file: curves and pictures inside it, no script, nothing loaded from anywhere.

Owns the order and the words. Style and tables are those of the other pages (`pipeline.inspection.markup`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from statistics import median
from typing import Any

from diffusion_perception.report.comparing import differences, repetitions, scores_of
from diffusion_perception.report.curves import drawn
from diffusion_perception.report.features import SeenFeatures
from diffusion_perception.report.over_time import OverTime
from diffusion_perception.report.predictions import Answered, Extremes
from diffusion_perception.report.runs import RunRecord
from pipeline.inspection.markup import document, figure, image, note
from shards.progress import duration

LOGARITHMIC = ("loss", "gradient_norm", "lr")
FIRST = ("loss", "gradient_norm", "lr", "items_per_s", "wait_share", "mfu", "peak_memory_gb")  # curves of training
CURVES = 12  # of validation scores; the others are in the table
SETTINGS = "every setting in force"


def page(
    runs: Sequence[RunRecord],
    examples: Sequence[tuple[str, Extremes, Sequence[str]]] = (),
    drawn_over_time: Mapping[str, OverTime] | None = None,
    seen: Mapping[str, SeenFeatures] | None = None,
) -> str:
    """The whole file.

    Args:
        examples: for a run, by its name: the best and worst predictions, and what is to be known about them.
        drawn_over_time: for a run, by its name: the pictures that it drew at its evaluations.
        seen: for a run, by its name: what its backbone makes of its fixed pictures.
    """
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.name for run in runs)}"
    return document(title, _body(runs, examples, drawn_over_time or {}, seen or {}))


def _body(
    runs: Sequence[RunRecord],
    examples: Sequence[tuple[str, Extremes, Sequence[str]]],
    drawn_over_time: Mapping[str, OverTime],
    seen: Mapping[str, SeenFeatures],
) -> Iterator[str]:
    for run in runs:
        yield from (note("warning", f"{run.name}: a damaged checkpoint, {line}") for line in run.damaged)
    yield from _overview(runs)
    yield from _curves(runs, "val", "Validation")
    yield from _scores(runs)
    yield from _repeated(runs)
    yield from _over_time(drawn_over_time)
    yield from _features(seen)
    yield from _pictures(examples)
    yield from _curves(runs, "train", "Training")
    yield from _settings(runs)


def _overview(runs: Sequence[RunRecord]) -> Iterator[str]:
    facts = [_facts(run) for run in runs]
    yield "<h2>Runs</h2>"
    yield from _rows(["", *(run.name for run in runs)], [[what, *(one[what] for one in facts)] for what in facts[0]])


def _facts(run: RunRecord) -> dict[str, str]:
    """What a person asks first, in words: the same questions of every run, whatever its task."""
    rates = [value for _, value in run.curve("train", "items_per_s")]
    waits = [value for _, value in run.curve("train", "wait_share")]
    memory = [value for _, value in run.curve("train", "peak_memory_gb")]
    times = [line["time_s"] for line in run.lines if isinstance(line.get("time_s"), int | float)]
    kept = ", ".join(str(one.step) for one in run.checkpoints)
    best = f"{run.metric} {run.best[1]:.4g} at step {run.best[0]}" if run.best else "not validated"
    made_with = run.state.get("environment", {})
    return {
        "task": str(run.settings.get("task.name", "")),
        "steps": f"{run.state['step']}",
        "best validation": best,
        "training set": f"{run.state['train_set']} ({str(run.state['fingerprint'])[:12]})",
        "samples a second": f"{median(rates):.1f}" if rates else "-",
        "share of waiting for data": f"{median(waits):.1%}" if waits else "-",
        "peak GPU memory": f"{max(memory):.1f} GB" if memory else "-",
        "first to last line": duration(max(times) - min(times)) if len(times) > 1 else "-",
        "last line": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(times))) if times else "-",
        "checkpoints kept": kept,
        "made with": ", ".join(f"{name} {value}" for name, value in made_with.items()) or "not recorded",
        "folder": run.url,
    }


def _curves(runs: Sequence[RunRecord], kind: str, title: str) -> Iterator[str]:
    names = list(dict.fromkeys(name for run in runs for name in run.measured(kind)))
    if kind == "train":
        names = [name for name in FIRST if name in names]
    else:
        chosen = [run.metric for run in runs]
        names = sorted(names, key=lambda name: (name not in chosen, names.index(name)))[:CURVES]
    pictures = []
    for name in names:
        curves = {run.name: run.curve(kind, name) for run in runs}
        if any(curves.values()):
            svg = drawn(f"{kind}: {name}", curves, logarithmic=kind == "train" and name in LOGARITHMIC)
            pictures.append(f'<figure class="curve">{svg}</figure>')
    if pictures:
        yield f"<h2>{title}</h2>"
        yield f'<div class="curves">{"".join(pictures)}</div>'


def _scores(runs: Sequence[RunRecord]) -> Iterator[str]:
    scored = [scores_of(run) for run in runs]
    names = list(dict.fromkeys(name for one in scored for name in one))
    if not names:
        return
    yield "<h2>Scores</h2><p>Of the validation in training that was best, and of the evaluations that were run.</p>"
    yield from _rows(
        ["", *(run.name for run in runs)], [[name, *(_cell(one.get(name)) for one in scored)] for name in names]
    )


def _repeated(runs: Sequence[RunRecord]) -> Iterator[str]:
    for group in repetitions(runs):
        names = ", ".join(run.name for run in group.runs)
        yield f"<h2>{len(group.runs)} seeds of one configuration</h2>"
        yield f"<p>{escape(names)}; seeds {escape(', '.join(map(str, group.seeds)))}: mean and standard deviation.</p>"
        yield from _rows(
            ["", "mean", "standard deviation"],
            [[name, _cell(mean), _cell(spread)] for name, (mean, spread) in group.spread().items()],
        )


def _pictures(examples: Sequence[tuple[str, Extremes, Sequence[str]]]) -> Iterator[str]:
    for name, found, notes in examples:
        best, worst = found.apart()
        yield f"<h2>Predictions of {escape(name)}</h2>"
        yield from (f"<p>{escape(line)}</p>" for line in notes)
        for title, chosen in (("The best", best), ("The worst", worst[::-1])):
            yield f"<h3>{title} of {found.scored}: the picture, its labels, the prediction</h3>" if chosen else ""
            yield f'<div class="pairs">{"".join(map(_answer, chosen))}</div>'


def _over_time(drawn_over_time: Mapping[str, OverTime]) -> Iterator[str]:
    for name, pictures in drawn_over_time.items():
        if pictures:
            yield f"<h2>The same pictures as {escape(name)} learned</h2>"
            yield "<p>Predictions at some of its evaluations, the first and the last among them.</p>"
        for key, shown in pictures.items():
            cells = "".join(
                f"<figure>{image(f'{key} at step {step}', encoded)}<figcaption>step {step}</figcaption></figure>"
                for step, encoded in shown
            )
            yield f'<h3>{escape(key)}</h3><div class="steps">{cells}</div>'


def _features(seen: Mapping[str, SeenFeatures]) -> Iterator[str]:
    for name, found in seen.items():
        yield f"<h2>Features of {escape(name)}</h2>"
        yield from (f"<p>{escape(line)}</p>" for line in found.notes)
        for record in found.records:
            cells = "".join(
                f"<figure>{image(f'{record.key}: {what}', encoded)}<figcaption>{escape(what)}</figcaption></figure>"
                for what, encoded in record.shown
            )
            said = f"{record.key}: {record.said}" if record.said else record.key
            yield f'<h3>{escape(said)}</h3><div class="steps">{cells}</div>'


def _answer(one: Answered) -> str:
    said = f"score {one.score:.4g}" + (f": {one.said}" if one.said else "")
    texts = ((said, None), *one.drawing.texts)
    return figure(replace(one.drawing, texts=texts), ("predicted", one.answer))


def _settings(runs: Sequence[RunRecord]) -> Iterator[str]:
    if len(runs) > 1:
        different = differences(runs)
        yield "<h2>Settings that differ</h2>"
        if not different:
            yield "<p>None.</p>"
        else:
            rows = [[path, *map(_spelled, values)] for path, values in different.items()]
            yield from _rows(["", *(run.name for run in runs)], rows)
    for run in runs:
        yield f"<details><summary>{escape(run.name)}: {SETTINGS}</summary>"
        yield from _rows(["setting", "value"], [[path, _spelled(value)] for path, value in run.settings.items()])
        yield "</details>"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table with names on the left."""
    yield '<div class="wide"><table><tr>' + "".join(f"<th>{escape(word)}</th>" for word in head) + "</tr>"
    for first, *cells in rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f"<tr><td>{escape(first)}</td>{values}</tr>"
    yield "</table></div>"


def _cell(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _spelled(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
