"""Publishing sets: `shards.upkeep.publication` behind the question whether their sources allow it.

Owns that question. Latents decode to near copies of their pictures, so what holds for the pictures holds for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.stocktaking.leave import datasets_in
from shards.contract.manifest import Manifest
from shards.errors import ConfigError
from shards.storage.options import StorageOptions, shown_url
from shards.storage.storage import open_folder
from shards.upkeep.copying import THREADS
from shards.upkeep.making import BETWEEN
from shards.upkeep.publication import CARD, Moved, push_sets
from shards.writing.card import facts_in

FLAG = "i-may-publish"
_LEAVE = "Whoever published these sets here stated that they may. The terms of {titles} hold for whoever receives them."


def publish_sets(
    sets: Sequence[str | Path],
    to: str | Path,
    *,
    may_publish: bool = False,
    storage_options: StorageOptions | None = None,
    replace: bool = False,
    threads: int = THREADS,
    say: Callable[[str], None] = lambda line: None,
) -> list[Moved]:
    """`push_sets`, which has the other arguments; sets whose sources are not to be passed on leave this machine only
    where `may_publish` says that the caller may, be it to a bucket of their own.

    Raises:
        ConfigError: they would, and nobody said so. Nothing was copied.
    """
    kept: dict[str, str] = {}
    for place in sets:
        folder = open_folder(place, storage_options=storage_options)
        manifest, facts = Manifest.load(folder), facts_in(folder.read(CARD).decode())
        found = datasets_in(manifest.recipe, *facts.get("url", "").split(BETWEEN))
        kept |= {data.title: data.terms for data in found.values() if data.keep}
        if not found:
            say(f"{manifest.name}: of no dataset whose terms are known here; that it may be passed on, you must know")
    if open_folder(to, storage_options=storage_options).is_remote and kept and not may_publish:
        terms = "\n  ".join(f"{title}: {terms}" for title, terms in kept.items())
        raise ConfigError(
            f"these sets hold latents and labels of data that is not to be passed on:\n  {terms}\nA latent decodes to "
            f"a near copy of its picture. Copy them to a folder, or say --{FLAG} if {shown_url(str(to))} is yours "
            "alone, or the data's owners allow it. Nothing was copied."
        )
    note = _LEAVE.format(titles=", ".join(kept)) if kept and may_publish else ""
    return push_sets(sets, to, storage_options=storage_options, replace=replace, threads=threads, note=note, say=say)
