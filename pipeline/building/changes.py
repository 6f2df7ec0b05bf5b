"""What is left to do in a set's folder, and why: shards that are not built, or whose source files have changed since.

Nothing is written here and no weight is needed, so a dry run and a build say the same. Size and time of every source
file are looked at, and files that differ in either are read; examples that were rejected are tried again, up to the
encoder. Which bytes a rebuilt shard takes over is decided where it is built (`taking_over`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.building.ledger import FinishedShard, finished_of_set, read_all_finished, read_manifest
from pipeline.building.plan import PlannedShard, is_in_place, remaining
from pipeline.building.previous import Earlier
from pipeline.building.recipe import shared_sha256
from pipeline.building.stages import rendered
from pipeline.building.taking_over import files_of, is_retried, is_untouched
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.manifest import Manifest
from shards.contract.origins import Origin, SourceFile
from shards.storage.storage import Folder

NOT_BUILT, NOT_IN_PLACE = "is not built", "its files are missing, or not as recorded"
_SHARED = "annotations, lists or class names, which all records depend on, have changed"
_LOOKS_AT_ONCE = 8
_SHOWN = 3


@dataclass(frozen=True)
class StaleShard:
    """A shard to build, and why. `records` counts those known to be affected; the others of a shard are taken over."""

    shard: PlannedShard
    why: tuple[str, ...]
    records: int

    @property
    def is_changed(self) -> bool:
        """Whether the source is to blame; else the shard was not built, or lost."""
        return self.why[0] not in (NOT_BUILT, NOT_IN_PLACE)


@dataclass(frozen=True)
class Situation:
    """Of a set's folder.

    Attributes:
        manifest: of a finished set.
        finished: what is known of its shards, or of those that are finished, by name; with today's times of files
            that did not change.
        stale: what is to be built, in the order of the plan.
        updates: a finished set is to be replaced.
    """

    manifest: Manifest | None
    finished: Mapping[str, FinishedShard]
    stale: tuple[StaleShard, ...]
    updates: bool

    def lines(self) -> Iterator[str]:
        """For a person, before a build; nothing of a folder where nothing was built."""
        if self.manifest is None and not self.finished:
            return
        kind = "the finished set is brought up to date" if self.updates else "a build goes on"
        if not self.stale and not self.updates:
            yield "nothing to do" if self.manifest else "every shard is built; the manifest is missing"
            return
        yield f"{kind}: {len(self.stale)} shards to build, {self.kept} kept as they are"
        for stale in self.stale[:_SHOWN]:
            more = f" and {len(stale.why) - _SHOWN} more" if len(stale.why) > _SHOWN else ""
            yield f"  {stale.shard.name}: {'; '.join(stale.why[:_SHOWN])}{more}"
        if len(self.stale) > _SHOWN:
            yield f"  and {len(self.stale) - _SHOWN} more shards"
        if any(stale.is_changed for stale in self.stale):
            yield "  of these, records that did not change are taken over, and latents of pictures that did not change"

    @property
    def kept(self) -> int:
        return len(self.finished) - sum(stale.shard.name in self.finished for stale in self.stale)


def situation(
    folder: Folder, planned: Sequence[PlannedShard], source: Source, split: str, view_plan: ViewPlan
) -> Situation:
    """Of a folder whose recipe was found to be the same, but for what the source's files hold."""
    manifest = read_manifest(folder)
    if manifest is None:
        finished = read_all_finished(folder, [shard.name for shard in planned])
        stale, finished = _looked(folder, planned, source, split, view_plan, finished)
        return Situation(None, finished, stale, False)
    finished = finished_of_set(folder, manifest)
    if not finished:  # of an older version, which does not say what its records were made from
        lost = [StaleShard(shard, (NOT_IN_PLACE,), len(shard.keys)) for shard in remaining(planned, folder)]
        return Situation(manifest, {}, tuple(lost), False)
    stale, finished = _looked(folder, planned, source, split, view_plan, finished)
    smaller = bool(finished.keys() - {shard.name for shard in planned})
    other = any(stale_shard.shard.name not in finished or stale_shard.is_changed for stale_shard in stale)
    return Situation(manifest, finished, stale, smaller or other)


