"""The fixed pictures of a run on its page: read from its event files, some of many, with both ends."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import fsspec
from PIL import Image

from diffusion_perception.report.over_time import SHOWN, drawn_over_time, some
from diffusion_perception.report.page import page
from diffusion_perception.report.runs import read_run
from tests.diffusion_perception.report.runs_on_disk import write_run
from vpd.training.telemetry.log import RunLog


def jpeg(level: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (6, 4), (level, level, level)).save(encoded, "JPEG")
    return encoded.getvalue()


def draw(folder: Path, steps: range) -> None:
    log = RunLog(folder, resume_step=10**6, echo=lambda text: None)  # whose lines are kept
    for step in steps:
        log.show(step, "street <1>.jpg", jpeg(step))
    log.close()


def test_some_are_the_first_and_the_last_and_some_between() -> None:
    found = [(step, b"") for step in range(0, 110, 10)]
    assert [step for step, _ in some(found)] == [0, 20, 40, 60, 80, 100]
    assert some(found[:SHOWN]) == found[:SHOWN]


def test_they_are_on_the_page_in_order(tmp_path: Path) -> None:
    run = read_run(str(folder := write_run(tmp_path, "a")))
    assert drawn_over_time(run.url) == {}
    assert "The same pictures" not in page([run], (), {"a": {}})
    draw(folder, range(10, 40, 10))
    drawn = drawn_over_time(run.url)
    assert drawn == {"street <1>.jpg": tuple((step, jpeg(step)) for step in (10, 20, 30))}
    text = page([run], (), {"a": drawn})
    section = text.partition("The same pictures as a learned")[2].partition("<h2>")[0]
    assert "<h3>street &lt;1&gt;.jpg</h3>" in section
    places = [section.index(base64.b64encode(jpeg(step)).decode()) for step in (10, 20, 30)]
    assert places == sorted(places)
    assert section.count("<figcaption>step ") == 3


def test_they_are_read_from_a_url_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a")
    draw(folder, range(10, 30, 10))
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/over-time/a", recursive=True)
    try:
        assert [step for step, _ in drawn_over_time("memory://over-time/a")["street <1>.jpg"]] == [10, 20]
    finally:
        memory.rm("/over-time", recursive=True)
