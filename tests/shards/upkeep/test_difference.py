"""What differs between two sets: every kind of difference is found, named, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.contract.schema import Field, Record, Schema
from shards.contract.tables import write_table
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.difference import diff_sets
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import RECIPE, SCHEMA, toy_record

pytestmark = pytest.mark.usefixtures("in_either_form")


def edited(number: int, **values: Any) -> Record:
    record = toy_record(number)
    return Record(record.key, {**record.values, **values})


def set_of(
    folder: Path,
    records: list[Record],
    *,
    schema: Schema = SCHEMA,
    recipe: dict[str, Any] = RECIPE,
    per_shard: int = 4,
    table: float = 1.0,
    rejects: tuple[str, ...] = (),
) -> Path:
    starts = range(0, len(records), per_shard)
    shards = [
        write_shard(folder, f"s-{number:06d}", schema, records[start : start + per_shard])
        for number, start in enumerate(starts)
    ]
    shards[0] = replace(shards[0], rejects=len(rejects))
    tables = [write_table(folder, "classes", {"text": np.full((3, 2), table)}, {})]
    seal_set(
        folder,
        name=folder.name,
        split="train",
        recipe=recipe,
        schema=schema,
        shards=shards,
        tables=tables,
        rejects=[{"shard": "s-000000", "key": key, "reason": "cut"} for key in rejects],
    )
    return folder


@pytest.fixture
def six(tmp_path: Path) -> Path:
    return set_of(tmp_path / "six", [toy_record(number) for number in range(6)])


def test_a_copy_is_equal_wherever_it_is(six: Path, somewhere: Callable[[str], Folder]) -> None:
    copy_set(open_folder(six), somewhere("six"))
    found = diff_sets(six, str(somewhere("six")))
    assert found.equal
    assert list(found.lines())[1:] == ["a reader is given the same"]
    assert json.loads(json.dumps(found.to_json()))["equal"] is True


def test_other_shards_of_the_same_records_are_equal_to_a_reader(six: Path, tmp_path: Path) -> None:
    other = set_of(tmp_path / "other", [toy_record(number) for number in range(6)], per_shard=2)
    found = diff_sets(six, other)
    assert found.equal
    assert found.shards
    assert "shards: the files differ" in "\n".join(found.lines())


def test_records_and_the_fields_that_differ_are_named(six: Path, tmp_path: Path) -> None:
    latent = toy_record(3).values["latent"].copy()
    latent[-1, 0, 0, 0] += 1
    records = [
        toy_record(0),
        edited(3, latent=latent, extra=b"longer than before"),
        edited(2, meta={**toy_record(2).values["meta"], "number": 99}),
        toy_record(4),
        toy_record(5),
        toy_record(7),
    ]
    found = diff_sets(six, set_of(tmp_path / "other", records))
    assert not found.equal
    assert found.only_here == ("image0001",)
    assert found.only_there == ("image0007",)
    assert found.changed == {"image0002": ("meta",), "image0003": ("latent", "extra")}
    assert found.order
    text = "\n".join(found.lines())
    for line in (
        "1 records that are only here: image0001",
        "1 records whose meta differs: image0002",
        "1 records whose latent, extra differ: image0003",
        "the records that both have come in another order",
        "the sets differ",
    ):
        assert line in text


def test_settings_schema_tables_and_rejects(six: Path, tmp_path: Path) -> None:
    fields = [replace(field, unit="feet") if field.name == "depth" else field for field in SCHEMA.fields]
    fields = [field for field in fields if field.name != "mask"]
    schema = Schema((*fields[:2], Field("more", "bin"), *fields[2:]), "sentence")
    records = []
    for number in range(6):
        values = {k: v for k, v in toy_record(number).values.items() if k != "mask"}
        records.append(Record(f"image{number:04d}", {**values, "more": b"x"}))
    recipe = {**RECIPE, "encoder": {"vae": {"weights": "5678"}}}
    other = set_of(tmp_path / "other", records, schema=schema, recipe=recipe, table=2.0, rejects=("image9999",))
    found = diff_sets(six, other)
    assert found.recipe == ("encoder.vae.weights: '1234' here, '5678' in the other",)
    assert found.fields == (
        "field depth: unit 'millimetres, 0 = no measurement' here, 'feet' there",
        "field mask is only here",
        "field more is only there",
    )
    assert found.tables == ("classes: its arrays differ",)
    assert found.counts == {"rejects": (0, 1)}
    assert [json.loads(line)["key"] for line in found.rejects_there] == ["image9999"]
    assert len(found.fingerprints) == 2
    assert found.changed == {}


def test_no_tar_is_read(six: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shards.storage.local import LocalFolder

    monkeypatch.setattr(LocalFolder, "hold", None)
    assert diff_sets(six, six).equal
