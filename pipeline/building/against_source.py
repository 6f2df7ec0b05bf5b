"""A finished set against its source as it is now: which records are what they were made of, and which are not.

Nothing is written and no weight is needed. Files are read and compared by the hashes that the set recorded of them
(`origins.jsonl`); a sample is drawn again on the CPU, up to the encoder, and held against what is stored. What a build
would do about it, `changes` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.building.changes import other_names
from pipeline.building.label_forms import pixels_of
from pipeline.building.ledger import Rejected, finished_of_set
from pipeline.building.recipe import as_far_as_known, shared_sha256, without_content
from pipeline.building.stages import RenderedExample, meta_of, rendered
from pipeline.building.taking_over import files_of
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.canonical import canonical_json
from shards.contract.manifest import recipe_difference
from shards.contract.origins import Origin
from shards.contract.parts import PART, draw_of
from shards.contract.schema import Field
from shards.errors import ContractError
from shards.reading.reader import ShardSet, StoredRecord
from shards.storage.options import StorageOptions
from shards.writing.writer import read_rejects

_LOOKS_AT_ONCE = 8


@dataclass(frozen=True)
class Standing:
    """How a set stands to its source.

    Attributes:
        choices: settings of the configuration that are not those of the set, a line each.
        shared: annotations, lists or class names, which all records depend on, are not what they were.
        same: keys whose files are what they were, with those that were rejected.
        untold: keys of which neither set nor source says what files are theirs.
        changed: key -> which of its files.
        missing: keys of the set that the source no longer has.
        new: keys of the source that the set lacks; of a part none.
        reordered: the source gives the same keys in another order.
        drawn: keys that were drawn again.
        differing: of these, key -> what came out otherwise.
    """

    choices: tuple[str, ...]
    shared: bool
    same: tuple[str, ...]
    untold: tuple[str, ...]
    changed: Mapping[str, str]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    reordered: bool
    drawn: tuple[str, ...]
    differing: Mapping[str, str]

    @property
    def is_current(self) -> bool:
        """Whether nothing is known that speaks against it."""
        found = (self.choices, self.changed, self.missing, self.new, self.differing)
        return not (any(found) or self.shared or self.reordered)

    def lines(self) -> Iterator[str]:
        """For a person: a line for each record that is not as it was, then one with the numbers."""
        yield from (f"CHOICE {line}" for line in self.choices)
        if self.shared:
            yield "CHANGED annotations, lists or class names, which all records depend on; a sample shows what it means"
        yield from (f"CHANGED {key}: {why}" for key, why in self.changed.items())
        yield from (f"MISSING {key}: the source has it no longer" for key in self.missing)
        yield from (f"NEW {key}: the set was built without it" for key in self.new)
        yield from (f"DIFFERS {key}: {why}" for key, why in self.differing.items())
        if self.reordered:
            yield "ORDER the source gives the same records in another order"
        parts = [f"{len(self.same)} records as their files are"]
        parts += [f"{len(self.untold)} of which nobody says what files are theirs"] if self.untold else []
        parts += [f"{len(self.changed)} changed, {len(self.missing)} missing, {len(self.new)} new"]
        if self.drawn:
            parts.append(f"{len(self.drawn) - len(self.differing)} of {len(self.drawn)} drawn again came out the same")
        yield "; ".join(parts)


def against_source(
    place: str | Path,
    source: Source,
    view_plan: ViewPlan,
    *,
    sample: int = 0,
    seed: int = 0,
    quick: bool = False,
    storage_options: StorageOptions | None = None,
) -> Standing:
    """Look at the source of the set at a folder or URL.

    Args:
        source, view_plan: as of the configuration that it was built by.
        sample: records to draw again: views, labels and what is said of them, without an encoder.
        seed: of the sample, which depends on it and on the keys alone.
        quick: files of the recorded size and time are not read.

    Raises:
        SourceError: the source has no such split.
    """
    shards = ShardSet.open(place, by_range=True, storage_options=storage_options)
    split, recipe = shards.manifest.split, shards.manifest.recipe
    numbers = {key: number for number, key in enumerate(shards.paged.keys())}
    told = [part.origins for part in finished_of_set(shards.folder, shards.manifest).values() if part.origins]
    origins = {one.key: one for part in told for one in part.records}
    rejected = {str(line.get("key")): None for line in read_rejects(shards.folder) if line.get("whole", True)}
    before = list(dict.fromkeys([*origins, *numbers, *rejected]))  # origins.jsonl may be cut in a set without its hash
    is_in_order = bool(origins) and numbers.keys() <= origins.keys()
    now = source.keys(split)
    there, known = set(now), set(before)
    kept = [key for key in before if key in there]
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        why = list(pool.map(lambda key: _why(source, split, key, origins.get(key), quick), kept))
    found = dict(zip(kept, why, strict=True))
    choices = _choices(source, split, view_plan, recipe)
    chosen = set(sorted((key for key in kept if key in numbers), key=lambda key: draw_of(seed, key))[:sample])
    drawn = [key for key in kept if key in chosen]
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        came_out = list(
            pool.map(lambda key: _drawn(shards, numbers[key], source, split, view_plan, origins.get(key)), drawn)
        )
    return Standing(
        choices=tuple(choices),
        shared=bool(told) and any(part.shared != shared_sha256(source, split) for part in told),
        same=tuple(key for key, reason in found.items() if reason == ""),
        untold=tuple(key for key, reason in found.items() if reason is None),
        changed={key: reason for key, reason in found.items() if reason},
        missing=tuple(key for key in before if key not in there),
        new=() if PART in recipe else tuple(key for key in now if key not in known),
        reordered=is_in_order and kept == before and len(now) == len(before) and now != before,
        drawn=tuple(drawn),
        differing={key: reason for key, reason in zip(drawn, came_out, strict=True) if reason},
    )


def _choices(source: Source, split: str, view_plan: ViewPlan, recipe: Mapping[str, Any]) -> list[str]:
    """What a configuration chooses otherwise, of what is known without an encoder."""
    mine = {"source": source.identity(split), "views": view_plan.identity()}
    there = {name: recipe.get(name) for name in mine}
    plain = json.loads(canonical_json(as_far_as_known(mine, there), "recipe"))
    return recipe_difference(without_content(plain), without_content(there))


def _why(source: Source, split: str, key: str, origin: Origin | None, quick: bool) -> str | None:
    """What changed of a record's files; "" for nothing, None where that is not known."""
    if origin is None or origin.files is None:
        return None
    files = files_of(source, split, key, origin if quick else None)
    if files is None:
        return None
    names = other_names(origin.files, files)
    there = {file.name for file in files if file.xxh3_128}
    return ", ".join(f"{name} {'changed' if name in there else 'is gone, or cannot be read'}" for name in names)


