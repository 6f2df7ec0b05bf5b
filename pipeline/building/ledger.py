"""What is already done in a set folder that is still being built: `<set>/_build/`.

    _build/recipe.json       the recipe the folder was started with; another one is refused, but for changed files
    _build/environment.json  what computed it: versions, device, revisions (`environment`)
    _build/<shard>.json      one per finished shard, written in one step after its tar has its final name
    _build/next/             a finished set's successor, while it is built (`transaction`)

Owns these files and nothing else: shards and the manifest are `shards.writing.writer`'s. The folder disappears when the
set is finished, because the manifest then says everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.building import environments
from pipeline.building.recipe import as_far_as_known, without_content
from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, Manifest, ShardEntry, fingerprint, recipe_difference
from shards.contract.origins import ORIGINS_NAME, TIMES_NAME, ShardOrigins, from_lines
from shards.contract.parts import keys_sha256
from shards.errors import CorruptShard, FingerprintMismatch, IncompleteSet
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import BUILD_FOLDER, REJECTS_NAME, read_rejects

_RECIPE = f"{BUILD_FOLDER}/recipe.json"
_READS_AT_ONCE = 8

Place = Path | str | Folder  # of a set: a path, a URL, or a folder that was opened with options


@dataclass(frozen=True)
class Rejected:
    """One example that is not in the set, and why; or, if not `whole`, one entry of an example that is in it."""

    key: str
    reason: str
    whole: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Rejected(**data)` is the inverse."""
        return {"key": self.key, "reason": self.reason} | ({} if self.whole else {"whole": False})


@dataclass(frozen=True)
class FinishedShard:
    """What building one shard came to. `shard` is None where every one of its examples was rejected; `cut_sentences` is
    how many have more tokens than are stored."""

    name: str
    keys_sha256: str
    shard: ShardEntry | None
    rejects: tuple[Rejected, ...]
    cut_sentences: int = 0
    origins: ShardOrigins | None = None  # absent in what older versions built

    @property
    def examples_rejected(self) -> int:
        return sum(reject.whole for reject in self.rejects)


def open_build(
    place: Place,
    recipe: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    allow_changed: bool = False,
) -> Manifest | None:
    """Prepares a set's folder, at a path or URL, for building by `recipe`; call it once, before any worker starts.

    Returns the manifest if the set is already finished, None if there is something to do, or if the manifest says less
    than the source's files by now: `changes` finds out.

    Args:
        environment: what computes here (`environment`); unknown where None.
        allow_changed: go on where another environment began.

    Raises:
        FingerprintMismatch: the folder was built or begun by another recipe, or, as far as is known, in another
            environment; field by field. Changed files of the source are no other recipe, where it was recorded what
            every record was made from.
        IncompleteSet: it holds shards of unknown origin.
    """
    folder = open_folder(place)
    manifest = read_manifest(folder)
    if manifest is not None:
        check_recipe(recipe, manifest.recipe, folder, folder.exists(ORIGINS_NAME))
        folder.sweep()
        return manifest
    if folder.exists(_RECIPE):
        begun = parse_json(folder.read(_RECIPE), f"{folder}/{_RECIPE}")
        known = environments.read(folder, environments.BEGUN)
        check_recipe(recipe, begun, folder, bool(known))
        if environment is not None and known:
            environments.check(environment, known, folder, allow_changed)
            environments.write(folder, environments.BEGUN, [*known, environment])
        if fingerprint(begun) != fingerprint(recipe) and known:
            write_recipe(folder, recipe)
    elif strangers := folder.names("*.tar"):
        raise IncompleteSet(
            f"{folder} holds {len(strangers)} shards, such as {strangers[0]}, but neither {MANIFEST_NAME} nor "
            f"{_RECIPE} to say where they are from. Move them away, or build into another set name"
        )
    else:
        if environment is not None:  # first: whoever finds a recipe without one takes it for an older version's
            environments.write(folder, environments.BEGUN, [environment])
        write_recipe(folder, recipe)
    folder.sweep()
    return None


def check_recipe(here: Mapping[str, Any], there: Mapping[str, Any], folder: Folder, known_origins: bool) -> None:
    """FingerprintMismatch unless a build by the one recipe can go on, or be brought up to date, by the other."""
    mine: Any = json.loads(canonical_json(as_far_as_known(here, there)))
    if mine == there or (known_origins and without_content(mine) == without_content(there)):
        return
    content = known_origins or without_content(mine) != without_content(there)
    lines = "\n  ".join(recipe_difference(mine, there, folder.name))
    advice = (
        "Restore these settings to continue it, or build into another set name (name, out)."
        if content
        else "The files of the source have changed, and this set, of an older version, does not say from which of them "
        "each record was made. Build into another set name (name, out), or restore the files."
    )
    raise FingerprintMismatch(
        f"{folder} was built, or begun, by another recipe:\n  {lines}\n{advice} Nothing was deleted."
    )


