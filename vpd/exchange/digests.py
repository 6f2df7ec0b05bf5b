"""What the files of a published model must be: `digests.json`, the sha256 of every other file of the folder.

Written last of all, so a folder that has it is whole. A folder without it, such as a conversion's, is read as it is.
"""

from __future__ import annotations

import json
from pathlib import Path

from shards.errors import CorruptCheckpoint
from shards.storage.atomic import sha256_file

DIGESTS = "digests.json"
UNCHECKED = ("README.md", ".gitattributes")  # what people and the hub may edit, and no prediction reads


def digests_of(folder: Path) -> dict[str, str]:
    """Path below the folder -> sha256, of every file that is checked."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256_file(path) for name, path in names.items() if name not in (DIGESTS, *UNCHECKED)}


def write_digests(folder: Path) -> None:
    """Of all that is in a folder now."""
    (folder / DIGESTS).write_text(json.dumps(digests_of(folder), indent=1) + "\n", encoding="utf-8")


def parse_digests(payload: bytes, where: str) -> dict[str, str]:
    """What stands in a `digests.json`.

    Raises:
        CorruptCheckpoint: it is not one, or names a file outside its folder.
    """
    try:
        found = json.loads(payload)
    except ValueError as error:
        raise CorruptCheckpoint(
            f"{where}/{DIGESTS} is not readable JSON ({error}); publish or fetch it again."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CorruptCheckpoint(f"{where}/{DIGESTS} is no list of files with their sha256; publish or fetch it again.")
    if outside := [name for name in found if name.startswith("/") or ".." in name.split("/")]:
        raise CorruptCheckpoint(f"{where}/{DIGESTS} names {outside[0]!r}, which lies outside the model's folder.")
    return found


def check_digests(folder: str | Path) -> None:
    """That a published model's files are those that were published; nothing of a folder without digests.

    Raises:
        CorruptCheckpoint: a file is missing or has other bytes; the message names it.
    """
    folder = Path(folder)
    if not (folder / DIGESTS).is_file():
        return
    for name, sha256 in parse_digests((folder / DIGESTS).read_bytes(), str(folder)).items():
        path = folder / name
        if not path.is_file():
            raise CorruptCheckpoint(f"{folder}: {name} is missing, which {DIGESTS} names. Fetch the model again.")
        if (found := sha256_file(path)) != sha256:
            raise CorruptCheckpoint(
                f"{path}: its sha256 is {found[:12]}..., {DIGESTS} says {sha256[:12]}...: the file was damaged or "
                f"changed after the model was published. Fetch it again; who changed it on purpose removes {DIGESTS}."
            )
