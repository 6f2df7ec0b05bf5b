"""A checkpoint file to named tensors, without running anything a pickle asks for.

Owns the containers: safetensors, and torch.save files read with weights_only=True and nothing else. A file that holds
other objects is refused by their names. The one exception is documented and off by default: a refer checkpoint keeps
its command line as an argparse.Namespace, and `allow_namespace` reads that class, and no other, into an inert record
of its fields (docs/methods/checkpoints.md#containers). What the keys mean is `vpd.exchange.importing.layouts`'.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from shards.errors import ConfigError

NAMESPACE = "argparse.Namespace"
STATE_KEYS = ("state_dict", "model")  # where a training checkpoint keeps its weights, in order of preference


@dataclass(frozen=True)
class CheckpointFile:
    """What a file holds: its weights, and whatever lay beside them (`meta`, `epoch`, `args`)."""

    path: Path
    weights: Mapping[str, torch.Tensor]
    beside: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | Path, *, allow_namespace: bool = False) -> CheckpointFile:
    """Read a .safetensors file, or one of torch.save (.ckpt, .pth, .pt).

    Args:
        path: the file.
        allow_namespace: also accept files that hold an argparse.Namespace.

    Raises:
        ConfigError: no such file, one that is damaged or cut short, or one that holds other objects than tensors and
            plain data; the message names their classes.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise ConfigError(f"checkpoint {path}: there is no such file.")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, allow_namespace)
    beside: Mapping[str, Any] = {}
    for name in STATE_KEYS:
        if isinstance(found.get(name), Mapping):
            beside = {key: value for key, value in found.items() if key != name}
            found = found[name]
            break
    weights = {key: value for key, value in found.items() if isinstance(value, torch.Tensor)}
    if not weights:
        raise ConfigError(f"checkpoint {path}: holds no weights; found the entries {list(found)[:8]}.")
    if all(key.startswith("module.") for key in weights):  # saved from inside DistributedDataParallel
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    return CheckpointFile(path, weights, beside)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path, allow_namespace: bool) -> Mapping[str, Any]:
    stand_ins: list[Any] = [(SimpleNamespace, NAMESPACE)] if allow_namespace else []
    with torch.serialization.safe_globals(stand_ins):
        try:
            if not zipfile.is_zipfile(path):  # torch's older form, or no checkpoint at all
                loaded = torch.load(path, map_location="cpu", weights_only=True)
            else:
                if foreign := torch.serialization.get_unsafe_globals_in_checkpoint(path):
                    raise _foreign(path, foreign)
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            if named := re.findall(r"GLOBAL ([\w.]+)", str(error)):
                raise _foreign(path, named) from error
            raise _damaged(path, error) from error
        except (EOFError, OSError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _damaged(path, error) from error
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"checkpoint {path}: holds one {type(loaded).__name__}, expected weights by name.")
    return loaded


def _foreign(path: Path, names: list[str]) -> ConfigError:
    names = sorted(set(names))
    reason = f"checkpoint {path}: refused, because it holds objects of {', '.join(names)}, not only tensors. "
    if names == [NAMESPACE]:
        return ConfigError(
            reason + "It is the command line the checkpoint was trained with. --allow-namespace reads its fields as "
            "plain values, and runs no code of the file."
        )
    return ConfigError(
        reason + "Unpickling them would run code that the file names. Use a .safetensors release of these weights, or "
        "save the file again as torch.save({'state_dict': weights}, path) where you trust it."
    )


def _damaged(path: Path, error: Exception) -> ConfigError:
    with path.open("rb") as file:
        start = file.read(16)
    cause = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    return ConfigError(
        f"checkpoint {path}: cannot be read: {cause} It has {path.stat().st_size} bytes and begins with {start!r}. "
        "Expected a safetensors file or one of torch.save; an incomplete download looks like this: get it again."
    )