def knows_origins(folder: Folder) -> bool:
    """Whether a set, or one begun, says what its records were made from: those of older versions do not."""
    return folder.exists(ORIGINS_NAME) or folder.exists(environments.BEGUN)


def write_recipe(folder: Folder, recipe: Mapping[str, Any]) -> None:
    """What a build in this folder makes."""
    folder.write(_RECIPE, canonical_json(dict(recipe), "recipe", indent=1) + b"\n")


def recipe_in(place: Place) -> dict[str, Any] | None:
    """The recipe a folder was built by, or begun with; None for a new one. Nothing is changed."""
    folder = open_folder(place)
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.recipe
    return parse_json(folder.read(_RECIPE), f"{folder}/{_RECIPE}") if folder.exists(_RECIPE) else None


def remove_ledger(place: Place) -> None:
    """Removes the ledger of a set whose manifest says everything."""
    open_folder(place).remove_folder(BUILD_FOLDER)


def read_manifest(place: Place) -> Manifest | None:
    folder = open_folder(place)
    return Manifest.load(folder) if folder.exists(MANIFEST_NAME) else None


def finished_of_set(folder: Folder, manifest: Manifest) -> dict[str, FinishedShard]:
    """The planned shards of a finished set by name, as their entries in the ledger were; none of a set that does not
    say what its records were made of. CorruptShard: what it says is not what the manifest has a hash of."""
    if not folder.exists(ORIGINS_NAME):
        return {}
    origins_lines = folder.read(ORIGINS_NAME, manifest.files.get(ORIGINS_NAME, ""))
    times = folder.read(TIMES_NAME) if folder.exists(TIMES_NAME) else b""
    rejects: dict[str, list[Rejected]] = {}
    for line in read_rejects(folder):
        shard, reject = rejected_of(line)
        rejects.setdefault(shard, []).append(reject)
    entries = {entry.name: entry for entry in manifest.shards}
    found: dict[str, FinishedShard] = {}
    for name, origins in from_lines(origins_lines, times).items():
        left_out, entry = tuple(rejects.get(name, ())), entries.get(name)
        keys = keys_sha256([origin.key for origin in origins.records])
        cut = sum(origin.cut_sentences for origin in origins.records)
        # an entry of the manifest also counts the rejects of empty shards beside it
        own = None if entry is None else replace(entry, rejects=len(left_out))
        found[name] = FinishedShard(name, keys, own, left_out, cut, origins)
    return found


def rejected_of(line: dict[str, Any]) -> tuple[str, Rejected]:
    """(shard, reject) of a line of rejects.jsonl. CorruptShard for another form."""
    try:
        return line["shard"], Rejected(**{name: value for name, value in line.items() if name != "shard"})
    except (KeyError, TypeError) as error:
        raise CorruptShard(f"{REJECTS_NAME} has a line of another form ({error!r})") from error


def reject_lines(finished: Iterable[FinishedShard]) -> list[dict[str, Any]]:
    """What rejects.jsonl says of some shards, a line each; `rejected_of` is the inverse."""
    return [{"shard": part.name, **reject.to_json()} for part in finished for reject in part.rejects]


def write_finished(place: Place, finished: FinishedShard) -> None:
    content = {
        "keys_sha256": finished.keys_sha256,
        "shard": None if finished.shard is None else finished.shard.to_json(),
        "rejects": [reject.to_json() for reject in finished.rejects],
        "cut_sentences": finished.cut_sentences,
    }
    if finished.origins is not None:
        content |= {"origins": finished.origins.to_json(), "times": finished.origins.times_json()}
    open_folder(place).write(_entry(finished.name), canonical_json(content, _entry(finished.name)))


def read_finished(place: Place, name: str) -> FinishedShard | None:
    """None if the shard is not finished. Raises CorruptShard for a record that cannot be understood."""
    folder = open_folder(place)
    path = f"{folder}/{_entry(name)}"
    try:
        content = parse_json(folder.read(_entry(name)), path)
    except IncompleteSet:
        return None
    try:
        shard = None if content["shard"] is None else ShardEntry(**content["shard"])
        rejects = tuple(Rejected(**reject) for reject in content["rejects"])
        origins = ShardOrigins.from_json(content["origins"], content["times"]) if "origins" in content else None
        return FinishedShard(name, content["keys_sha256"], shard, rejects, content.get("cut_sentences", 0), origins)
    except (KeyError, TypeError) as error:
        raise CorruptShard(f"{path} does not record a finished shard ({error!r}); delete it to rebuild") from error


def read_all_finished(place: Place, names: Iterable[str]) -> dict[str, FinishedShard]:
    """Those of some shards that are finished, by name, in their order."""
    folder = open_folder(place)
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:  # a store takes a round trip for each
        found = pool.map(lambda name: read_finished(folder, name), names)
        return {part.name: part for part in found if part is not None}


def _entry(name: str) -> str:
    return f"{BUILD_FOLDER}/{name}.json"
