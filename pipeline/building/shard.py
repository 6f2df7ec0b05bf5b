"""Builds one shard, and finishes a set: what a job calls, on any machine, in any order, as often as it likes.

Four stages run at once, each ahead of the next, and all of them keep the order of the keys:
    decode threads    files, source.load, views, render     -> uint8 views, or what was built before (or `elsewhere`)
    batch thread      levels (or pixels), tokens            -> full batches of one shape, never across shards
    encoder thread    image encoder, text encoder, no more  -> rows of latents and states
    calling thread    records, tar, index, hashes           -> the shard, then its entry in `_build/`
An example that cannot be used (Reject, or a result that is not finite in float16) is left out with its reason, and so
are entries of an example that its source left out; everything else that fails ends the shard and leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

from pipeline.building import environments
from pipeline.building.elsewhere import Elsewhere, received
from pipeline.building.ledger import (
    FinishedShard,
    Place,
    Rejected,
    read_all_finished,
    read_manifest,
    reject_lines,
    remove_ledger,
    write_finished,
)
from pipeline.building.losses import check_losses, losses_in_words
from pipeline.building.plan import PlannedShard
from pipeline.building.prefetch import in_thread, map_ahead
from pipeline.building.previous import Earlier, EarlierRecords, Previous
from pipeline.building.recipe import BuildSettings, schema_of, shared_sha256
from pipeline.building.stages import EncodedExample, Kept, RenderedExample, Turns, batches_of, encode, record_of
from pipeline.building.taking_over import FirstStage
from pipeline.encoders import ImageEncoder, TextEncoder
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.manifest import Manifest, ShardEntry, TableEntry
from shards.contract.origins import ORIGINS_NAME, TIMES_NAME, Origin, ShardOrigins, to_lines
from shards.contract.schema import PackedRecord, Record, Schema
from shards.errors import CorruptShard, IncompleteSet
from shards.storage.atomic import sha256_bytes
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import seal_set, write_rejects, write_shard

Progress = Callable[[int, int], None]  # (records written, examples rejected) of this shard so far
BATCHES_AHEAD = 2


def build_shard(
    planned: PlannedShard,
    source: Source,
    split: str,
    view_plan: ViewPlan,
    vae: ImageEncoder,
    text: TextEncoder | None,
    folder: Place,
    settings: BuildSettings,
    progress: Progress | None = None,
    turns: Turns | None = None,
    previous: Previous | None = None,
    shared: str = "",
    elsewhere: Elsewhere | None = None,
) -> FinishedShard:
    """Writes `<planned.name>.tar` and `.idx` into `folder`, a path or URL, then `_build/<planned.name>.json`; returns
    what that says.

    The bytes depend on the recipe and the source alone, not on threads or on how often this was tried. Whoever calls
    it has called `ledger.open_build` on the folder. Raises SourceError and the encoder's own errors; the folder then
    has no trace of the shard.

    What `previous` has of the same keys, by the same recipe but for the contents of the source's files, is taken over
    as far as it is still so; `shared` is `recipe.shared_sha256`, if it is known. Where there is nothing of that,
    `elsewhere` loads and renders the records in place of this process's decode threads.

    Writing ends with hashing and syncing, when the encoders have nothing to do. To keep them busy, call this for the
    next shard from another thread with the same `turns`: it decodes ahead, and encodes as soon as this one has done so.
    """
    schema = schema_of(source, view_plan, vae, text, settings)
    with _earlier(previous, planned, schema) as (earlier, taken):
        shared = shared or shared_sha256(source, split)
        first_stage = FirstStage(source, split, view_plan, shared, earlier, taken, settings.labels)
        if elsewhere is None or earlier:
            examples = map_ahead(first_stage, planned.keys, settings.decoders, settings.decode_ahead)
        else:
            examples = received(elsewhere, planned.keys, settings.decode_ahead, first_stage.origins)
        batches = in_thread(batches_of(examples, vae, text, view_plan.size_px, settings), BATCHES_AHEAD, "batch")
        outcomes = in_thread(encode(batches, vae, text, settings, turns or Turns()), 2 * settings.image_batch, "encode")
        told = _Told(first_stage.origins, schema.key_characters, progress)
        with closing(examples), closing(batches), closing(outcomes), closing(told.records(outcomes)) as accepted:
            first = next(accepted, None)
            shard = None if first is None else write_shard(folder, planned.name, schema, chain([first], accepted))
    if shard is not None:
        shard = replace(shard, rejects=len(told.rejects))
    origins = ShardOrigins(planned.name, first_stage.shared, tuple(told.origins[key] for key in planned.keys))
    cut_sentences = sum(origin.cut_sentences for origin in origins.records)
    finished = FinishedShard(planned.name, planned.keys_sha256, shard, tuple(told.rejects), cut_sentences, origins)
    write_finished(folder, finished)
    return finished


@contextmanager
def _earlier(
    previous: Previous | None, planned: PlannedShard, schema: Schema
) -> Iterator[tuple[Mapping[str, Earlier], EarlierRecords | None]]:
    found = {key: one for key in planned.keys if (one := previous.earlier(key))} if previous else {}
    if previous is None or not found:
        yield {}, None
        return
    with previous.records(planned.keys, schema) as records:
        yield found, records


class _Told:
    """What is said of a shard while its records go by: rejects, and what every record is made of."""

    def __init__(self, origins: dict[str, Origin], key_characters: int, progress: Progress | None) -> None:
        self.origins, self.rejects = origins, list[Rejected]()
        self._key_characters, self._progress = key_characters, progress

    def records(
        self, outcomes: Iterable[EncodedExample | Rejected | Kept]
    ) -> Generator[Record | PackedRecord, None, None]:
        done = rejected = 0
        for outcome in outcomes:
            record = record_of(outcome, self._key_characters) if isinstance(outcome, EncodedExample) else outcome
            if isinstance(record, Rejected):
                self.rejects.append(record)
                rejected += 1
            else:
                if isinstance(record, Kept):
                    self._note(record.record.key, record)
                    yield record.record
                elif isinstance(outcome, EncodedExample):
                    self._note(record.key, outcome.example)
                    yield record
                done += 1
            if self._progress is not None:
                self._progress(done, rejected)

    def _note(self, key: str, said: Kept | RenderedExample) -> None:
        self.rejects.extend(Rejected(key, why, whole=False) for why in said.left_out)
        self.origins[key] = replace(self.origins[key], cut_sentences=said.cut_sentences)


def build_shards(
    planned: Iterable[PlannedShard],
    source: Source,
    split: str,
    view_plan: ViewPlan,
    vae: ImageEncoder,
    text: TextEncoder | None,
    folder: Place,
    settings: BuildSettings,
) -> Iterator[FinishedShard]:
    """`build_shard` of one shard after the other, each encoding while the one before it is hashed and synced."""
    turns = Turns()

    def build(shard: PlannedShard) -> FinishedShard:
        return build_shard(shard, source, split, view_plan, vae, text, folder, settings, turns=turns)

    return map_ahead(build, planned, threads=2, ahead=1)


def finish_set(
    planned: Sequence[PlannedShard],
    source: Source,
    split: str,
    schema: Schema,
    recipe: Mapping[str, Any],
    place: Place,
    settings: BuildSettings,
    tables: Sequence[TableEntry] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Turns the `planned` shards, all finished, into a set named after its folder: rejects, card, the manifest last.
    `say` is told what the set lacks of its source, a line at a time.

    On a set that is already finished, it only checks that shards built again are the ones the manifest names. Raises
    IncompleteSet if a shard is missing, SourceError if more than `max_rejects` of the examples or of their entries were
    left out or no example is left, CorruptShard if a shard built again differs.
    """
    folder = open_folder(place)
    found = read_all_finished(folder, [shard.name for shard in planned])
    finished = list(found.values())
    manifest = read_manifest(folder)
    if manifest is not None:
        _check_repaired(manifest, finished)
        remove_ledger(folder)
        return manifest
    rejects = reject_lines(finished)
    if absent := [shard.name for shard in planned if shard.name not in found]:
        write_rejects(folder, rejects)
        raise IncompleteSet(
            f"{folder}: {len(absent)} of {len(planned)} shards are not built, the first is {absent[0]}; "
            "build them first"
        )
    write_rejects(folder, rejects)  # whoever is refused for too many of them has a list
    check_losses(finished, sum(len(shard.keys) for shard in planned), folder.name, settings.max_rejects)
    manifest = seal_finished(folder, finished, split, schema, recipe, tables, source.card())
    for line in losses_in_words(finished, manifest.counts.get("sentence", 0)):
        say(line)
    return manifest


