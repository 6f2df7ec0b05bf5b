"""Captions of pictures: text files beside them, or one table for all.

Owns the forms: `txt`, a text file beside each picture, every line that is not empty being a caption; a .jsonl of
objects or a .csv with the picture's file name and its text, as Hugging Face's metadata files have it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from shards.errors import Reject, SourceError

BESIDE = "txt"
FILE_COLUMNS = ("file_name", "file", "image", "path")
TEXT_COLUMNS = ("text", "caption", "captions", "sentence")


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
