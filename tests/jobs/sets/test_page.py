"""`set inspect html=...` in a browser: nothing is missing, nothing is reported, nothing stands out of its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.contract.schema import Field, Schema
from shards.reading.reader import ShardSet
from shards.writing.writer import seal_set, write_shard
from tests.jobs import test_check_page
from tests.shards.toy_set import SCHEMA, toy_record
from tests.toy_runs import write_set

Ended = Callable[..., int]
browser = test_check_page.browser
EVIL = "<script>alert(1)</script>" + "a_word_that_does_not_end_" * 12


def hostile(folder: Path) -> Path:
    """Names, reasons and units that would do harm, were they not text."""
    fields = tuple(Field(f.name, f.codec, f.dtype, f.shape, f.axis, f.unit or EVIL) for f in SCHEMA.fields)
    schema = Schema(fields, "sentence")
    shard = write_shard(folder, "s-000000", schema, [toy_record(number) for number in range(3)])
    entry = type(shard)(**{**shard.to_json(), "rejects": 1})
    rejects = [{"shard": "s-000000", "key": EVIL, "reason": EVIL}]
    seal_set(folder, name=EVIL, split=EVIL, recipe={}, schema=schema, shards=[entry], rejects=rejects)
    return folder


@pytest.mark.parametrize("kind", ["refer", "seg", "depth", "hostile"])
def test_the_page_is_whole_at_any_width(kind: str, browser: Any, tmp_path: Path, ended: Ended) -> None:
    folder = hostile(tmp_path / kind) if kind == "hostile" else write_set(tmp_path / kind, kind)
    path = tmp_path / "set.html"
    assert ended("inspect", str(folder), f"html={path}") == 0
    said: list[str] = []
    requests: list[str] = []
    for width in (test_check_page.WIDE_PX, test_check_page.NARROW_PX):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        loaded = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.width])")
        assert len(loaded) == 2 * ShardSet.open(folder).n_records
        assert all(natural > 0 and shown > 40 for natural, shown in loaded)
        curves = page.evaluate(
            "[...document.querySelectorAll('svg')].map(curve => curve.getBoundingClientRect().height)"
        )
        assert len(curves) == 5  # four channels, and bytes
        assert min(curves) > 20
        assert page.evaluate(test_check_page.OUT_OF_PLACE) == []
        found = [heading.inner_text() for heading in page.locator("h2").all()]
        assert found == ["Records", "Latents", "Sizes", "Fields", "Rejects", "Shards"]
        page.close()
    assert said == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_a_page_of_a_url_and_settings_that_do_not_fit(
    remote: str, toy_root: Path, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "p.html"
    assert ended("inspect", remote, f"html={path}", "page.records=2", "page.looked_at=3") == 0
    assert f"pictures and all of this: {path}" in capsys.readouterr().out
    assert path.read_text().count("<figure>") == 2 + 5
    assert ended("inspect", remote, "page.records=2") == 1
    assert "page: no page is asked for. Name the file: html=FILE." in capsys.readouterr().err
    assert ended("inspect", remote, str(toy_root), f"html={path}") == 1
    assert "is one page; name one set, found 2." in capsys.readouterr().err
