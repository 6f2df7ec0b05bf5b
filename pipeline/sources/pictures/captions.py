"""Captions of pictures: text files or JSON beside them, or one table for all.

Owns the forms: `txt`, a text file beside each picture, every line that is not empty being a caption; `json:KEY`, a
JSON file beside each, whose entry KEY is a caption or a list of them, as img2dataset writes it; a .jsonl of objects or
a .csv with the picture's file name and its text, as Hugging Face's metadata files have it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from pipeline.example import is_text
from pipeline.files.entries import parse_json
from shards.errors import ConfigError, Reject, SourceError

TXT, JSON = "txt", "json"
FILE_COLUMNS = ("file_name", "file", "image", "path")
TEXT_COLUMNS = ("text", "caption", "captions", "sentence")
MISSING = ("reject", "empty")


@dataclass(frozen=True)
class Captions:
    """Where captions are, and what becomes of a picture without one.

    Attributes:
        beside: suffix of the file beside a picture, without its dot; empty where none lies there.
        key: of a JSON file's entry.
        table: path of a table below the root; empty without one.
        missing: a picture without a caption is a `reject`, or has an `empty` one.
    """

    beside: str = ""
    key: str = ""
    table: str = ""
    missing: str = "reject"

    def __bool__(self) -> bool:
        return bool(self.beside or self.table)

    @property
    def said(self) -> str:
        """As a configuration says it."""
        return self.table or (f"{self.beside}:{self.key}" if self.key else self.beside)

    @staticmethod
    def of(text: str, missing: str) -> Captions:
        """As a configuration says it. ConfigError."""
        if missing not in MISSING:
            raise ConfigError(f"source pictures: missing_caption is {missing!r}; expected one of {', '.join(MISSING)}")
        form, _, key = text.partition(":")
        if text == TXT:
            return Captions(beside=TXT, missing=missing)
        if form == JSON and key:
            return Captions(beside=JSON, key=key, missing=missing)
        if text and not text.lower().endswith((".jsonl", ".csv")):
            raise ConfigError(
                f"source pictures: captions is {text!r}; expected txt, json:KEY such as json:caption, or a .jsonl or "
                ".csv file below the root"
            )
        return Captions(table=text, missing=missing)

    def read(self, payload: bytes, where: str) -> tuple[str, ...]:
        """What a file beside a picture says. Reject: it cannot be read, or its entry is no text."""
        return self._of_json(payload, where) if self.beside == JSON else lines_of(payload, where)

    def kept(self, found: tuple[str, ...], where: str) -> tuple[str, ...]:
        """The captions of a picture, at least one. Reject: there is none, and pictures without are left out."""
        if found or self.missing == "empty":
            return found or ("",)
        raise Reject(f"{where} has no caption; missing_caption: empty keeps such pictures with an empty one")

    def _of_json(self, payload: bytes, where: str) -> tuple[str, ...]:
        try:
            entries = parse_json(payload, where)
        except SourceError as error:
            raise Reject(str(error)) from error
        if not isinstance(entries, dict):
            raise Reject(f"{where}: is {type(entries).__name__}; expected an object with the key {self.key!r}")
        value = entries.get(self.key)
        texts = value if isinstance(value, list) else [value]
        if not all(one is None or isinstance(one, str) for one in texts):
            raise Reject(f"{where}: {self.key!r} is {str(value)[:80]}; expected text, or a list of texts")
        if not all(one is None or is_text(one) for one in texts):  # half of a UTF-16 pair, which JSON can hold
            raise Reject(f"{where}: {self.key!r} is {ascii(value)[:80]}, which is no text that UTF-8 can hold")
        return tuple(" ".join(one.split()) for one in texts if one and one.strip())


def lines_of(text: str | bytes, where: str) -> tuple[str, ...]:
    """The captions of a text file. Reject: not UTF-8."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Reject(f"{where}: is not UTF-8: {error}") from error
    return tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())


def read_table(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Captions by file name of the picture, with `/` between folders and without its suffix.

    Raises:
        SourceError: it cannot be read, has no columns of file and text, or a caption that is no text.
    """
    found: dict[str, tuple[str, ...]] = {}
    for number, row in _rows(path):
        file = next((row[column] for column in FILE_COLUMNS if column in row), None)
        text = next((row[column] for column in TEXT_COLUMNS if column in row), None)
        if not isinstance(file, str) or text is None:
            raise SourceError(
                f"{path}, entry {number}: has {', '.join(map(str, row)) or 'nothing'}; expected a file name "
                f"({', '.join(FILE_COLUMNS)}) and its text ({', '.join(TEXT_COLUMNS)})"
            )
        texts = text if isinstance(text, list) else [text]
        if not all(isinstance(one, str) for one in texts):
            raise SourceError(f"{path}, entry {number}: the caption of {file} is {text!r}; expected text")
        name = PurePosixPath(file.replace("\\", "/"))
        stem = name.with_suffix("").as_posix() if name.name else file
        found[stem] = found.get(stem, ()) + tuple(" ".join(one.split()) for one in texts if one.strip())
    if not found:
        raise SourceError(f"{path}: names no picture")
    return found


def _rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as captions: {error}") from error
    if path.suffix.lower() == ".csv":
        rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
        for number, row in enumerate(rows, 1):
            yield number, {str(column).strip(): value for column, value in row.items() if column and value is not None}
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SourceError(f"{path}, entry {number}: is not readable as JSON: {error}") from error
        if not isinstance(row, dict):
            raise SourceError(f"{path}, entry {number}: is {type(row).__name__}; expected an object for each picture")
        yield number, row
