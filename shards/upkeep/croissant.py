"""Published sets in Croissant 1.0 (JSON-LD of MLCommons), for programs: every tar with its size and sha256, and for
every member of the records a record set of keys and bytes. Paths are relative to the file: it describes a copy, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shards.contract.schema import Field
from shards.upkeep.dataset_card import Member, licence_of

CROISSANT = "croissant.json"
_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TERMS = """citeAs column data dataType equivalentProperty examples extract field fileObject fileProperty fileSet format
includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate
separator source subField transform"""  # each from Croissant's own vocabulary
_KINDS = {"json": "application/json", "png": "image/png"}
_SHAPED: dict[str, Any] = {"data": "@json", "examples": "@json", "dataType": "@vocab"}


def croissant(name: str, members: Sequence[Member]) -> dict[str, Any]:
    """The description of all sets at a place called `name`."""
    licence, urls = licence_of(members), [member.facts.get("url", "") for member in members]
    said = [member.facts.get("licence", "") for member in members]
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": name,
        "description": "Precomputed latents, text and labels for diffusion-based perception: "
        + ", ".join(f"{member.name} ({member.manifest.counts['records']} records)" for member in members),
        "license": "; ".join(dict.fromkeys(filter(None, said))) or licence,
        "url": next((url for url in urls if url), "."),
        "version": "1.0.0",
        "distribution": [part for member in members for part in _distribution(member)],
        "recordSet": [_record_set(member, field) for member in members for field in member.manifest.schema.fields],
    }


def _context() -> dict[str, Any]:
    terms: dict[str, Any] = {term: f"cr:{term}" for term in _TERMS.split()}
    terms |= {term: {"@id": f"cr:{term}", "@type": kind} for term, kind in _SHAPED.items()}
    vocabularies = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
    }
    return vocabularies | terms


def _distribution(member: Member) -> Iterator[dict[str, Any]]:
    tars = []
    for shard in member.manifest.shards:
        path = f"{member.name}/{shard.name}.tar"
        tars.append({"@id": path})
        yield {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{shard.tar_bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.tar_sha256,
        }
    for field in member.manifest.schema.fields:
        yield {
            "@type": "cr:FileSet",
            "@id": _files(member, field),
            "name": _files(member, field),
            "containedIn": tars,
            "encodingFormat": _KINDS.get(field.codec, "application/octet-stream"),
            "includes": f"*.{field.member}",
        }


def _record_set(member: Member, field: Field) -> dict[str, Any]:
    """Keys and bytes of one member. A record's key is a file's name up to the first dot."""
    files, own = _files(member, field), f"{member.name}/{field.name}"
    shape = f"{field.dtype} {list(field.shape)} " if field.codec == "npy" else ""
    name = {"extract": {"fileProperty": "filename"}, "transform": {"regex": r"^([^.]+)\..*$"}}
    return {
        "@type": "cr:RecordSet",
        "@id": own,
        "name": own,
        "description": f"{field.member}: {shape}{field.unit}".strip(),
        "key": {"@id": f"{own}/key"},
        "field": [
            _described(f"{own}/key", "key of the record", {"fileSet": {"@id": files}, **name}),
            _described(f"{own}/bytes", "the file", {"fileSet": {"@id": files}, "extract": {"fileProperty": "content"}}),
        ],
    }


def _described(name: str, what: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": what,
        "dataType": "sc:Text",
        "source": source,
    }


def _files(member: Member, field: Field) -> str:
    return f"{member.name}/*.{field.member}"
