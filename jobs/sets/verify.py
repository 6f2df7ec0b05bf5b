"""Is every byte of these sets what their manifests say? A line for every fault.

    diffusion-perception set verify data/shards/refcoco-unc-val
    diffusion-perception set verify s3://bucket/sets/refcoco-unc-train --quick

Reads all of it, a remote shard at a time; `--quick` compares sizes and the hashes of indexes alone. Ends with status 1
where something is wrong. Owns the command; what is checked is `shards.verify`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.sets import words as grammar
from shards.contract.manifest import Manifest
from shards.errors import ContractError, CorruptShard
from shards.progress import reports
from shards.storage.storage import Folder
from shards.verify import find_faults, find_strays, find_unchecked
from shards.writing.writer import check_shard


@dataclass(frozen=True)
class VerifyJob:
    """Settings of a check."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets: the words behind `verify`
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret


JOB = VerifyJob
FLAGS = {"quick": "sizes and the hashes of indexes only: no tar is read"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    faulty = [place for place in job.sets if _faults_said(grammar.folder(place, job.storage), "quick" in flags)]
    if faulty:
        raise CorruptShard(f"faults in {', '.join(faulty)}: named above. `set repair` says what mends them.")


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
        shards = Manifest.load(folder).shards
    except ContractError as error:
        yield str(error)
        return
    for shard in shards:
        try:
            check_shard(folder, shard)
        except ContractError as error:
            yield str(error)
