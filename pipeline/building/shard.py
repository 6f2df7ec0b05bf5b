"""Builds one shard, and finishes a set: what a job calls, on any machine, in any order, as often as it likes.

Four stages run at once, each ahead of the next, and all of them keep the order of the keys:
    decode threads    source.load, views, render            -> uint8 views
    batch thread      levels (or pixels), tokens            -> full batches of one shape, never across shards
    encoder thread    image encoder, text encoder, no more  -> rows of latents and states
    calling thread    records, tar, index, hashes           -> the shard, then its entry in `_build/`
An example that cannot be used (Reject, or a result that is not finite in float16) is left out with its reason, and so
are entries of an example that its source left out; everything else that fails ends the shard and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from threading import Lock
from typing import Any

from pipeline.building.ledger import (
    FinishedShard,
    Place,
    Rejected,
    read_finished,
    read_manifest,
    remove_ledger,
    write_finished,
)
from pipeline.building.losses import check_losses, losses_in_words
from pipeline.building.plan import PlannedShard
from pipeline.building.prefetch import in_thread, map_ahead
from pipeline.building.recipe import BuildSettings, schema_of
from pipeline.building.stages import EncodedExample, batches_of, encode, record_of, rendered
from pipeline.encoders import ImageEncoder, TextEncoder
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.manifest import Manifest, ShardEntry, TableEntry
from shards.contract.schema import Record, Schema
from shards.errors import CorruptShard, IncompleteSet
from shards.storage.storage import open_folder
from shards.writing.writer import seal_set, write_shard

Progress = Callable[[int, int], None]  # (records written, examples rejected) of this shard so far
_BATCHES_AHEAD = 2


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
    turn: Lock | None = None,
) -> FinishedShard:
    """Writes `<planned.name>.tar` and `.idx` into `folder`, a path or URL, then `_build/<planned.name>.json`; returns
    what that says.

    The bytes depend on the recipe and the source alone, not on threads or on how often this was tried. Whoever calls
    it has called `ledger.open_build` on the folder. Raises SourceError and the encoder's own errors; the folder then
    has no trace of the shard.

    Writing ends with hashing and syncing, when the encoders have nothing to do. To keep them busy, call this for the
    next shard from another thread with the same `turn`: it decodes at once and encodes as soon as this one has done so.
    """
    schema = schema_of(source, view_plan, vae, text, settings)
    examples = map_ahead(
        partial(rendered, source, split, view_plan), planned.keys, settings.decoders, settings.decode_ahead
    )
    batches = in_thread(batches_of(examples, vae, text, view_plan.size_px, settings), _BATCHES_AHEAD, "batch")
    outcomes = in_thread(encode(batches, vae, text, settings, turn or Lock()), 2 * settings.image_batch, "encode")
    rejects: list[Rejected] = []
    cut_sentences = 0

    def records() -> Generator[Record, None, None]:
        nonlocal cut_sentences
        done = rejected = 0
        for outcome in outcomes:
            record = outcome if isinstance(outcome, Rejected) else record_of(outcome)
            if isinstance(record, Rejected):
                rejects.append(record)
                rejected += 1
            else:
                if isinstance(outcome, EncodedExample):
                    rejects.extend(Rejected(record.key, why, whole=False) for why in outcome.example.left_out)
                    cut_sentences += outcome.example.cut_sentences
                yield record
                done += 1
            if progress is not None:
                progress(done, rejected)

    with closing(examples), closing(batches), closing(outcomes), closing(records()) as accepted:
        first = next(accepted, None)
        shard = None if first is None else write_shard(folder, planned.name, schema, chain([first], accepted))
    if shard is not None:
        shard = replace(shard, rejects=len(rejects))
    finished = FinishedShard(planned.name, planned.keys_sha256, shard, tuple(rejects), cut_sentences)
    write_finished(folder, finished)
    return finished


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
    turn = Lock()

    def build(shard: PlannedShard) -> FinishedShard:
        return build_shard(shard, source, split, view_plan, vae, text, folder, settings, turn=turn)

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
    results = {shard.name: read_finished(folder, shard.name) for shard in planned}
    manifest = read_manifest(folder)
    if manifest is not None:
        _check_repaired(manifest, [result for result in results.values() if result is not None])
        remove_ledger(folder)
        return manifest
    absent = [name for name, result in results.items() if result is None]
    if absent:
        raise IncompleteSet(
            f"{folder}: {len(absent)} of {len(planned)} shards are not built, the first is {absent[0]}; "
            "build them first"
        )
    finished = [result for result in results.values() if result is not None]
    check_losses(finished, sum(len(shard.keys) for shard in planned), folder.name, settings.max_rejects)
    rejects = [{"shard": part.name, **reject.to_json()} for part in finished for reject in part.rejects]
    manifest = seal_set(
        folder,
        name=folder.name,
        split=split,
        recipe=recipe,
        schema=schema,
        shards=_without_empty(finished),
        rejects=rejects,
        tables=tables,
        card=source.card(),
    )
    for line in losses_in_words(finished, manifest.counts.get("sentence", 0)):
        say(line)
    return manifest


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
