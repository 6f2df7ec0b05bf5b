"""A finished set written anew by other choices of storage: form of its labels, sentence states, records per shard.

Neither pictures nor models are needed: what is stored stays what it was, and every row is checked while it is read. The
recipe is that of a build with those settings. Of a set that says what its records were made of, so are the bytes, and a
build with them goes on with it. Owns what may be converted; records are read by `shards.upkeep.whole_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.building import environments
from pipeline.building.label_forms import converted_labels
from pipeline.building.lease import Lease
from pipeline.building.ledger import (
    FinishedShard,
    Rejected,
    finished_of_set,
    read_all_finished,
    rejected_of,
    write_finished,
)
from pipeline.building.plan import PlannedShard, is_in_place, plan_shards
from pipeline.building.recipe import LABEL_FORMS
from pipeline.building.shard import seal_finished
from shards.contract.manifest import Manifest
from shards.contract.origins import ORIGINS_NAME, TIMES_NAME, ShardOrigins
from shards.contract.parts import PART, recipe_of, whole
from shards.contract.schema import Record, Schema, check_key
from shards.errors import ConfigError, CorruptShard, SchemaMismatch
from shards.reading.reader import ShardSet
from shards.storage.atomic import sha256_bytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_tables
from shards.upkeep.making import begin, facts_of
from shards.upkeep.whole_records import check_same_bytes, opened_here, whole_record
from shards.writing.writer import read_rejects, write_shard

Report = Callable[[int, int], None]
TEXT, TOKENS = "text", "tokens"  # the fields of sentence states, and of what they are made from
REPACKED = "repacked"  # of a recipe's labels: small PNGs that were quick ones, in other bytes than a build's


@dataclass(frozen=True)
class Conversion:
    """What becomes of a set; what is left empty stays as it is.

    Attributes:
        labels: `small` or `quick`, as `settings.labels` of a build.
        text: `tokens`: sentence states are left out, and whoever trains encodes the token ids.
        records_per_shard: pictures of a shard.
    """

    labels: str = ""
    text: str = ""
    records_per_shard: int = 0

    def __post_init__(self) -> None:
        if self.labels not in ("", *LABEL_FORMS):
            raise ConfigError(f"labels is {self.labels!r}, expected one of {', '.join(LABEL_FORMS)}")
        if self.text not in ("", "tokens"):
            raise ConfigError(
                f"text is {self.text!r}; sets can be converted to 'tokens' alone. States need the text encoder: build."
            )
        if type(self.records_per_shard) is not int or self.records_per_shard < 0:
            raise ConfigError(f"records_per_shard is {self.records_per_shard!r}, expected a whole number of at least 1")


def convert_set(
    place: str | Path,
    to: str | Path,
    conversion: Conversion = Conversion(),
    *,
    storage_options: StorageOptions | None = None,
    report: Report = lambda done, total: None,
) -> Manifest:
    """Write the set `to`, a folder or URL, of the records of the set at another, which stays as it is.

    Without any choice it is written as sets are today, if it is older. Killed, the same call goes on.

    Raises:
        BeingBuilt: another process writes `to`.
        ConfigError: nothing would change, the set has no sentence states or no token ids beside them, something is at
            `to`, or its name can be no shard's.
        CorruptShard: a row is not as its index says, a label cannot be decoded, or `origins.jsonl` is of other records.
    """
    with opened_here(place, storage_options) as shards:
        work = _Work(shards, open_folder(to, storage_options=storage_options), conversion)
        work.check()
        work.target.check_writable()
        with Lease(work.target) as lease:
            return _written(work, lease, report)


def _written(work: _Work, lease: Lease, report: Report) -> Manifest:
    """The new set, by the one process that holds its lease."""
    shards = work.shards
    begin(work.target, {"recipe": work.recipe, "of": sha256_bytes(shards.manifest.to_bytes())})
    if computed := environments.read(shards.folder, environments.BUILT):
        environments.write(work.target, environments.BEGUN, computed)
    known = read_all_finished(work.target, [shard.name for shard in work.planned])
    finished, done = [], 0
    for shard in work.planned:
        lease.check()
        part = known.get(shard.name)
        if part is None or not _is_there(part, shard, work.target):
            part = work.write(shard)
            write_finished(work.target, part)
        finished.append(part)
        done += part.shard.records if part.shard else 0
        report(done, shards.n_records)
    lease.check()
    return seal_finished(
        work.target,
        finished,
        shards.manifest.split,
        work.schema,
        work.recipe,
        copy_tables(shards.folder, work.target, shards.manifest),
        facts_of([shards.folder]),
    )


class _Work:
    """One conversion: what is written, and of what."""

    def __init__(self, shards: ShardSet, target: Folder, conversion: Conversion) -> None:
        self.shards, self.target = shards, target
        before = shards.manifest.recipe
        self._text = _text_of(shards, conversion.text)
        self._labels = conversion.labels if conversion.labels != before.get("labels", "small") else ""
        if self._labels == "small" and before.get("labels") == REPACKED:
            self._labels = ""
        fields = tuple(one for one in shards.schema.fields if one.name != TEXT or not self._text)
        self.schema = Schema(fields, shards.schema.item_axis)
        self._numbers = {key: number for number, key in enumerate(shards.paged.keys())}
        rejects: dict[str, list[Rejected]] = {}
        for line in read_rejects(shards.folder):
            _, reject = rejected_of({"shard": "", **line})
            rejects.setdefault(reject.key, []).append(reject)
        self._rejects = rejects
        finished = finished_of_set(shards.folder, shards.manifest)
        told = [part.origins for part in finished.values() if part.origins]
        self._shared = told[0].shared if told else ""
        self._origins = {one.key: one for part in told for one in part.records if part.shared == self._shared}
        keys = [list(keys) for keys in self._keys_before(finished)]
        most = conversion.records_per_shard
        self._cut_anew = bool(most) and most != before.get("records_per_shard")
        if self._cut_anew:
            self.planned = plan_shards([key for one in keys for key in one], most, target.name)
        else:
            self.planned = [
                PlannedShard(f"{target.name}-{number:06d}", number, tuple(one)) for number, one in enumerate(keys)
            ]
        self.recipe = self._recipe(before, most)

    def check(self) -> None:
        """ConfigError unless there is something to convert; CorruptShard if a record would be lost."""
        manifest = self.shards.manifest
        try:
            check_key(self.target.name)
        except SchemaMismatch as error:
            raise ConfigError(f"to: {error}; the folder's name is the set's and its shards'.") from error
        if not (self._text or self._labels or self._cut_anew) and manifest.files:
            raise ConfigError(
                f"{self.shards.folder} is what was asked for already; nothing was written. `set push` copies sets. To "
                "convert, say labels=quick, labels=small, text=tokens or records_per_shard=N."
            )
        if twice := self.shards.n_records - len(self._numbers):
            raise CorruptShard(
                f"{self.shards.folder}: {twice} of its records have the key of another, and would be lost; nothing was "
                "written. `set verify` names them."
            )
        if [key for shard in self.planned for key in shard.keys if key in self._numbers] != list(self._numbers):
            raise CorruptShard(
                f"{ORIGINS_NAME} of {self.shards.folder} does not name the set's records in their order: it is cut or "
                f"of another set. Delete it and {TIMES_NAME}; nothing was written."
            )

    def write(self, shard: PlannedShard) -> FinishedShard:
        """One shard, and what was left out of it."""
        numbers = [self._numbers[key] for key in shard.keys if key in self._numbers]
        entry = None
        rejects = tuple(reject for key in shard.keys for reject in self._rejects.get(key, ()))
        if numbers:
            entry = write_shard(self.target, shard.name, self.schema, map(self._record, numbers))
            changed = self._label_fields if self._labels else ()
            check_same_bytes(self.shards, numbers, self.target, entry, self.schema, changed)
            entry = replace(entry, rejects=len(rejects))
        origins = None
        if all(key in self._origins for key in shard.keys):
            origins = ShardOrigins(shard.name, self._shared, tuple(self._origins[key] for key in shard.keys))
        cut = sum(origin.cut_sentences for origin in origins.records) if origins else 0
        return FinishedShard(shard.name, shard.keys_sha256, entry, rejects, cut, origins)

    @property
    def _label_fields(self) -> list[str]:
        return [field.name for field in self.schema.fields if field.codec == "png"]

    def _record(self, number: int) -> Record:
        record = whole_record(self.shards, number)
        values = {field.name: record.values[field.name] for field in self.schema.fields}
        if self._labels:
            labels: dict[str, Any] = {name: values[name] for name in self._label_fields}
            values |= converted_labels(
                labels, "quick" if self._labels == "quick" else "small", f"{record.key} of {self.shards.folder}"
            )
        return Record(record.key, values)

    def _recipe(self, before: Mapping[str, Any], most: int) -> dict[str, Any]:
        recipe = whole(before)
        if self._labels:
            recipe["labels"] = "quick" if self._labels == "quick" else REPACKED
        if self._text:
            members = {field.member for field in self.schema.fields}
            recipe["text"] = self._text
            recipe["fields"] = {name: form for name, form in recipe.get("fields", {}).items() if name in members}
        if self._cut_anew:
            recipe["records_per_shard"] = most
        # Where rejected pictures stood decides where a build cuts; a set that does not know it is not that build's.
        unknown = (
            self._cut_anew and not self._origins and any(one.whole for all in self._rejects.values() for one in all)
        )
        keys = [key for shard in self.planned for key in shard.keys if key in self._numbers]
        return recipe_of(recipe, keys) if PART in before or unknown else recipe

    def _keys_before(self, finished: Mapping[str, FinishedShard]) -> Iterator[list[str]]:
        """The keys of every shard, with those that were rejected: where they stood if that is known, else last."""
        if finished:
            for part in finished.values():
                yield [origin.key for origin in part.origins.records] if part.origins else []
            return
        keys, start = list(self._numbers), 0
        lines = [(str(line.get("shard", "")), str(line.get("key", ""))) for line in read_rejects(self.shards.folder)]
        names = [shard.name for shard in self.shards.manifest.shards]
        for name, end in zip(names, self.shards.paged.record_ends.tolist(), strict=True):
            rejected = [key for shard, key in lines if shard == name or (shard not in names and name == names[-1])]
            yield [*keys[start:end], *dict.fromkeys(key for key in rejected if key not in self._numbers)]
            start = end


def _text_of(shards: ShardSet, text: str) -> str:
    """What becomes of sentence states; "" where nothing does. ConfigError unless they can be made again."""
    if not text or shards.manifest.recipe.get("text") == text:
        return ""
    fields = {field.name for field in shards.schema.fields}
    if TEXT not in fields:
        raise ConfigError(f"{shards.folder} has no sentence states to leave out (text={text}).")
    if TOKENS not in fields:
        raise ConfigError(
            f"{shards.folder} has sentence states and no token ids (text={text}): without the states nobody could say "
            "what its sentences are."
        )
    return text


def _is_there(part: FinishedShard, shard: PlannedShard, target: Folder) -> bool:
    return part.keys_sha256 == shard.keys_sha256 and (part.shard is None or is_in_place(part.shard, target))
