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
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import fsspec
import numpy as np

from pipeline.sources.hf_dataset.place import Place
from shards.errors import Reject, SourceError

KEPT = 64  # rows: what threads that decode ahead may be apart
CONTENT = ("rows", "dataset_sha256")  # entries of an identity
_KINDS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\x00": ".tif", b"MM\x00*": ".tif", b"\x93NUM": ".npy"}


class Rows:
    """Thread-safe."""

    def __init__(self, place: Place, split: str, columns: Mapping[str, str]) -> None:
        self.place, self.split, self.columns = place, split, dict(columns)
        self._data, self._fingerprint = place.open(split, tuple(self.columns.values()))
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
        with _named(self._where):
            for index, row in zip(range(len(self)), data, strict=False):
                yield {"index": index, **{role: row[column] for role, column in kept.items()}}

    @property
    def state(self) -> str:
        """What tells the dataset's content from another's."""
        return self._fingerprint

    def identity(self) -> dict[str, Any]:
        """Of the dataset's content, the columns and which rows are taken. Content is what another state of the same
        dataset changes; a set is brought up to date by it."""
        features = {role: str(self.feature(role)) for role in self.columns}
        named = {} if self.place.is_local else {"repository": self.place.dataset}
        limited = {"limit": self.place.limit} if self.place.limit else {}
        content = dict(zip(CONTENT, (len(self), hashlib.sha256(self.state.encode()).hexdigest()), strict=True))
        return {
            "columns": self.columns,
            "features": features,
            "dataset_split": self.split,
            **named,
            **limited,
            **content,
        }

    @property
    def _where(self) -> str:
        return f"dataset {self.place.dataset!r}, split {self.split!r}"

    def _row(self, index: int) -> Mapping[str, Any]:
        with self._lock:
            if index not in self._kept:
                if self.place.streaming:
                    self._read_on(index)
                else:
                    with _named(self._where):
                        self._keep(index, self._data[index])
            return self._kept[index]

    def _read_on(self, index: int) -> None:
        """Pass the stream's rows up to this one."""
        if self._stream is None or index < self._next:
            start = max(index - KEPT // 2, 0)
            self._stream, self._next = iter(self._data.skip(start) if start else self._data), start
        stream: Any = self._stream
        while self._next <= index:
            try:
                with _named(self._where):
                    row = next(stream, None)
            except SourceError:
                self._stream = None  # it ended by failing, which says nothing of how many rows there are
                raise
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
        payload = self._file(self._value[0])
        if payload is None:
            return ".npy"
        return next((suffix for start, suffix in _KINDS.items() if payload.startswith(start)), "")

    def open(self, mode: Literal["rb"]) -> io.BytesIO:
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Reject: the row has no value there, or one that is neither a file nor an array."""
        value, feature = self._value
        payload = self._file(value)
        return self._array(value, feature) if payload is None else payload

    @property
    def _value(self) -> tuple[Any, Any]:
        """The value and its feature."""
        value, feature = self.rows.value(self.index, self.role), self.rows.feature(self.role)
        return (value, feature) if self.place is None else (value[self.place], getattr(feature, "feature", None))

    def _file(self, value: Any) -> bytes | None:
        return file_in(value, self)

    def _array(self, value: Any, feature: Any) -> bytes:
        wrong = f"{self}: is neither a picture nor an array of numbers, but {type(value).__name__}"
        try:
            array = np.asarray(value, dtype=getattr(feature, "dtype", None))
        except (TypeError, ValueError) as error:
            raise Reject(f"{wrong} ({error})") from error
        if array.dtype.kind not in "biuf":
            raise Reject(wrong)
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class RowContent:
    """All that a row holds in the columns that are read, as a `pipeline.example.Inside`."""

    rows: Rows
    index: int

    @property
    def state(self) -> str:
        return self.rows.state

    def read_bytes(self) -> bytes:
        """JSON, with hashes in place of pictures. Reject: a picture lies in a file that cannot be read."""
        row = {role: self._plain(self.rows.value(self.index, role), role) for role in self.rows.columns}
        return json.dumps(row, sort_keys=True, default=str).encode()

    def _plain(self, value: Any, role: str) -> Any:
        if isinstance(value, Mapping) and "bytes" in value and (value["bytes"] or value.get("path")):
            value = file_in(value, RowFile(self.rows, self.index, role))
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        if isinstance(value, Mapping):
            return {str(name): self._plain(one, role) for name, one in value.items()}
        if isinstance(value, np.ndarray):
            return self._plain(value.tolist(), role)
        return [self._plain(one, role) for one in value] if isinstance(value, list | tuple) else value


def file_in(value: Any, where: object) -> bytes | None:
    """The encoded file that a value is; None: it is none. Reject: there is no value, or no file at its path."""
    if isinstance(value, Mapping) and "bytes" in value:
        if value["bytes"] is None and value.get("path"):
            try:
                with fsspec.open(value["path"], "rb") as file:  # on the hub or in an archive, of streams
                    return file.read()  # type: ignore[union-attr]
            except (OSError, ValueError) as error:
                raise Reject(f"{where}: {error}") from error
        value = value["bytes"]
    if value is None:
        raise Reject(f"{where}: the row has no value there")
    return value if isinstance(value, bytes) else None


def key_of_row(index: int) -> str:
    return f"{index:09d}"


@contextmanager
def _named(where: str) -> Iterator[None]:
    """SourceError for whatever arrow, the network or the library's decoders raise, each of which has its own."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise SourceError(f"{where}: its rows cannot be read: {type(error).__name__}: {said}") from error
