"""Loads the part of a model that an encoder needs, quietly, and names its weights.

Private to the encoders. Where the part lies is `shards.models.parts`'; the weights' digest in the recipe says which
weights they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch

from shards.errors import ConfigError
from shards.models.libraries import quietly
from shards.models.parts import find_part


def load_part(
    what: str, model: str, kind: str, loader: Callable[..., Any], revision: str | None = None, **options: Any
) -> Any:
    """Calls `loader` (a `from_pretrained`) on the part of `model`; `options` go to it.

    Raises:
        ConfigError: in the one form of `shards.models.parts`, when no such part is there or it does not load.
    """
    part = find_part(what, model, kind, revision)
    with quietly():
        return part.load(loader, **options)


def weights_sha256(parts: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Digest of named tensors: name, dtype, shape and bytes, in order of name. The same weights give the same digest
    wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(parts, key=lambda part: part[0]):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}\n{values.dtype}\n{list(values.shape)}\n".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy().data)  # no copy: it takes a quarter as long again
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


def exact_facts(device: torch.device) -> dict[str, Any]:
    """What of this process and a device changes the last bits of what a network gives: on a CPU torch splits sums among
    its threads, and every kind of GPU has kernels of its own."""
    if device.type == "cpu":
        return {"device": "cpu", "threads": torch.get_num_threads()}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
