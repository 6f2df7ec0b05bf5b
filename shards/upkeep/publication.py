"""Published sets: a place with several of them, and what tells people and programs what they are.

    <place>/<set>/...        a copy of each set, byte for byte
    <place>/sets.json        their names, and the sha256 of their manifests
    <place>/<card>           README.md, with the header that the Hugging Face hub reads
    <place>/croissant.json   the same for programs: Croissant, JSON-LD

What stands in the last two is `shards.upkeep.dataset_card`'s and `shards.upkeep.croissant`'s; whether a source allows
to be published is asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, Manifest
from shards.contract.schema import check_key
from shards.errors import ConfigError, CorruptShard, SchemaMismatch
from shards.progress import reports
from shards.storage.atomic import sha256_bytes, sweep
from shards.storage.local import LocalFolder
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import THREADS, Copied, alone, copy_set
from shards.upkeep.croissant import CROISSANT, croissant
from shards.upkeep.dataset_card import Member, dataset_card
from shards.writing.card import facts_in

SETS = "sets.json"
CARD = "README.md"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Moved:
    """A set that was pushed or pulled: its copy, and where it is now."""

    copied: Copied
    place: str


def push_sets(
    sets: Sequence[str | Path],
    to: str | Path,
    *,
    storage_options: StorageOptions | None = None,
    replace: bool = False,
    threads: int = THREADS,
    note: str = "",
    say: Say = lambda line: None,
) -> list[Moved]:
    """Copy sets to `<to>/<name of their folder>`, a folder or URL, and describe there all that are.

    A push that was interrupted goes on when it is called again. Arguments as of `copy_set`; `note` is a sentence for
    the card, such as by which right the sets are published.

    Raises:
        ConfigError: two sets of one name, or another set of that name is there.
        CorruptShard: a set's bytes are not those of its manifest.
    """
    sources = [open_folder(place, storage_options=storage_options) for place in sets]
    _check_names([source.name for source in sources])
    place = open_folder(to, storage_options=storage_options)
    place.check_writable()
    done = []
    for source in sources:
        target = _below(to, source.name, storage_options)
        done.append(_moved(source, target, replace, threads, say))
    _describe(place, to, [source.name for source in sources], storage_options, note)
    return done


def pull_sets(
    places: Sequence[str | Path],
    to: str | Path,
    *,
    storage_options: StorageOptions | None = None,
    replace: bool = False,
    threads: int = THREADS,
    say: Say = lambda line: None,
) -> list[Moved]:
    """Copy sets, or all sets of a place that `push_sets` wrote, to `<to>/<name>`; arguments and errors as of
    `push_sets`.

    Raises:
        IncompleteSet: neither a set nor published ones are there.
        CorruptShard: a manifest is not the one that was published.
    """
    found = [pair for place in places for pair in _sets_at(place, storage_options)]
    _check_names([source.name for source, _ in found])
    done = []
    for source, manifest_sha256 in found:
        if manifest_sha256:
            source.read(MANIFEST_NAME, manifest_sha256)
        done.append(_moved(source, _below(to, source.name, storage_options), replace, threads, say))
    return done


def published(place: Folder) -> dict[str, str]:
    """Name -> sha256 of the manifest, of the sets that were pushed to a place; nothing where there are none."""
    if not place.exists(SETS):
        return {}
    data = parse_json(place.read(SETS), f"{place}/{SETS}")
    try:
        found = {entry["name"]: entry["manifest_sha256"] for entry in data["sets"]}
        for name in found:
            check_key(name)
    except (KeyError, TypeError, SchemaMismatch) as error:
        raise CorruptShard(f"{place}/{SETS}: names no sets ({error!r}); push them again") from error
    return found


def _moved(source: Folder, target: Folder, replace: bool, threads: int, say: Say) -> Moved:
    report = reports(f"{source.name}:", "shards", say)
    copied = copy_set(source, target, replace=replace, threads=threads, report=report)
    say(
        f"{source.name}: {copied.shards} shards ({copied.n_bytes:,} bytes) copied, {copied.kept} were there; "
        f"verified, at {target}"
    )
    return Moved(copied, str(target))


def _describe(
    place: Folder, to: str | Path, pushed: Sequence[str], storage_options: StorageOptions | None, note: str
) -> None:
    """Write what tells of all sets of a place; what tells of them comes after them, so that it never lies. One process
    at a time does so in a folder, and removes what one that was killed at it left there."""
    with alone(place):
        if isinstance(place, LocalFolder):
            sweep(place.root)
        _write_description(place, to, pushed, storage_options, note)


def _write_description(
    place: Folder, to: str | Path, pushed: Sequence[str], storage_options: StorageOptions | None, note: str
) -> None:
    names = sorted({*published(place), *pushed})
    members, entries = [], []
    for name in names:
        folder = _below(to, name, storage_options)
        payload = folder.read(MANIFEST_NAME)
        facts = facts_in(folder.read(CARD).decode())
        members.append(Member(name, Manifest.parse(payload, str(folder), folder.read), facts))
        entries.append({"name": name, "manifest_sha256": sha256_bytes(payload)})
    place.write(CARD, dataset_card(place.name, members, note).encode())
    place.write(CROISSANT, canonical_json(croissant(place.name, members), CROISSANT, indent=1) + b"\n")
    place.write(SETS, canonical_json({"sets": entries}, SETS, indent=1) + b"\n")


def _sets_at(place: str | Path, storage_options: StorageOptions | None) -> Iterator[tuple[Folder, str]]:
    folder = open_folder(place, storage_options=storage_options)
    if not folder.exists(MANIFEST_NAME) and (named := published(folder)):
        yield from ((_below(place, name, storage_options), sha256) for name, sha256 in named.items())
    else:
        yield folder, ""


def _below(place: str | Path, name: str, storage_options: StorageOptions | None) -> Folder:
    return open_folder(f"{str(place).rstrip('/')}/{name}", storage_options=storage_options)


def _check_names(names: Sequence[str]) -> None:
    """Each set gets the folder of its name."""
    for name in names:
        try:
            check_key(name)
        except SchemaMismatch as error:
            raise ConfigError(f"a set's folder is called {name!r}: {error}; rename it") from error
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"two sets are called {sorted(twice)[0]}: each gets the folder of its name. Rename one.")