def seal_finished(
    folder: Folder,
    finished: Sequence[FinishedShard],
    split: str,
    schema: Schema,
    recipe: Mapping[str, Any],
    tables: Sequence[TableEntry],
    card: Mapping[str, Any],
) -> Manifest:
    """Turns all shards of a set, in their order, into a set named after its folder, the manifest last."""
    files = _write_origins(folder, finished)
    _remove_unplanned(folder, finished)
    return seal_set(
        folder,
        name=folder.name,
        split=split,
        recipe=recipe,
        schema=schema,
        shards=_without_empty(finished),
        rejects=reject_lines(finished),
        tables=tables,
        card=card,
        files=files,
    )


def _write_origins(folder: Folder, finished: Sequence[FinishedShard]) -> dict[str, str]:
    """What every record was made from, and by what; nothing where an older version built some of it. Hashes of what
    equal sets have in common."""
    known = [part.origins for part in finished if part.origins is not None]
    if len(known) == len(finished) and (environment := environments.read(folder, environments.BEGUN)):
        origins, times = to_lines(known)
        folder.write(ORIGINS_NAME, origins)
        folder.write(TIMES_NAME, times)
        environments.write(folder, environments.BUILT, environment)
        return {ORIGINS_NAME: sha256_bytes(origins)}
    return {}


