"""Files of a checkpoint, read only as what was written: of the size and hash that its marker says.

Owns the comparison and its words. Where no hash was recorded (`vpd.training.checkpoints.marker`), what cannot be
understood is damaged, and the rest is believed. Which files there are, and what follows from a damaged one, is
`vpd.training.checkpoints.checkpoint`'s and its callers'.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from shards.errors import CorruptCheckpoint
from vpd.training.checkpoints.marker import FileRecord, xxh128_of

_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def is_local(fs: Any) -> bool:
    """Whether a file system's paths are those of this machine."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol))


def read_bytes(fs: Any, path: str, limit: int | None = None) -> bytes:
    """A small file, to its end or to a limit.

    Raises:
        CorruptCheckpoint: it is gone.
    """
    with corrupt_if_gone(path):
        return fs.cat_file(path, 0, limit)


def read_json(fs: Any, path: str, record: FileRecord) -> Any:
    """What a JSON file holds."""
    text = read_bytes(fs, path)
    compare(path, xxh128_of(io.BytesIO(text).read), record.n_bytes, record.xxh128)
    with _corrupt_if_garbled(path):
        return json.loads(text)


def read_tensors(fs: Any, path: str, record: FileRecord) -> dict[str, torch.Tensor]:
    """The tensors of a file, on the CPU; mapped where it is local."""
    if is_local(fs):
        return _load(path, path, record)
    with tempfile.TemporaryDirectory() as scratch:
        here = str(Path(scratch, Path(path).name))
        with corrupt_if_gone(path):
            fs.get_file(path, here)
        return _load(path, here, record)


def read_shapes(fs: Any, path: str, record: FileRecord) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a file; reads its header only."""
    with corrupt_if_gone(path), fs.open(path, "rb") as file:
        head = file.read(record.head_bytes or 8)
        if not record.head_bytes:  # not recorded: the file says it
            head += file.read(min(int.from_bytes(head, "little"), record.n_bytes))
    n_bytes = record.head_bytes or len(head)
    compare(f"the header of {path}", xxh128_of(io.BytesIO(head).read), n_bytes, record.head_xxh128)
    with _corrupt_if_garbled(path):
        return {name: tuple(entry["shape"]) for name, entry in json.loads(head[8:]).items()}


def compare(name: str, found: tuple[int, str], n_bytes: int, xxh128: str) -> None:
    """CorruptCheckpoint unless what was found is what was written; of no hash, as far as the size says."""
    if found != (n_bytes, xxh128 or found[1]):
        raise CorruptCheckpoint(
            f"{name}: {found[0]} bytes with the hash {found[1][:12]}, written were {n_bytes} with "
            f"{xxh128[:12] or 'one that nobody recorded'}"
        )


@contextmanager
def corrupt_if_gone(name: str) -> Iterator[None]:
    try:
        yield
    except _GONE as error:
        raise CorruptCheckpoint(f"{name}: is gone, or no file ({type(error).__name__})") from error


@contextmanager
def _corrupt_if_garbled(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
        raise CorruptCheckpoint(f"{name}: cannot be understood ({type(error).__name__}: {error})") from error


def _load(name: str, path: str, record: FileRecord) -> dict[str, torch.Tensor]:
    with corrupt_if_gone(name), open(path, "rb") as file:
        found = xxh128_of(file.read)
    compare(name, found, record.n_bytes, record.xxh128)
    with _corrupt_if_garbled(name):
        return load_file(path)
