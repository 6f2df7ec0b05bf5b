"""A saved model by name: a folder on this machine, a URL, or an id on the Hugging Face hub.

Owns which files of a hub repository belong to a model folder (`vpd.exchange.pretrained`), where a model from a URL is
kept on this machine, and what is said where there is none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from shards.errors import ConfigError, CorruptCheckpoint
from shards.models.forms import FORMS
from shards.models.hub import NotOnHub, cached_snapshot, fetch, files_of, is_hub_id
from shards.storage.atomic import sha256_bytes
from shards.storage.options import StorageOptions, shown_url
from shards.storage.storage import Folder, open_folder

_NETWORKS = ("unet", "transformer")  # parts of a diffusers model that a published one holds as its own weights
_PARTS = tuple(f"{part}/*" for part in FORMS if part not in _NETWORKS)
FILES = ("config.json", "*.safetensors", "digests.json", "training.json", *_PARTS)
NEEDED = ("config.json", "model.safetensors")
HUB = "hf://"
FETCHING = ".fetching-"  # what folders of models on their way here begin with
ABANDONED_S = 86_400  # after which nothing came into one of them


def model_folder(name: str, revision: str | None = None, storage_options: StorageOptions | None = None) -> str:
    """The local folder of a model; one of the hub or of a URL is fetched once, and found by the next call.

    Raises:
        ConfigError: neither a folder nor a hub id nor a URL with a published model, or the hub has no such model, or
            cannot be asked.
        CorruptCheckpoint: what came from a URL is not what was published.
    """
    if name.startswith(HUB):
        return _from_hub(*_id_of(name, revision))
    if "://" in name:
        found = _from_url(name, storage_options)
        if found is None:
            raise ConfigError(
                f"{shown_url(name)}: no published model there (no digests.json). Expected a place that `publish` wrote."
            )
        return found
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return str(folder)
    if not is_hub_id(name):
        raise ConfigError(f"{name}: no such folder, and not the id of a model on the hub (owner/name).")
    return _from_hub(name, revision)


def at_hand(place: str, storage_options: StorageOptions | None = None) -> str:
    """A run's place as it is; of a model that was published at a URL, its folder on this machine.

    Raises:
        ConfigError, CorruptCheckpoint: as of `model_folder`.
    """
    if place.startswith(HUB):
        return model_folder(place)
    return (_from_url(place, storage_options or None) or place) if "://" in place else place


def _id_of(url: str, revision: str | None) -> tuple[str, str | None]:
    """Id and revision out of `hf://owner/name` or `hf://owner/name@revision`."""
    repository, _, named = url.removeprefix(HUB).rstrip("/").partition("@")
    if not is_hub_id(repository):
        raise ConfigError(f"{url}: not the place of a model on the hub; expected hf://owner/name.")
    return repository, revision or named or None


def _from_hub(name: str, revision: str | None) -> str:
    snapshot = cached_snapshot(name, revision)
    if snapshot is not None and all((snapshot / needed).is_file() for needed in NEEDED):
        return str(snapshot)
    try:
        wanted = [file for file in files_of(name, revision) if any(fnmatch(file, pattern) for pattern in FILES)]
        if missing := [needed for needed in NEEDED if needed not in wanted]:
            raise NotOnHub(f"it has no {', '.join(missing)} there")
        wanted.sort(key=NEEDED.__contains__)  # last, so that a fetch that was interrupted is not taken for a whole one
        return str(fetch(name, wanted, revision))
    except NotOnHub as error:
        raise ConfigError(
            f"{name}: no such folder here, not in the hub's local cache, and {error}. Expected the folder of a model "
            "saved by this project, or its id on the hub. Check the name and the revision; on a machine without "
            "network, download the model elsewhere and give its folder."
        ) from error


def _cache() -> Path:
    """Where models from URLs are kept, by the digest of their list of files."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root, "diffusion-perception", "models")


def _from_url(url: str, storage_options: StorageOptions | None) -> str | None:
    """None where no published model is."""
    from vpd.exchange.digests import DIGESTS, parse_digests

    place = open_folder(url, storage_options=storage_options)
    if not place.exists(DIGESTS):
        return None
    listed = place.read(DIGESTS)
    home = _cache() / sha256_bytes(listed)[:32]
    if home.is_dir():  # it got its name when it was whole
        return str(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    _sweep(home.parent)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=FETCHING) as made:
        here = Path(made, "model")
        here.mkdir()
        for name, sha256 in parse_digests(listed, str(place)).items():
            _bring(place, name, here / name, sha256)
        (here / DIGESTS).write_bytes(listed)
        try:
            here.rename(home)
        except OSError:  # another process was first
            if not home.is_dir():
                raise
            shutil.rmtree(here)
    return str(home)


def _sweep(cache: Path) -> None:
    """Remove what killed processes left half fetched."""
    for left in cache.glob(f"{FETCHING}*"):
        with suppress(OSError):  # another process finished it, or removes it, too
            if time.time() - max(path.stat().st_mtime for path in (left, *left.rglob("*"))) > ABANDONED_S:
                shutil.rmtree(left)


def _bring(place: Folder, name: str, path: Path, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    folder, _, file = name.rpartition("/")
    found = (place.below(folder) if folder else place).bring(file, path)
    if found != sha256:
        raise CorruptCheckpoint(
            f"{place}/{name}: its sha256 is {found[:12]}..., digests.json says {sha256[:12]}...: it was damaged or "
            "changed after the model was published. Publish it again, with --replace."
        )
