"""What Hugging Face `datasets` has to be told of a set's fields, so that it reads all of them as they are.

By itself `datasets` guesses types from the first records: it refuses a list of text and numbers, such as the colour
steps of a view, and drops keys that its first records lack. Told the types it reads every record, meta as plain JSON
and a 16-bit PNG with its 16 bits. Two spellings: that of `Features.from_dict`, and that of a card's YAML header.
"""

from __future__ import annotations

from typing import Any

from shards.contract.schema import Field, Schema

_TYPES = {"json": "Json", "png": "Image"}  # by codec; anything else that is no array is bytes
_OF_THE_READER = ("__key__", "__url__")  # a record's name, and its tar


def hub_features(schema: Schema) -> dict[str, Any]:
    """For `datasets.Features.from_dict`: a type for every member of a record."""
    texts = {name: {"_type": "Value", "dtype": "string"} for name in _OF_THE_READER}
    return {_name(field): _type_of(field) for field in schema.fields} | texts


def header_features(schema: Schema) -> list[dict[str, Any]]:
    """The same for `dataset_info.features` of a card."""
    told = []
    for field in schema.fields:
        kind: Any = field.dtype or {"json": "json", "png": "image"}.get(field.codec, "binary")
        for _ in field.shape[1:]:
            kind = {"list": kind}
        told.append({"name": _name(field), "list" if field.shape else "dtype": kind})
    return told + [{"name": name, "dtype": "string"} for name in _OF_THE_READER]


def _name(field: Field) -> str:
    return f"{field.name}.{field.codec}"


def _type_of(field: Field) -> dict[str, Any]:
    if field.codec != "npy":
        kind = _TYPES.get(field.codec)
        return {"_type": kind} if kind else {"_type": "Value", "dtype": "binary"}
    found: dict[str, Any] = {"_type": "Value", "dtype": field.dtype}
    for _ in field.shape:
        found = {"_type": "List", "feature": found}
    return found
