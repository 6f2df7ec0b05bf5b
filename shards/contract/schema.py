"""What one record holds: fields with their codec, dtype, shape and unit, and which rows an item owns.

A record is one source image with everything that belongs to it; an item is what an epoch counts: a run of
rows of `item_axis` (the sentences of one ref, or one view). Field values are packed and checked here; where
the bytes go is `writer`'s and `index`'s business. Why so: docs/methods/shards.md#records-and-items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.npy import MAX_HEADER_BYTES, is_finite, npy_parts, parse_header, storage_dtype
from shards.errors import SchemaMismatch

CODECS = ("npy", "json", "png", "bin")
META = "meta"
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")  # webdataset lower-cases member suffixes and drops a leading "_"
_KEY = re.compile(r"(?!__)[!-~]+")  # visible ASCII; webdataset skips names that start with "__"
_MEMBER_BYTES = 100  # USTAR holds a name of 100 bytes
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Record:
    """One record to write: `key` without dot or slash, and a value for every field of the schema.

    `values["meta"]["items"]` is a list of [first_row, n_rows] on the schema's item axis.
    """

    key: str
    values: Mapping[str, Any]  # ndarray (npy), JSON-able dict (json), bytes (png, bin)


@dataclass(frozen=True)
class Member:
    """One file of a packed record: `header`, then `data`, of which hashes cover `rows` equal parts."""

    name: str  # with the key
    header: bytes  # of an npy file; empty otherwise
    data: bytes | memoryview
    shape: tuple[int, ...]  # of the array; empty otherwise
    rows: int

    @property
    def payload(self) -> bytes:
        """The whole file."""
        return self.header + self.data


@dataclass(frozen=True)
class PackedFields:
    """One record as it lies in a tar: its members in schema order, and the runs of meta["items"]."""

    key: str
    members: tuple[Member, ...]
    items: list[tuple[int, int]]


@dataclass(frozen=True)
class PackedRecord:
    """One record as it was packed before: (member file name, bytes) in schema order."""

    key: str
    members: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Field:
    """One member file `<key>.<name>.<codec>` of every record.

    `shape` fixes integers and lets letters vary by record; one letter has one value inside a record. `axis`
    names the leading dimension when single rows of it may be read alone. `unit` is prose.
    """

    name: str
    codec: str
    dtype: str = ""
    shape: tuple[int | str, ...] = ()
    axis: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not _FIELD_NAME.fullmatch(self.name):
            raise SchemaMismatch(
                f"field name {self.name!r}: expected lower case letters, digits and '_', a letter first"
            )
        if self.codec not in CODECS:
            raise SchemaMismatch(f"field {self.name}: codec {self.codec!r} is not one of {', '.join(CODECS)}")
        if self.codec == "npy":
            storage_dtype(self.dtype)
        elif self.dtype or self.shape or self.axis:
            raise SchemaMismatch(f"field {self.name}: only codec npy takes dtype, shape and axis")
        if self.axis and not self.shape:
            raise SchemaMismatch(f"field {self.name}: axis {self.axis!r} needs a leading dimension in shape")

    @property
    def member(self) -> str:
        """File name without the key, e.g. `latent.npy`."""
        return f"{self.name}.{self.codec}"

    @property
    def row_shape(self) -> tuple[int | str, ...]:
        """Shape of what one hash covers: one row of the axis, or the whole array."""
        return self.shape[1:] if self.axis else self.shape

    def check_shape(
        self,
        dtype: np.dtype,
        shape: tuple[int, ...],
        letters: dict[str, int],
        where: str,
    ) -> None:
        """SchemaMismatch unless dtype and shape fit; binds this record's `letters`."""
        if dtype.newbyteorder("<") != storage_dtype(self.dtype):
            raise SchemaMismatch(
                f"{where}: dtype is {dtype.name}, the schema says {self.dtype}; fix the encoder or the schema"
            )
        fits = len(shape) == len(self.shape) and all(
            size == (letters.setdefault(want, size) if isinstance(want, str) else want)
            for size, want in zip(shape, self.shape, strict=True)
        )
        if not fits:
            known = ", ".join(f"{letter}={size}" for letter, size in letters.items())
            raise SchemaMismatch(
                f"{where}: shape is {list(shape)}, the schema says {list(self.shape)}"
                f"{f' with {known}' if known else ''}"
            )


