"""Reads a refs file of REFER's form, JSON or pickle, in which a ref names one annotation, several, or none.

Owns the records and their checks: what one says of its target, and its sentences. A wrong record is a SourceError of
that record; a wrong file one of the file.

    ann_id      a number, or a list; -1, [-1] or [] is no target, and so is `no_target` true
    sentences   {sent, sent_id} or plain text, at least one that is not empty
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files.entries import checked, number, parse_json, taken
from pipeline.files.plain_pickle import unpickle_plain
from shards.errors import SourceError

NONE = -1  # the annotation of a ref without a target


@dataclass(frozen=True)
class FolderRef:
    """One record. `faults` are its sentences that cannot be used."""

    ref_id: int
    image_id: int
    ann_ids: tuple[int, ...]  # empty: no target
    sentences: tuple[str, ...]
    sent_ids: tuple[int, ...]
    faults: tuple[str, ...]


def records_of(payload: bytes, path: Path) -> list[Any]:
    """The records of a file: a pickle of plain data unless its name ends in .json. SourceError."""
    records = parse_json(payload, str(path)) if path.suffix == ".json" else unpickle_plain(payload, path)
    if not isinstance(records, list) or not records:
        found = "an empty list" if records == [] else type(records).__name__
        raise SourceError(f"{path}: holds {found}; expected a list of refs")
    return records


def read_ref(record: Mapping[str, Any], where: str) -> FolderRef:
    """A record, checked. SourceError: it cannot be used at all."""
    ref_id = number(taken(record, "ref_id", (int, str), where), f"{where}: 'ref_id'")
    image_id = number(taken(record, "image_id", (int, str), where), f"{where}: 'image_id'")
    sentences, sent_ids, faults = [], [], []
    for place, entry in enumerate(taken(record, "sentences", list, where)):
        at = f"{where}, sentence {place}"
        try:
            text, sent_id = _sentence(entry, at)
        except SourceError as error:
            faults.append(str(error))
            continue
        sentences.append(text)
        sent_ids.append(sent_id)
    if not sentences:
        raise SourceError("; ".join(faults) or f"{where}: has no sentences")
    return FolderRef(ref_id, image_id, _targets(record, where), tuple(sentences), tuple(sent_ids), tuple(faults))


def _sentence(entry: Any, where: str) -> tuple[str, int]:
    text = checked(entry, str, where) if isinstance(entry, str) else taken(entry, "sent", str, where)
    if not text.strip():
        raise SourceError(f"{where}: is empty")
    given = entry.get("sent_id", NONE) if isinstance(entry, dict) else NONE
    return text, number(given, f"{where}: 'sent_id'")


def _targets(record: Mapping[str, Any], where: str) -> tuple[int, ...]:
    found = taken(record, "ann_id", (int, str, list), where)
    ids = [number(value, f"{where}: 'ann_id'") for value in (found if isinstance(found, list) else [found])]
    real = tuple(dict.fromkeys(value for value in ids if value != NONE))
    if any(value < 0 for value in real) or (real and NONE in ids):
        raise SourceError(f"{where}: 'ann_id' is {found}; expected ids, or {NONE} alone for no target")
    if "no_target" in record and bool(record["no_target"]) == bool(real):
        raise SourceError(f"{where}: 'no_target' is {record['no_target']!r} and 'ann_id' {found}; they contradict")
    return real
