"""Schema: every codec round-trips, and a value that does not fit is refused with its place named."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest

from shards.contract.canonical import canonical_json
from shards.contract.npy import npy_parts
from shards.contract.schema import Field, Record, Schema
from shards.errors import SchemaMismatch
from tests.shards.toy_set import SCHEMA, toy_record


def changed(**values: Any) -> Record:
    record = toy_record(0)
    return Record(record.key, {**record.values, **values})


def test_every_codec_round_trips() -> None:
    record = toy_record(5)
    members = SCHEMA.pack(record).members
    assert [member.name for member in members] == [f"image0005.{f.name}.{f.codec}" for f in SCHEMA.fields]
    for field, member in zip(SCHEMA.fields, members, strict=True):
        value = SCHEMA.unpack(field.name, member.payload)
        if field.codec == "npy":
            assert value.dtype == record.values[field.name].dtype
            np.testing.assert_array_equal(value, record.values[field.name])
        else:
            assert value == record.values[field.name]


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=">i4").reshape(2, 3).T, np.float32(2.5).reshape(()), np.zeros((0, 3))]
)
def test_numpy_itself_reads_our_npy_files(array: np.ndarray) -> None:
    payload = b"".join(npy_parts(array))
    np.testing.assert_array_equal(np.load(io.BytesIO(payload), allow_pickle=False), array)
    assert (len(payload) - array.nbytes) % 64 == 0


def test_npy_bytes_are_fixed() -> None:
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }"
    assert b"".join(npy_parts(np.array([1, 2], np.float16))) == header.ljust(127) + b"\n\x00<\x00@"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"latent": np.zeros((1, 4, 2, 2), np.float32)},
            "image0000.latent.npy: dtype is float32, the schema says float16",
        ),
        (
            {"latent": np.zeros((1, 4, 2, 3), np.float16)},
            r"shape is \[1, 4, 2, 3\], the schema says \['V', 4, 2, 2\]",
        ),
        ({"latent": np.full((1, 4, 2, 2), np.inf, np.float16)}, "NaN or infinity"),
        ({"latent": [1, 2]}, "value is list, expected a NumPy array"),
        ({"mask": b"GIF89a"}, "PNG signature"),
        ({"extra": "text"}, "value is str, expected encoded bytes"),
        ({"meta": {"items": [[0, 4]]}}, r"item \[0, 4\] is not a run .* 3 rows"),
        ({"meta": {"items": [[0, 0]]}}, "is not a run"),
        ({"meta": {"items": []}}, "at least one"),
        ({"meta": {"items": [[0, 1]], "x": float("nan")}}, "cannot be written as JSON"),
        ({"meta": {"items": [[0, 1]], 3: 1}}, "key 3 is int; JSON keys must be str"),
        ({"meta": {"items": [[0, 1]], "x": np.float32(1)}}, "cannot be written as JSON"),
        ({"surprise": 1}, "'surprise'.* not in the schema"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaMismatch, match=message):
        SCHEMA.pack(changed(**values))


def test_a_missing_value_is_refused() -> None:
    record = toy_record(0)
    values = {name: value for name, value in record.values.items() if name != "gist"}
    with pytest.raises(SchemaMismatch, match=r"image0000\.gist\.npy: no value"):
        SCHEMA.pack(Record(record.key, values))


@pytest.mark.parametrize("key", ["a.b", "a/b", "a b", "", "__a", "é", "x" * 99])
def test_keys_that_webdataset_or_tar_would_mangle_are_refused(key: str) -> None:
    with pytest.raises(SchemaMismatch):
        SCHEMA.pack(Record(key, toy_record(0).values))


def test_fields_of_one_axis_must_have_the_same_rows() -> None:
    fields = (
        Field("a", "npy", "int32", ("S",), "sentence"),
        Field("b", "npy", "int32", ("T",), "sentence"),
        Field("meta", "json"),
    )
    values = {"a": np.zeros(2, np.int32), "b": np.zeros(3, np.int32), "meta": {"items": [[0, 1]]}}
    with pytest.raises(SchemaMismatch, match=r"3 rows on axis 'sentence', an earlier .* has 2"):
        Schema(fields, "sentence").pack(Record("k", values))


def test_one_letter_has_one_value_in_a_record() -> None:
    fields = (
        Field("a", "npy", "int32", ("S", "L"), "sentence"),
        Field("b", "npy", "int32", ("L",)),
        Field("meta", "json"),
    )
    values = {"a": np.zeros((1, 4), np.int32), "b": np.zeros(5, np.int32), "meta": {"items": [[0, 1]]}}
    with pytest.raises(SchemaMismatch, match=r"k.b.npy: shape is \[5\].*L=4"):
        Schema(fields, "sentence").pack(Record("k", values))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Field("Latent", "npy", "float16", (2,)),
        lambda: Field("a", "pickle"),
        lambda: Field("a", "npy", "object", (2,)),
        lambda: Field("a", "npy", "float", (2,)),
        lambda: Field("a", "json", "float16"),
        lambda: Field("a", "npy", "int32", (), "view"),
        lambda: dataclasses.replace(SCHEMA, fields=SCHEMA.fields[::-1]),
        lambda: dataclasses.replace(SCHEMA, fields=SCHEMA.fields[:1] + SCHEMA.fields),
        lambda: dataclasses.replace(SCHEMA, item_axis="row"),
    ],
)
def test_impossible_schemas_are_refused(broken: Any) -> None:
    with pytest.raises(SchemaMismatch):
        broken()


def test_the_schema_survives_json() -> None:
    assert Schema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SchemaMismatch, match="'latents' is not in this set; it holds latent, tokens"):
        SCHEMA.field("latents")


def test_canonical_json_does_not_depend_on_insertion_order() -> None:
    assert canonical_json({"b": 1, "a": [1, (2,)]}) == b'{"a":[1,[2]],"b":1}'
    assert canonical_json({"a": (1, [2]), "b": 1}) == b'{"a":[1,[2]],"b":1}'
