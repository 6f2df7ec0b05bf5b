"""A saved model by name: a folder on this machine, or an id on the Hugging Face hub.

Owns which files of a hub repository belong to a model folder (`vpd.exchange.pretrained`), and what is said where there
is none.
"""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

from shards.errors import ConfigError
from shards.models.hub import NotOnHub, cached_snapshot, fetch, files_of, is_hub_id

FILES = ("config.json", "*.safetensors", "vae/*", "text_encoder/*", "tokenizer/*")
NEEDED = ("config.json", "model.safetensors")


def model_folder(name: str, revision: str | None = None) -> str:
    """The local folder of a model; a hub model is fetched into the hub's cache, where the next call finds it.

    Raises:
        ConfigError: neither a folder nor a hub id, or the hub has no such model, or cannot be asked.
    """
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return str(folder)
    if not is_hub_id(name):
        raise ConfigError(f"{name}: no such folder, and not the id of a model on the hub (owner/name).")
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