@dataclass(frozen=True)
class Schema:
    """Ordered fields; the last one is `meta` (json). Tensors come first, so that they lie together in the
    tar.
    """

    fields: tuple[Field, ...]
    item_axis: str

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise SchemaMismatch(f"schema names a field twice: {names}")
        if not self.fields or (self.fields[-1].name, self.fields[-1].codec) != (META, "json"):
            raise SchemaMismatch(f"the last field must be Field('meta', 'json'); found {names}")
        if self.item_axis not in self.axes:
            raise SchemaMismatch(f"item_axis {self.item_axis!r} is no field's axis: {list(self.axes)}")

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all axes, in field order."""
        return tuple(dict.fromkeys(field.axis for field in self.fields if field.axis))

    def field(self, name: str) -> Field:
        """The field called `name`; SchemaMismatch listing the available ones."""
        for field in self.fields:
            if field.name == name:
                return field
        known = ", ".join(field.name for field in self.fields)
        raise SchemaMismatch(f"field {name!r} is not in this set; it holds {known}")

    @property
    def key_characters(self) -> int:
        """How long a record's key can be: a tar has little room for the name of a file."""
        return _MEMBER_BYTES - 1 - max(len(field.member) for field in self.fields)

    def pack(self, record: Record) -> PackedFields:
        """The record's files, checked; SchemaMismatch if any value does not fit."""
        check_key(record.key)
        unknown = set(record.values) - {field.name for field in self.fields}
        if unknown:
            raise SchemaMismatch(
                f"{record.key}: values {sorted(unknown)} are not in the schema; add a Field or drop them"
            )
        letters: dict[str, int] = {}
        axis_rows: dict[str, int] = {}
        members = []
        for field in self.fields:
            where = f"{record.key}.{field.member}"
            if field.name not in record.values:
                raise SchemaMismatch(f"{where}: no value given; every record holds every field of the schema")
            if len(where) > _MEMBER_BYTES:
                raise SchemaMismatch(
                    f"{where}: a name of {len(where)} characters, tar holds {_MEMBER_BYTES}; shorten the key"
                )
            value = record.values[field.name]
            members.append(_packed(field, value, letters, where))
            if field.axis:
                check_axis(field, len(value), axis_rows, where)
        items = check_items(record.values[META], axis_rows[self.item_axis], record.key)
        return PackedFields(record.key, tuple(members), items)

    def unpack(self, field: Field | str, payload: bytes | memoryview) -> Any:
        """Value of one whole member file: ndarray (npy, a copy), parsed JSON, or bytes (png, bin)."""
        field = self.field(field) if isinstance(field, str) else field
        if field.codec == "json":
            return parse_json(payload, field.member)
        if field.codec != "npy":
            return bytes(payload)
        dtype, shape, header_bytes = parse_header(bytes(payload[:MAX_HEADER_BYTES]), field.member)
        field.check_shape(dtype, shape, {}, field.member)
        return np.frombuffer(payload, dtype, offset=header_bytes).reshape(shape).copy()

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` is the inverse."""
        fields = [{**vars(field), "shape": list(field.shape)} for field in self.fields]
        return {"fields": fields, "item_axis": self.item_axis}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Schema:
        """Schema from `to_json`'s data; SchemaMismatch for anything else."""
        try:
            (listed, item_axis) = (data["fields"], data["item_axis"])
            fields = tuple(Field(**{**field, "shape": tuple(_sides(field["shape"]))}) for field in listed)
            if data.keys() != {"fields", "item_axis"} or not all(_is_plain(field) for field in fields):
                raise TypeError(f"keys {sorted(data)}, or a value that is no text")
            return Schema(fields, item_axis)
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaMismatch(f"schema cannot be read ({error!r:.200}); is it of a newer version?") from error


_SIGNS = frozenset("./\\")
_IN_KEYS = bytes(sign for sign in range(ord("!"), ord("~") + 1) if chr(sign) not in _SIGNS)


def check_key(key: str) -> None:
    """SchemaMismatch unless `key` is visible ASCII without dot or slash (webdataset cuts names at the first
    dot).
    """
    if not _KEY.fullmatch(key) or not _SIGNS.isdisjoint(key):
        raise SchemaMismatch(f"key {key!r}: expected visible ASCII without . / \\, not starting with '__'")


def are_keys(texts: Sequence[str]) -> bool:
    """Whether `check_key` takes each of them."""
    return are_key_lines("\n".join(["", *texts]), len(texts))


def are_key_lines(lines: str, number: int) -> bool:
    """Whether `check_key` takes each of so many texts, a line end before each."""
    if lines.count("\n") != number or "\n\n" in f"{lines}\n" or "\n__" in lines:
        return False
    return not lines.encode("utf-8", "surrogatepass").translate(None, _IN_KEYS + b"\n")


def check_axis(field: Field, rows: int, axis_rows: dict[str, int], where: str) -> None:
    """SchemaMismatch if two fields of one record disagree about the length of an axis."""
    if axis_rows.setdefault(field.axis, rows) != rows:
        raise SchemaMismatch(
            f"{where}: {rows} rows on axis {field.axis!r}, "
            f"an earlier field of the record has {axis_rows[field.axis]}; both must describe the same rows"
        )


def check_items(meta: Any, rows: int, key: str) -> list[tuple[int, int]]:
    """The runs in meta["items"], each inside [0, rows); SchemaMismatch otherwise."""
    items = meta.get("items") if isinstance(meta, Mapping) else None
    if not isinstance(items, list | tuple) or not items:
        raise SchemaMismatch(
            f"{key}: meta['items'] must be a list of at least one [first_row, n_rows], found {items!r}"
        )
    runs = []
    for item in items:
        pair = isinstance(item, list | tuple) and [type(number) for number in item] == [int, int]
        if not pair or item[0] < 0 or item[1] < 1 or sum(item) > rows:
            raise SchemaMismatch(
                f"{key}: item {item!r} is not a run [first_row, n_rows] inside the record's {rows} rows"
            )
        runs.append((item[0], item[1]))
    return runs


def _sides(shape: Any) -> list[int | str]:
    """A shape's sides as JSON has them; TypeError for anything else."""
    if not isinstance(shape, list) or not all(
        (type(side) is int and 0 <= side < 2**32) or (type(side) is str and side) for side in shape
    ):
        raise TypeError(f"shape {shape!r:.80} is no list of whole numbers and letters")
    return shape


def _is_plain(field: Field) -> bool:
    return all(type(text) is str for text in (field.dtype, field.axis, field.unit))


def _packed(field: Field, value: Any, letters: dict[str, int], where: str) -> Member:
    if field.codec == "npy":
        if not isinstance(value, np.ndarray):
            raise SchemaMismatch(f"{where}: value is {type(value).__name__}, expected a NumPy array")
        field.check_shape(value.dtype, value.shape, letters, where)
        if not is_finite(value):
            raise SchemaMismatch(
                f"{where}: holds NaN or infinity; encode in float32 and check the range before storing"
            )
        return Member(where, *npy_parts(value), value.shape, len(value) if field.axis else 1)
    if field.codec == "json":
        return Member(where, b"", canonical_json(value, where), (), 1)
    if not isinstance(value, bytes):
        raise SchemaMismatch(f"{where}: value is {type(value).__name__}, expected encoded bytes")
    if field.codec == "png" and not value.startswith(_PNG_SIGNATURE):
        raise SchemaMismatch(f"{where}: bytes do not start with the PNG signature")
    return Member(where, b"", value, (), 1)
