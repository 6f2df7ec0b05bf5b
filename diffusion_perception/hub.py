"""A saved model by name: a folder on this machine, or an id on the Hugging Face hub.

Owns which files of a hub repository belong to a model folder (`vpd.exchange.pretrained`), and what is said where there
is none.
"""

from __future__ import annotations

import re
from pathlib import Path

from shards.errors import ConfigError

FILES = ("config.json", "*.safetensors", "vae/*", "text_encoder/*", "tokenizer/*")
_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_folder(name: str, revision: str | None = None) -> str:
    """The local folder of a model; a hub model is fetched into the hub's cache, where the next call finds it.

    Raises:
        ConfigError: neither a folder nor a hub id, or the hub has no such model, or cannot be asked.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    if not _ID.fullmatch(name):
        raise ConfigError(f"{name}: no such folder, and not the id of a model on the hub (owner/name).")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    options = {"revision": revision, "allow_patterns": list(FILES)}
    try:
        return huggingface_hub.snapshot_download(name, local_files_only=True, **options)
    except LocalEntryNotFoundError:
        pass  # not in the cache
    try:
        return huggingface_hub.snapshot_download(name, **options)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ConfigError(
            f"{name}: no such folder here, not in the hub's cache, and the hub does not give it "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). Give a model's folder, or an id "
            "on the hub that you can read."
        ) from error
