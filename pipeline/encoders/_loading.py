"""Finds the part of a model that an encoder needs, on disk or on the hub, loads it quietly, and names its weights.

Private to the encoders. A model is a diffusers folder, a folder that is itself the part, or a hub id; a hub id is
looked up in the local cache first, so that a build on a node without network starts at once, and the weights' digest
in the recipe says which weights they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]
from safetensors import SafetensorError

from pipeline.encoders._configs import is_hub_id
from shards.errors import ConfigError

# What `from_pretrained` of either library raises for an absent, unreachable or unfit folder.
_UNUSABLE = (OSError, ValueError, RuntimeError, SafetensorError)


def load_part(what: str, model: str, subfolder: str, loader: Callable[..., Any], **options: Any) -> Any:
    """Calls `loader` (a `from_pretrained`) on the part of `model` called `subfolder` in a diffusers layout.

    `options` go to the loader; `revision` among them counts for hub ids only. Raises ConfigError, saying what was
    found, what was expected and what to do, when nothing usable is there.
    """
    folder = Path(model).expanduser()
    with _quiet():
        try:
            if folder.is_dir():
                options.pop("revision", None)
                part = subfolder if (folder / subfolder).is_dir() else ""
                return loader(str(folder), subfolder=part, **options)
            if is_hub_id(model):
                return _load_from_hub(model, subfolder, loader, options)
            reason = "this is a file" if folder.exists() else "nothing is there"
        except _UNUSABLE as error:
            reason = " ".join(str(error).split())[:300]
    raise ConfigError(
        f"{what}: could not be loaded from {model!r}: {reason}\nExpected a diffusers folder or hub id with "
        f"{subfolder}/ inside (.safetensors weights), or one that is itself the {subfolder}. Check the name and "
        "the revision; on a machine without network, download the model elsewhere and give its folder"
    )


def weights_sha256(parts: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Digest of named tensors: name, dtype, shape and bytes, in order of name. The same weights give the same digest
    wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(parts, key=lambda part: part[0]):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}\n{values.dtype}\n{list(values.shape)}\n".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_device(what: str, device: str) -> torch.device:
    """The device to compute on; ConfigError when torch cannot use it here."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"{what}: device is {device!r}, but torch sees no GPU here. Give the encoder a GPU, or set device: cpu"
        )
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{what}: device is {device!r}, expected cpu, cuda or cuda:<number>") from error


def _load_from_hub(model: str, subfolder: str, loader: Callable[..., Any], options: dict[str, Any]) -> Any:
    for part in (subfolder, ""):
        try:
            return loader(model, subfolder=part, local_files_only=True, **options)
        except _UNUSABLE:  # not in the cache, or not all of it
            continue
    # One question first: the libraries would ask for every file in turn, each with half a minute of retries.
    probe = "tokenizer_config.json" if subfolder == "tokenizer" else "config.json"
    try:
        has_part = huggingface_hub.file_exists(model, f"{subfolder}/{probe}", revision=options.get("revision"))
    except (HTTPError, HFValidationError, OSError) as error:
        raise OSError(f"it is not in the local cache, and the hub cannot be asked ({error})") from error
    return loader(model, subfolder=subfolder if has_part else "", **options)


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading prints neither progress bars nor hints; whatever the caller had configured is put back."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    hub_level = huggingface_hub.logging.get_verbosity()
    for library in libraries:
        library.set_verbosity(library.CRITICAL)
        library.disable_progress_bar()
    huggingface_hub.logging.set_verbosity_error()
    try:
        yield
    finally:
        for library, level, bar in zip(libraries, levels, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
        huggingface_hub.logging.set_verbosity(hub_level)
