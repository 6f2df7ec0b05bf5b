"""From arrays of the stream to tensors on the device.

Owns the hand-over: pinned buffers, the copy to the device, and the choice between what is stored in the shards and
what is encoded online (`Encoders`). Reading is left to `shards.reading.stream`; which labels exist, to
the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from shards.contract.schema import Schema
from shards.errors import ConfigError

ON_HOST = "host_"  # begins the name of a label that stays on the host, for a loss that must know it to queue its work
VISION = "vision"  # stored field of what the set's vision encoder says of a view, float16 [V, W]; read where used
PIXELS = "pixels"  # array name of a sample's rendered view, float32 [3, H, W] in [-1, 1], when latents are online


@dataclass(frozen=True)
class Encoders:
    """Frozen encoders that stand in for stored tensors; None where the stored ones are used.

    They are handed in as functions because the encoders belong to the build side (`pipeline.encoders`).
    """

    latents: Callable[[torch.Tensor], torch.Tensor] | None = None  # [B, 3, H, W] in [-1, 1] -> [B, C, h, w] raw mean
    text: Callable[[torch.Tensor], torch.Tensor] | None = None  # [S, L] token ids -> [S, L, D] last hidden states
    empty: Mapping[str, np.ndarray] = field(default_factory=dict)  # the empty sentence's row of a text field, if asked


@dataclass
class DeviceBatch:
    """One training batch on the device."""

    latents: torch.Tensor  # [B, C, h, w] float32, raw posterior mean
    text: torch.Tensor | None  # [B, L, D] float32 text states, None for tasks without sentences
    labels: dict[str, torch.Tensor] = field(default_factory=dict)
    on_host: dict[str, np.ndarray] = field(default_factory=dict)  # labels called `host_*`; some batches have none
    features: list[torch.Tensor] | None = None  # of the backbone, where they are known: [B, C, h, w], finest first

    def __len__(self) -> int:
        return self.latents.shape[0]


class HasContext(Protocol):
    def context(self, batch: DeviceBatch) -> torch.Tensor | None:
        """As of `vpd.tasks.Conditioned`."""
        ...


def context_of(task: HasContext, batch: DeviceBatch) -> torch.Tensor | None:
    """What a batch attends to: what is said of its views, float `[B, W]`, where that was read, else what the task
    says."""
    said = batch.labels.get(VISION)
    return task.context(batch) if said is None else said


def text_fields(schema: Schema, choice: str) -> tuple[str, ...]:
    """The stored text field to read: `text` (states) or `tokens`, or none if the set has no sentences.

    Raises:
        ConfigError: stored states are asked for and the set was built with tokens only.
    """
    names = {f.name for f in schema.fields}
    if "tokens" not in names:
        return ()
    if choice == "online" or (choice == "auto" and "text" not in names):
        return ("tokens",)
    if "text" not in names:
        raise ConfigError(
            "data.text is 'stored', but this set holds token ids only. Use data.text=online, or rebuild the set "
            "with text.store=states."
        )
    return ("text",)


def pinned_allocator(device: torch.device) -> Callable[[tuple[int, ...], np.dtype], np.ndarray]:
    """How the stream gets its batch buffers: page-locked for a CUDA device, so that copies run beside the kernels."""
    if device.type != "cuda":
        return lambda shape, dtype: np.empty(shape, dtype)
    return lambda shape, dtype: torch.empty(
        shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True
    ).numpy()


def to_batch(arrays: Mapping[str, np.ndarray], encoders: Encoders, device: torch.device) -> DeviceBatch:
    """Copy one batch of arrays to the device and fill in what is encoded online.

    Args:
        arrays: `latent` float16 [B, C, h, w] or `pixels` float32 [B, 3, H, W]; `text` float16 [B, L, D] or
            `tokens` int32 [B, L]; every other array is a label.
    """
    # The stream reuses its buffers: nothing may alias them.
    on_host = {name: np.array(array) for name, array in arrays.items() if name.startswith(ON_HOST)}
    on_device = {name: _copy(array, device) for name, array in arrays.items() if name not in on_host}
    if PIXELS in on_device:
        assert encoders.latents is not None, "pixels are only loaded when latents are encoded online"
        on_device.pop("latent", None)
        latents = encoders.latents(on_device.pop(PIXELS))  # [B, C, h, w]
    else:
        latents = on_device.pop("latent").float()  # [B, C, h, w]
    text = on_device.pop("text").float() if "text" in on_device else None  # [B, L, D]
    if "tokens" in on_device:
        if encoders.text is None:
            raise ConfigError(
                "this set holds token ids and no text states, so training needs the text encoder: set "
                "encoders.model to the Stable Diffusion folder or hub id it was built with."
            )
        text = encoders.text(on_device.pop("tokens")).float()  # [B, L, D]
    return DeviceBatch(latents, text, on_device, on_host)


def _copy(array: np.ndarray, device: torch.device) -> torch.Tensor:
    # A CPU tensor must not alias the stream's buffers, and a copy to CUDA, from pinned memory, is only queued:
    # `vpd.training.step.run_ahead` waits for it before its buffer comes round again.
    if device.type == "cpu":
        return torch.from_numpy(np.array(array))
    return torch.from_numpy(array).to(device, non_blocking=device.type == "cuda")
