"""A diffusion model's whole pipeline as diffusers loads it: denoiser, VAE, text encoders, scheduler.

Owns one message for everything that keeps one from loading. Only tensors are read of pickled weights.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from shards.errors import ConfigError
from shards.models.hub import cached_snapshot
from shards.models.libraries import quietly, undisturbed
from shards.models.spiece import unreadable

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def weights_sha256(pipeline: Any) -> str:
    """Digest of the weights that features of latents depend on: all parts but the VAE. The same weights give the same
    digest wherever they lie; other types of numbers another one."""
    digest = hashlib.sha256()
    for part, module in sorted(pipeline.components.items()):
        if part == "vae" or not isinstance(module, torch.nn.Module):
            continue
        for name, values in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name}\n{values.dtype}\n{list(values.shape)}\n".encode())
            digest.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_pipeline(model: str, revision: str | None, dtype: str) -> Any:
    """The diffusers pipeline of a folder or hub id, without a safety checker.

    Raises:
        ConfigError: no such model, one that does not load, or an unknown type of numbers.
    """
    with undisturbed():
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}.")
    folder = Path(model).expanduser()
    options: dict[str, Any] = {"torch_dtype": DTYPES[dtype], "revision": revision}
    if folder.is_dir():
        index = folder / "model_index.json"
        if not index.is_file():
            raise ConfigError(
                f"{folder} has no model_index.json: expected the folder of a whole diffusers model, or a hub id."
            )
        options["local_files_only"] = True
        if "safety_checker" in json.loads(index.read_text()):
            options["safety_checker"] = None
        _check_words(model, folder)
    talk = quietly() if folder.is_dir() else nullcontext()  # who waits for gigabytes wants to see them come
    try:
        with talk, warnings.catch_warnings():
            # The newest diffusers call it `dtype`; older ones, which do as well, know no such option.
            warnings.filterwarnings("ignore", ".*torch_dtype.* is deprecated", FutureWarning)
            return DiffusionPipeline.from_pretrained(str(folder) if folder.is_dir() else model, **options)
    except Exception as error:
        if snapshot := None if folder.is_dir() else cached_snapshot(model, revision):
            _check_words(model, snapshot)  # downloaded by now
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"model {model!r} does not load: {type(error).__name__}: {said}") from error


def _check_words(model: str, folder: Path) -> None:
    """ConfigError unless the tokenizers in a model's folder can be read here."""
    for part in sorted(folder.glob("tokenizer*")):
        if reason := unreadable(part):
            raise ConfigError(f"model {model!r} does not load: {part.name}: {reason}.")