def stale_shards(
    folder: Folder,
    planned: Sequence[PlannedShard],
    source: Source,
    split: str,
    view_plan: ViewPlan,
    finished: Mapping[str, FinishedShard],
) -> tuple[StaleShard, ...]:
    """Those of the planned shards that are not as they would be built now."""
    return _looked(folder, planned, source, split, view_plan, finished)[0]


def _looked(
    folder: Folder,
    planned: Sequence[PlannedShard],
    source: Source,
    split: str,
    view_plan: ViewPlan,
    finished: Mapping[str, FinishedShard],
) -> tuple[tuple[StaleShard, ...], dict[str, FinishedShard]]:
    """Shards to build, and all that are finished, with the times of today."""
    look, now = _Look(folder, source, split, view_plan, shared_sha256(source, split)), dict(finished)
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        why = list(pool.map(lambda shard: look.why(shard, finished.get(shard.name)), planned))
    stale = []
    for shard, (reasons, affected, part) in zip(planned, why, strict=True):
        if reasons:
            stale.append(StaleShard(shard, tuple(reasons), affected))
        elif part is not None:
            now[shard.name] = part
    return tuple(stale), now


@dataclass(frozen=True)
class _Look:
    folder: Folder
    source: Source
    split: str
    view_plan: ViewPlan
    shared: str

    def why(self, shard: PlannedShard, part: FinishedShard | None) -> tuple[list[str], int, FinishedShard | None]:
        """Why a shard is to be built, no reason if it is not; how many of its records that concerns; and what is known
        of it, with the times of today."""
        if part is None:
            return [NOT_BUILT], len(shard.keys), part
        if part.keys_sha256 != shard.keys_sha256:
            return *self._other_keys(shard, part), part
        if part.shard is not None and not is_in_place(part.shard, self.folder):
            return [NOT_IN_PLACE], len(shard.keys), part
        if part.origins is None:
            return [], 0, part
        if part.origins.shared != self.shared:
            return [_SHARED], len(shard.keys), part
        rejected = {reject.key: reject.reason for reject in part.rejects if reject.whole}
        records = [Earlier(origin, part.origins.shared, part.shard, ()) for origin in part.origins.records]
        looked = [self._look_at(one, rejected.get(one.origin.key, "")) for one in records]
        reasons = [reason for reason, _ in looked if reason]
        today = replace(part, origins=replace(part.origins, records=tuple(origin for _, origin in looked)))
        return reasons, len(reasons), today

    def _other_keys(self, shard: PlannedShard, part: FinishedShard) -> tuple[list[str], int]:
        before = {origin.key for origin in part.origins.records} if part.origins else set()
        come = [key for key in shard.keys if key not in before]
        gone = sorted(before - set(shard.keys))
        reasons = [f"{len(come)} records come in, such as {come[0]}"] if come else []
        reasons += [f"{len(gone)} go out, such as {gone[0]}"] if gone else []
        return reasons or ["its records are in another order"], len(come) or len(gone) or len(shard.keys)

    def _look_at(self, earlier: Earlier, rejected: str) -> tuple[str, Origin]:
        """Why a record is to be made again, if it is, and what it was made of, with the times of today. `rejected` is
        the reason why none came of its key."""
        origin, key = earlier.origin, earlier.origin.key
        files = files_of(self.source, self.split, key, origin)
        if not is_untouched(earlier, self.shared, files):
            return f"{key}: {', '.join(other_names(origin.files or (), files or ())) or 'its files'} changed", origin
        if rejected and is_retried(earlier, rendered(self.source, self.split, self.view_plan, key)):
            return f"{key} was rejected ({rejected}), and can be used now", origin
        return "", replace(origin, files=files)


def other_names(before: Sequence[SourceFile], now: Sequence[SourceFile]) -> list[str]:
    """Of the files that came, went, or are not the same."""
    then, today = {file.name: file for file in before}, {file.name: file for file in now}
    names = dict.fromkeys((*then, *today))
    return [name for name in names if name not in then or name not in today or not then[name].is_same(today[name])]
