"""Is every byte of these sets what their manifests say? A line for every fault.

    diffusion-perception set verify data/shards/refcoco-unc-val
    diffusion-perception set verify s3://bucket/sets/refcoco-unc-train --quick
    diffusion-perception set verify data/shards/mine-train --against-source mine.yaml sample=50

Reads all of it, a remote shard at a time; `--quick` compares sizes and the hashes of indexes alone. With the
configuration of its build, also every file of its source: which records changed, are missing or new. Ends with status 1
where something is wrong. Owns the command; bytes are checked by `shards.verify`, sources by
`pipeline.building.against_source`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception import settings
from diffusion_perception.building.source_standing import compare_with_source
from diffusion_perception.places import resolve_path
from diffusion_perception.settings.layers import laid_over
from jobs.sets import words as grammar
from pipeline.building.against_source import Standing
from shards.contract.manifest import MANIFEST_NAME, Manifest, examine
from shards.errors import ConfigError, ContractError, CorruptShard, FingerprintMismatch
from shards.progress import reports
from shards.storage.storage import Folder
from shards.verify import find_faults, find_strays, find_unchecked
from shards.writing.writer import check_shard


@dataclass(frozen=True)
class VerifyJob:
    """Settings of a check."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets: the words behind `verify`
    against_source: str = field(default="", metadata={"key": "against-source"})  # configuration of the build
    source: Mapping[str, Any] = field(default_factory=dict)  # options of its source that are others now, as root
    sample: int = 0  # records to draw again from the source, and to hold against what is stored
    seed: int = 0  # of the sample
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        if self.sample < 0:
            raise ConfigError(f"sample is {self.sample}; expected a number of records, or 0.")
        if not self.against_source and (self.source or self.sample):
            raise ConfigError("source, sample: of which build? Name its configuration: --against-source FILE.")


JOB = VerifyJob
FLAGS = {"quick": "sizes and hashes of indexes only, no tar is read; of a source, files of another size or time"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    quick = "quick" in flags
    faulty = [place for place in job.sets if _faults_said(grammar.folder(place, job.storage), quick)]
    if faulty:
        raise CorruptShard(f"faults in {', '.join(faulty)}: named above. `set repair` says what mends them.")
    if not job.against_source:
        return
    found = {place: _source_said(job, place, quick) for place in job.sets}
    if behind := [place for place, standing in found.items() if not standing.is_current]:
        chosen = any(found[place].choices for place in behind)
        raise FingerprintMismatch(
            f"{', '.join(behind)}: not what the source is now, as named above. "
            + (
                "Other choices make another set: give the configuration of the build."
                if chosen
                else f"`diffusion-perception build --config {job.against_source}` brings sets up to date."
            )
        )


def _source_said(job: VerifyJob, place: str, quick: bool) -> Standing:
    """How a set stands to its source; what is not as it was, is said."""
    plain = settings.read_file(job.against_source)
    if job.source:
        plain = laid_over(plain, {"source": {"name": settings.plugin_name(plain.get("source")), **job.source}})
    found = compare_with_source(
        resolve_path(place, "sets"),
        plain,
        sample=job.sample,
        seed=job.seed,
        quick=quick,
        storage_options=job.storage,
    )
    *lines, numbers = found.lines()
    print("\n".join([*lines, f"{place} against its source: {numbers}"]), flush=True)
    return found


def _faults_said(folder: Folder, quick: bool) -> int:
    faults = 0
    for fault in _quick_faults(folder) if quick else find_faults(folder, reports(f"{folder}:", "shards")):
        print(f"FAULT {fault}", flush=True)
        faults += 1
    if faults:
        print(f"{folder}: {faults} faults", flush=True)
        return faults
    for stray in find_strays(folder):
        print(f"note: {stray} is not named by the manifest; readers ignore it")
    for what in () if quick else find_unchecked(folder):
        print(f"note: the manifest has no hash of {what}: not checked, as in all sets written before it had one")
    counts = ", ".join(f"{number} {name}" for name, number in Manifest.load(folder).counts.items())
    print(f"{folder}: {'as large as recorded' if quick else 'sound'} ({counts})", flush=True)
    return 0


def _quick_faults(folder: Folder) -> Iterator[str]:
    try:
        manifest, faults = examine(folder.read(MANIFEST_NAME), str(folder), folder.read)
    except ContractError as error:
        yield str(error)
        return
    yield from map(str, faults)
    for shard in manifest.shards if manifest is not None else ():
        try:
            check_shard(folder, shard)
        except ContractError as error:
            yield str(error)
