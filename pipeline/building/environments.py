"""The exact level of a fingerprint: what computed the bytes, beyond what the recipe says.

Two sets whose recipes are equal are *equivalent*: either may be trained with, and their latents differ in rounding at
most. Bytes are *exactly* equal only where library versions, device, threads and the revisions of this project's own
components are equal, too. So a build goes on only in the environment that began it, unless it is told otherwise.

    _build/environment.json  of a build that is not finished
    environment.json         of a finished set; a list, with more than one entry where a build was told to go on
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import recipe_difference
from shards.errors import CorruptShard, FingerprintMismatch
from shards.storage.storage import Folder

BEGUN, BUILT = "_build/environment.json", "environment.json"

# Raise the number of a component in the commit that changes a byte it makes; `test_revisions` finds a forgotten one.
REVISIONS = {
    "rendering": 1,  # pictures to views: decoding, resizing, colours
    "labels": 1,  # label and depth files to what is stored
    "views": 1,  # which views a plan makes of a picture
    "encoders": 1,  # views and tokens to stored arrays
    "stages": 1,  # how views are batched, and what a record's meta says
    "shards": 1,  # records to tar and index
}
_LIBRARIES = ("torch", "numpy", "pillow", "diffusers", "transformers", "tokenizers", "scipy", "h5py", "pycocotools")


def here(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """This process's. `encoders` has the `exact` facts of each encoder, by what it encodes."""
    return {
        "components": dict(REVISIONS),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "machine": platform.machine(),
        "encoders": dict(encoders),
    }


def read(folder: Folder, name: str) -> list[dict[str, Any]]:
    """Those that worked on a set; none where an older version did."""
    if not folder.exists(name):
        return []
    found = parse_json(folder.read(name), f"{folder}/{name}")
    if not isinstance(found, list):
        raise CorruptShard(f"{folder}/{name} is no list of environments; delete it")
    return found


def write(folder: Folder, name: str, known: Sequence[Mapping[str, Any]]) -> None:
    """Those that worked on a set, each once, in the order of their coming."""
    different: list[Mapping[str, Any]] = []
    for one in known:
        if one not in different:
            different.append(one)
    payload = canonical_json(different, name, indent=1) + b"\n"
    if not folder.exists(name) or folder.read(name) != payload:
        folder.write(name, payload)


def check(mine: Mapping[str, Any], known: Sequence[Mapping[str, Any]], folder: Folder, allow_changed: bool) -> None:
    """FingerprintMismatch, field by field, unless an environment is one of those known, or any is allowed."""
    if allow_changed or not known or dict(mine) in [dict(one) for one in known]:
        return
    lines = "\n  ".join(recipe_difference(mine, known[0], folder.name))
    raise FingerprintMismatch(
        f"{folder} was built, or begun, in another environment:\n  {lines}\n"
        "Its recipe is the same, so a set of both can be trained with, but its bytes would be those of no one build. "
        "Restore this to go on, build into another set name (name, out), or add --allow-changed, which records both. "
        "Nothing was deleted."
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
