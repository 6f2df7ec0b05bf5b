"""One split of a dataset as rows that are read at random, and a value of a row as a file.

Owns record keys (row numbers), what identifies the rows, and a stream's window: a stream is read onwards, rows that
were passed lately are kept, and one further back begins it anew. Values that are no encoded file are arrays, and are
given as .npy.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from pipeline.sources.hf_dataset.place import Place
from shards.errors import Reject, SourceError

KEPT = 64  # rows: what threads that decode ahead may be apart
_KINDS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\x00": ".tif", b"MM\x00*": ".tif", b"\x93NUM": ".npy"}


class Rows:
    """Thread-safe."""

    def __init__(self, place: Place, split: str, columns: Mapping[str, str]) -> None:
        self.place, self.split, self.columns = place, split, dict(columns)
        self._data = place.open(split, tuple(self.columns.values()))
        self._lock = Lock()
        self._kept: OrderedDict[int, Mapping[str, Any]] = OrderedDict()
        self._stream: Iterator[Mapping[str, Any]] | None = None
        self._next = 0

    def __len__(self) -> int:
        """Rows there are; of a stream, those that are taken."""
        return self.place.limit if self.place.streaming else len(self._data)

    def feature(self, role: str) -> Any:
        return self._data.features[self.columns[role]]

    def value(self, index: int, role: str) -> Any:
        """What a row holds in the column of a role. SourceError: it cannot be read, or the stream has ended."""
        return self._row(index)[self.columns[role]]

    def without(self, *roles: str) -> Iterator[Mapping[str, Any]]:
        """All rows in order, by role, without some columns: those with pictures are not even read."""
        kept = {role: column for role, column in self.columns.items() if role not in roles}
        data = self._data.select_columns(list(dict.fromkeys(kept.values())))
        for index, row in zip(range(len(self)), _guarded(data, self._where), strict=False):
            yield {"index": index, **{role: row[column] for role, column in kept.items()}}

    def identity(self) -> dict[str, Any]:
        """Of the dataset's own fingerprint and the columns. A stream has none: its first row stands for it, beside its
        revision."""
        features = {role: str(self.feature(role)) for role in self.columns}
        identity = {"columns": self.columns, "features": features, "rows": len(self), "dataset_split": self.split}
        if not self.place.streaming:
            return {**identity, "dataset": self._data._fingerprint}
        first = hashlib.sha256()
        for role in self.columns:
            first.update(_payload(self.value(0, role), self.feature(role)))
        origin = {"config": self.place.config, "revision": self.place.revision, "first_row": first.hexdigest()}
        return {**identity, "dataset": self.place.shown, **origin}

    @property
    def _where(self) -> str:
        return f"dataset {self.place.dataset!r}, split {self.split!r}"

    def _row(self, index: int) -> Mapping[str, Any]:
        with self._lock:
            if index not in self._kept:
                if self.place.streaming:
                    self._read_on(index)
                else:
                    self._keep(index, next(_guarded(self._data.select([index]), self._where)))
            return self._kept[index]

    def _read_on(self, index: int) -> None:
        """Pass the stream's rows up to this one."""
        if self._stream is None or index < self._next:
            start = max(index - KEPT // 2, 0)
            self._stream, self._next = _guarded(self._data.skip(start) if start else self._data, self._where), start
        while self._next <= index:
            row = next(self._stream, None)
            if row is None:
                raise SourceError(
                    f"{self._where}: the stream ended after {self._next} rows, and limit is {self.place.limit}; set "
                    f"limit to {self._next}"
                )
            self._keep(self._next, row)
            self._next += 1

    def _keep(self, index: int, row: Mapping[str, Any]) -> None:
        self._kept[index] = row
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class RowFile:
    """A value of a row as a `pipeline.files.readable.Readable`; of a list of pictures, the one at `place`."""

    rows: Rows
    index: int
    role: str
    place: int | None = None

    def __str__(self) -> str:
        at = "" if self.place is None else f"[{self.place}]"
        return f"row {self.index} of {self.rows.place.shown} {self.rows.split}, {self.rows.columns[self.role]}{at}"

    @property
    def suffix(self) -> str:
        payload = self.read_bytes()
        return next((suffix for start, suffix in _KINDS.items() if payload.startswith(start)), "")

    def open(self, mode: Literal["rb"]) -> io.BytesIO:
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Reject: the row has no value there, or one that is neither a file nor an array."""
        value, feature = self.rows.value(self.index, self.role), self.rows.feature(self.role)
        if self.place is not None:
            value, feature = value[self.place], getattr(feature, "feature", None)
        try:
            return _payload(value, feature)
        except (TypeError, ValueError, OSError) as error:
            raise Reject(f"{self}: {error}") from error


def key_of_row(index: int) -> str:
    return f"{index:09d}"


def _payload(value: Any, feature: Any) -> bytes:
    """The bytes of a file. TypeError or ValueError: there is none; OSError: its path cannot be read."""
    if isinstance(value, Mapping) and "bytes" in value:
        if value["bytes"] is None and value.get("path"):
            return Path(value["path"]).read_bytes()
        value = value["bytes"]
    if isinstance(value, bytes):
        return value
    if value is None:
        raise ValueError("the row has no value there")
    if isinstance(value, str | int | float):
        return json.dumps(value).encode()
    array = np.asarray(value, dtype=getattr(feature, "dtype", None))
    if array.dtype.hasobject:
        raise ValueError(f"it is neither a picture nor an array of numbers, but {type(value).__name__}")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _guarded(rows: Any, where: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from rows
    except Exception as error:  # arrow, the network and the library's decoders each have their own
        said = " ".join(str(error).split())[:300]
        raise SourceError(f"{where}: its rows cannot be read: {type(error).__name__}: {said}") from error
