"""What a set lacks of its source is counted, listed, limited and said: entries of kept pictures, and cut sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.building.ledger import read_finished
from pipeline.example import Example, is_text
from shards.errors import SourceError
from shards.verify import find_faults
from tests.pipeline.toys import SETTINGS, Build, ToySource


def lines_of(build: Build) -> list[dict[str, object]]:
    return [json.loads(line) for line in (build.folder / "rejects.jsonl").read_text().splitlines()]


def test_an_entry_that_was_left_out_is_listed_and_its_picture_stays(tmp_path: Path) -> None:
    source = ToySource(left_out={"image001": ("ref 3 has no mask",)}, broken={"image002": "no picture"})
    build = Build(tmp_path / "toys", source)
    manifest = build.run()
    assert (manifest.counts["records"], manifest.counts["rejects"]) == (9, 2)
    assert lines_of(build) == [
        {"shard": "toys-000000", "key": "image001", "reason": "ref 3 has no mask", "whole": False},
        {"shard": "toys-000000", "key": "image002", "reason": "no picture"},
    ]
    assert build.said == [
        "1 pictures were left out, such as image002: no picture",
        "1 entries of 1 kept pictures were left out, such as image001: ref 3 has no mask",
    ]
    assert list(find_faults(build.folder)) == []


def test_entries_are_limited_as_pictures_are(tmp_path: Path) -> None:
    source = ToySource(left_out={f"image00{n}": ("no mask",) for n in range(3)})  # 3 entries beside 20 items
    strict = Build(tmp_path / "toys", source, settings=replace(SETTINGS, max_rejects=0.1))
    with pytest.raises(SourceError, match=r"3 of 23 entries were left out, max_rejects allows 10\.00%:\n  image000"):
        strict.run()
    assert replace(strict, settings=replace(SETTINGS, max_rejects=0.2)).run().counts["rejects"] == 3


def test_sentences_that_are_cut_are_counted_through_the_ledger(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys", ToySource(words=" with far too many words"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shards.writing.writer.render_card", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            build.run()
    finished = [read_finished(build.folder, shard.name) for shard in build.planned]
    assert [part and part.cut_sentences for part in finished] == [4, 4, 2]
    build.run()
    assert build.said == ["10 of 30 sentences were cut at the text encoder's token limit (text.length)"]


def stopped(*_: object) -> None:
    raise RuntimeError("stopped")


def test_a_set_that_lacks_nothing_says_nothing(tmp_path: Path) -> None:
    build = Build(tmp_path / "toys")
    build.run()
    assert (build.said, lines_of(build)) == ([], [])


def test_half_of_a_character_is_no_text() -> None:
    assert [is_text(value) for value in ("é ☕", "\ud83d half", 7, None)] == [True, False, False, False]
    with pytest.raises(SourceError, match="no text that UTF-8 can hold"):
        Example("a", ToySource().load("train", "image000").image, {}, ("\udc00",), ((0, 1),))
