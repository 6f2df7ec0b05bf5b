"""One split of a build, from what its folder holds to a finished set: begun, built by somebody, sealed.

Owns the order of it and the set's lease. Who builds the shards is the caller's: actors of a cluster
(`jobs.build_shards`), or this process (`built_here`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diffusion_perception.building.assignment import Assignment, Described, check_source
from diffusion_perception.building.builder import BUILDS_AT_ONCE, BuildJob, ShardBuilder, set_folder, set_place
from diffusion_perception.building.forecast import SplitForecast
from pipeline.building.lease import Lease
from pipeline.building.plan import PlannedShard
from pipeline.building.prefetch import map_ahead
from pipeline.building.transaction import SetBuild, unchanged
from pipeline.example import Source
from pipeline.prompts.class_table import TABLE
from shards.contract.manifest import Manifest, TableEntry
from shards.contract.schema import Schema
from shards.contract.tables import write_table
from shards.errors import ContractError
from shards.progress import Progress

Check = Callable[[], None]  # raises where the driver has to stop
# Builds shards: (what is asked, those to do, how many the set has, called again and again)
Build = Callable[[Assignment, list[PlannedShard], int, Check], None]


def build_split(
    job: BuildJob,
    source: Source,
    forecast: SplitForecast,
    described: Described,
    build: Build,
    *,
    allow_changed: bool = False,
    who: str = "build",
) -> Manifest:
    """Build what is missing or has changed of one set and finish it; nothing is touched where nothing has to be done.

    Args:
        described: what the builders say that they would make.
        who: says it, for people.

    Raises:
        FingerprintMismatch: the folder holds a build by another recipe, or the builders would make another set than
            this driver; nothing in it is touched.
        BeingBuilt: somebody else builds it.
        SourceError: more rejects than the settings allow.
        ContractError: some shards could not be built.
    """
    split, folder = forecast.split, set_folder(job, forecast.split)

    def say(line: str) -> None:
        print(f"[{who}] {folder.name}: {line}", flush=True)

    check_source(described, source, split)
    looked = (folder, forecast.planned, source, split, forecast.plan, described.recipe)
    if finished := unchanged(*looked):
        say(f"already built with this recipe, nothing to do ({folder})")
        return finished
    with Lease(folder, say) as lease:
        begun = SetBuild(*looked, described.environment, allow_changed)
        for line in begun.situation.lines():
            say(line)
        work = Assignment(
            split,
            set_place(job, split),
            begun.order,
            described.recipe,
            described.environment,
            lease.token,
            allow_changed,
        )
        try:
            build(work, begun.todo, len(forecast.planned), lease.check)
        except ContractError:
            begun.list_rejects()
            raise

        def tables() -> list[TableEntry]:
            found = described.table
            return [write_table(folder, TABLE, found.arrays, found.info)] if found else []

        lease.check()
        manifest = begun.finish(Schema.from_json(described.schema), job.settings, say, tables)
    counts = ", ".join(f"{name} {n}" for name, n in manifest.counts.items())
    say(f"finished ({counts}); fingerprint {manifest.fingerprint[:12]} ({folder})")
    return manifest


def built_here(builder: ShardBuilder, who: str) -> Build:
    """Builds one shard after the other in this process."""

    def build(work: Assignment, todo: Sequence[PlannedShard], total: int, check: Check) -> None:
        progress, done = Progress(sum(len(shard.keys) for shard in todo), "records"), 0

        def built(shard: PlannedShard) -> PlannedShard:
            builder.build(work, shard)
            return shard

        for shard in map_ahead(built, todo, threads=BUILDS_AT_ONCE, ahead=1):
            check()
            done += len(shard.keys)
            if text := progress.due(done):
                print(f"[{who}] {shard.name}: {text}", flush=True)

    return build
