"""A set on its way from what its folder holds to what its source says: begun, built by anybody, finished in one go.

    nothing there, or unfinished   shards are built in the folder; the manifest is last
    finished, source unchanged     shards that are missing or damaged are built again, to the same bytes
    finished, source changed       changed shards are built in `_build/next`, beside a set that stays whole; then the
                                   ledger gets an entry for every shard, the manifest goes, the new files take their
                                   places, and the new manifest is written. Whoever is killed in between leaves a build
                                   whose shards are all finished, and the next run ends it.

Owns this order. What is stale is `changes`' business, what a shard is made of `shard`'s, who builds it the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.building import environments
from pipeline.building.changes import Situation, situation, stale_shards
from pipeline.building.lease import LEASE_NAME
from pipeline.building.ledger import (
    FinishedShard,
    Place,
    check_recipe,
    open_build,
    read_all_finished,
    read_manifest,
    reject_lines,
    remove_ledger,
    write_finished,
    write_recipe,
)
from pipeline.building.losses import check_losses
from pipeline.building.plan import PlannedShard
from pipeline.building.previous import Previous
from pipeline.building.recipe import BuildSettings
from pipeline.building.shard import finish_set
from pipeline.example import Source
from pipeline.views import ViewPlan
from shards.contract.manifest import MANIFEST_NAME, Manifest, TableEntry
from shards.contract.origins import ORIGINS_NAME
from shards.contract.schema import Schema
from shards.errors import IncompleteSet, SourceError
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import BUILD_FOLDER, REJECTS_NAME, write_rejects

NEXT = f"{BUILD_FOLDER}/next"
_REJECTS_OF_NEXT = f"{BUILD_FOLDER}/{REJECTS_NAME}"
_WRITES_AT_ONCE = 8

Tables = Callable[[], Sequence[TableEntry]]


@dataclass(frozen=True)
class Order:
    """Where shards are built, and from what they take over: small and picklable, it travels to every worker."""

    below: str = ""  # of the set's folder
    take_over: Literal["nothing", "shard", "set"] = "shard"

    def place(self, folder: Folder) -> Folder:
        return folder.below(self.below) if self.below else folder

    def previous(self, folder: Folder, name: str) -> Previous | None:
        """What was built before of a shard, or of all of the set."""
        if self.take_over == "nothing":
            return None
        return Previous.of_set(folder) if self.take_over == "set" else Previous.of_shard(folder, name)


def unchanged(
    place: Place,
    planned: Sequence[PlannedShard],
    source: Source,
    split: str,
    view_plan: ViewPlan,
    recipe: Mapping[str, Any],
) -> Manifest | None:
    """The manifest of a set that is finished and as its source says, if it is; nothing is written, so that one that
    nobody may write to can be asked about.

    Raises:
        FingerprintMismatch: as of `ledger.open_build`.
    """
    folder = open_folder(place)
    manifest = read_manifest(folder)
    if manifest is None or folder.exists(LEASE_NAME):
        return None
    if any(place.below(BUILD_FOLDER).names("*") for place in (folder, folder.below(NEXT))):  # a build left it
        return None
    check_recipe(recipe, manifest.recipe, folder, folder.exists(ORIGINS_NAME))
    found = situation(folder, planned, source, split, view_plan)
    return None if found.stale or found.updates else manifest


class SetBuild:
    """Made by a driver, before any worker starts. `todo` is empty and `is_done` true if there is nothing to do.

    Raises:
        FingerprintMismatch, IncompleteSet: as of `ledger.open_build`.
    """

    def __init__(
        self,
        place: Place,
        planned: Sequence[PlannedShard],
        source: Source,
        split: str,
        view_plan: ViewPlan,
        recipe: Mapping[str, Any],
        environment: Mapping[str, Any],
        allow_changed: bool = False,
    ) -> None:
        self.folder, self.planned, self.source, self.split = open_folder(place), list(planned), source, split
        self._recipe, self._environment = recipe, environment
        self.manifest = open_build(self.folder, recipe, environment, allow_changed)
        if self.manifest is None:
            self._take_places()
        self.situation: Situation = situation(self.folder, planned, source, split, view_plan)
        self.todo = [stale.shard for stale in self.situation.stale]
        self.order = Order()
        if self.situation.updates:
            self.order = Order(NEXT, "set")
            self._begin_next(view_plan, allow_changed)
        elif self.manifest is not None:
            self.order = Order(take_over="nothing")  # what comes out has to be what the manifest says
        if self.is_done:
            remove_ledger(self.folder)  # a build may have been killed between its manifest and this

    @property
    def is_done(self) -> bool:
        return self.manifest is not None and not self.situation.updates and not self.todo

    def finish(self, schema: Schema, settings: BuildSettings, say: Callable[[str], None], tables: Tables) -> Manifest:
        """The manifest, once every shard is built. `tables` is called when no reader can find the set.

        Raises:
            IncompleteSet, SourceError, CorruptShard: as of `shard.finish_set`; a finished set stays as it was.
        """
        if self.situation.updates:
            self._replace_set(settings)
        written = tables() if self.manifest is None or self.situation.updates else ()
        manifest = finish_set(
            self.planned, self.source, self.split, schema, self._recipe, self.folder, settings, written, say
        )
        self.folder.sweep()  # what a killed worker left of a shard that another one built
        return manifest

    def list_rejects(self) -> None:
        """Write down what is rejected so far, of a build that cannot be finished yet; not into a finished set."""
        if self.manifest is None:
            write_rejects(self.folder, reject_lines(self._parts()))
        elif self.situation.updates:
            write_rejects(self.folder, reject_lines(self._parts()), _REJECTS_OF_NEXT)

    def _begin_next(self, view_plan: ViewPlan, allow_changed: bool) -> None:
        known = environments.read(self.folder, environments.BUILT)
        environments.check(self._environment, known, self.folder, allow_changed)
        place = self.order.place(self.folder)
        open_build(place, self._recipe, self._environment, allow_changed)
        built = read_all_finished(place, [shard.name for shard in self.todo])
        stale = stale_shards(place, self.todo, self.source, self.split, view_plan, built)
        self.todo = [one.shard for one in stale]

    def _replace_set(self, settings: BuildSettings) -> None:
        """Turn the finished set and its successor's shards into an unfinished build whose shards are all built."""
        place = self.order.place(self.folder)
        stale = {one.shard.name for one in self.situation.stale}
        parts = self._parts()
        if absent := stale - {part.name for part in parts}:
            raise IncompleteSet(f"{place}: {min(absent)} is not built; build it first")
        self._check_losses(parts, settings)
        computed = environments.read(self.folder, environments.BUILT) + environments.read(place, environments.BEGUN)
        environments.write(self.folder, environments.BEGUN, computed)
        write_recipe(self.folder, self._recipe)
        with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
            list(pool.map(lambda part: write_finished(self.folder, part), parts))
        for name in (*place.names("*.tar"), *place.names("*.idx")):
            if name[:-4] not in stale:  # its change was undone
                place.remove(name)
        self.folder.remove(MANIFEST_NAME)
        self._take_places()

    def _parts(self) -> list[FinishedShard]:
        """Of every shard that is kept, or built by now."""
        stale = {one.shard.name for one in self.situation.stale}
        kept = {name: part for name, part in self.situation.finished.items() if name not in stale}
        known = kept | read_all_finished(self.order.place(self.folder), stale)
        return [known[shard.name] for shard in self.planned if shard.name in known]

    def _check_losses(self, parts: Sequence[FinishedShard], settings: BuildSettings) -> None:
        write_rejects(self.folder, reject_lines(parts), _REJECTS_OF_NEXT)
        examples = sum(len(shard.keys) for shard in self.planned)
        try:
            check_losses(parts, examples, self.folder.name, settings.max_rejects)
        except SourceError as error:
            raise SourceError(
                f"{error}. The finished set is as it was; the list is {self.folder}/{_REJECTS_OF_NEXT}"
            ) from None

    def _take_places(self) -> None:
        """Move what was built beside a set into it; index first, so that a tar always has one."""
        place = self.folder.below(NEXT)
        for name in (*place.names("*.idx"), *place.names("*.tar")):
            self.folder.rename(f"{NEXT}/{name}", name)
        self.folder.remove_folder(NEXT)