def _remove_unplanned(folder: Folder, finished: Sequence[FinishedShard]) -> None:
    """Shards of the same set that an earlier plan had, when the source was larger."""
    named = {part.shard.name for part in finished if part.shard is not None}
    for name in (*folder.names(f"{folder.name}-*.tar"), *folder.names(f"{folder.name}-*.idx")):
        if name[:-4] not in named and re.fullmatch(r"\d{6}", name[len(folder.name) + 1 : -4]):
            folder.remove(name)


def _without_empty(finished: Sequence[FinishedShard]) -> list[ShardEntry]:
    """Entries of the shards that exist. A set holds no empty shard, yet every reject counts: those of an empty shard
    are counted with its neighbour (rejects.jsonl keeps the true name)."""
    shards, carried = [], 0
    for part in finished:
        if part.shard is None:
            carried += len(part.rejects)
        else:
            shards.append(replace(part.shard, rejects=part.shard.rejects + carried))
            carried = 0
    if carried:
        shards[-1] = replace(shards[-1], rejects=shards[-1].rejects + carried)
    return shards


def _check_repaired(manifest: Manifest, rebuilt: Sequence[FinishedShard]) -> None:
    named = {shard.name: shard for shard in manifest.shards}
    for part in rebuilt:
        found = None if part.shard is None else part.shard.tar_sha256
        expected = named[part.name].tar_sha256 if part.name in named else None
        if found != expected:
            raise CorruptShard(
                f"{part.name} was built again and differs from the one in the manifest (sha256 {found} against "
                f"{expected}); the source's files or the device have changed. Build into another set name"
            )