def _drawn(
    shards: ShardSet, number: int, source: Source, split: str, view_plan: ViewPlan, origin: Origin | None
) -> str:
    """What of a record comes out otherwise today; "" for nothing."""
    record = shards.record(number)
    try:
        made = rendered(source, split, view_plan, record.key)
        return f"would be rejected: {made.reason}" if isinstance(made, Rejected) else _otherwise(made, record, origin)
    except ContractError as error:
        return f"cannot be drawn again: {error}"


def _otherwise(made: RenderedExample, record: StoredRecord, origin: Origin | None) -> str:
    found = []
    if origin is not None and origin.shown and made.shown != origin.shown:
        found.append("the encoder would be shown other pixels")
    fields = {field.name: field for field in record.shards.schema.fields}
    for name, label in made.labels.items():
        if name not in fields or not _is_stored(label, fields[name], record):
            found.append(f"{name} has other values")
    meta = json.loads(canonical_json(meta_of(made), "meta"))
    if names := [name for name in {**meta, **record.meta} if meta.get(name) != record.meta.get(name)]:
        found.append(f"meta has another {', '.join(names)}")
    return "; ".join(found)


def _is_stored(label: np.ndarray | bytes, field: Field, record: StoredRecord) -> bool:
    """Whether a label is the one of the record, whichever form their PNGs are of."""
    if isinstance(label, np.ndarray):
        return field.codec == "npy" and np.array_equal(label, record.array(field.name))
    stored = bytes(record.payload(field.name))
    return label == stored or (field.codec == "png" and np.array_equal(pixels_of(label), pixels_of(stored)))
