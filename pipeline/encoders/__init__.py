"""What turns pixels and sentences into stored arrays: the two encoder protocols, and what is known before weights are.

One encoder is one module or folder here, found by its name. It exposes `build(**options)`, and `describe(**options)`
with the same options (without the device), which reads no weights and gives `ImageFacts`, `VisionFacts` or `TextFacts`.
A build's `image` encoder makes latents; its `vision` encoder, if it has one, is an `ImageEncoder` too, which is shown
the same pixels and says one vector of each view, the field `VISION`: a condition, as ECoDepth's. An encoder
that a backbone names takes that backbone's `model` and `revision`, as far as its `build` has such options; a text
encoder takes `length`, tokens of a sentence, and may have `cut_counter(**options)`, which gives a function that counts
the sentences that would be cut, without weights. torch, diffusers and transformers are imported when an encoder is
built and nowhere else in `pipeline`; arrays cross this border as numpy. A text encoder may have `states(tokens)`, its
`encode` from tensor to tensor on its device, which spares every training step the way over the host. An image encoder
may be a `LevelEncoder`, which takes pictures as they are and makes pixels of them on its device; its module may have
`decoder(model, revision, device)`, for people: what shows a latent as a picture, and a digest of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.geometry.view import Size


@dataclass(frozen=True)
class ImageFacts:
    """An image encoder before its weights are read.

    Attributes:
        encoder: name of the plug-in, which its fingerprint has under "encoder".
        channels: of a latent.
        stride_px: pixels of a view per latent pixel, along each side.
        stored: what is stored of a view, each as large as a latent: name of the field -> its unit.
        assumed: for sizes that nothing at hand says: which were assumed, and why; empty for sizes that were read.
    """

    encoder: str
    channels: int
    stride_px: int
    stored: Mapping[str, str] = field(default_factory=lambda: {"latent": ""})
    assumed: str = ""

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """What is stored of views of this size. ConfigError when a side is not a multiple of the latent stride."""
        if any(side % self.stride_px for side in size_px):
            raise ConfigError(
                f"{self.encoder}: views are {size_px[0]} x {size_px[1]} pixels, but each side must be a multiple of "
                f"{self.stride_px}, the stride of a latent pixel. Change the size, or pad the views"
            )
        shape = ("V", self.channels, size_px[0] // self.stride_px, size_px[1] // self.stride_px)
        return tuple(Field(name, "npy", "float16", shape, "view", unit) for name, unit in self.stored.items())


VISION = "vision"  # the field of a `vision` encoder


@dataclass(frozen=True)
class VisionFacts:
    """An encoder that says one vector of a view, before its weights are read.

    Attributes:
        encoder, assumed: as of `ImageFacts`.
        width: numbers of the vector.
        unit: what they are, in words.
    """

    encoder: str
    width: int
    unit: str
    assumed: str = ""

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """What is stored of views of any size."""
        return (Field(VISION, "npy", "float16", ("V", self.width), "view", self.unit),)


@dataclass(frozen=True)
class TextFacts:
    """A text encoder before its weights are read.

    Attributes:
        encoder: name of the plug-in, which its fingerprint has under "encoder".
        length: tokens per sentence.
        width: numbers per token.
        assumed: as of `ImageFacts`.
        carried_width: how many of these, at the end, are no state: what else a family's backbone is told of a text,
            pooled states or whether a token is a word. Each token carries them, so that any tokens make a context.
    """

    encoder: str
    length: int
    width: int
    assumed: str = ""
    carried_width: int = 0


class ImageEncoder(Protocol):
    """Pixels to latents, or to a vector.

    Attributes:
        fingerprint: weights and arithmetic that determine the output, as JSON; never a path or a hub id. "encoder" is
            the name of the plug-in. Whatever somebody chooses is here, also where it moves the last bits only, as
            precision and `compiled` do.
        exact: what changes the last bits and is nobody's choice, as JSON: the kind of device, how many threads.
            Optional.
    """

    fingerprint: dict[str, Any]

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """What `encode` returns for pixels of this size, one leading "view" axis each. Raises ConfigError."""
        ...

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """Host memory, float32, that this encoder's device reads fast. A build fills one per batch."""
        return np.empty(shape, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Pixels float32 [B, 3, H, W] in [-1, 1] -> stored arrays by field name, [B, ...]. Rows are independent; a
        row that does not fit its dtype holds inf or NaN, and the caller decides what to do about its example."""
        ...


@dataclass
class Levels:
    """A batch of views as 8-bit levels, which are a quarter of the bytes of pixels.

    Attributes:
        values: uint8 [B, H, W, 3], RGB.
        shown_px: (y0, x0, y1, x1) of each view, top row first: what lies outside, and rows beyond the list, are 0 after
            normalising, whatever `values` hold there.
    """

    values: np.ndarray
    shown_px: list[tuple[int, int, int, int]] = field(default_factory=list)


@runtime_checkable
class LevelEncoder(ImageEncoder, Protocol):
    """An image encoder that normalises on its device, to the same bits as `pipeline.rendering.geometry.to_pixels`."""

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Host memory, uint8, that this encoder's device reads fast. A build fills one per batch."""
        ...

    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        """`encode` of the pixels that these levels stand for."""
        ...


class TextEncoder(Protocol):
    """Sentences to token states.

    Attributes:
        fingerprint, exact: as of an image encoder; the tokenizer is part of it.
        length: tokens per sentence, L.
        width: numbers per token, D, those that it carries beside its state included.
    """

    fingerprint: dict[str, Any]
    length: int
    width: int

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        """S sentences -> token ids int32 [S, L], cut or padded to L."""
        ...

    def cut(self, sentences: list[str]) -> int:
        """How many of the sentences have more tokens than L; 0 for an encoder that does not know."""
        return 0

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> states float32 [S, L, D]. Rows are independent."""
        ...

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        """The same in float16, rounded on the device; a state that does not fit is inf."""
        return self.encode(tokens).astype(np.float16)

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> one vector a sentence, float32 [S, D]. Rows are independent. Needed for prompts in
        mode `pooled` only."""
        name = self.fingerprint["encoder"]
        raise ConfigError(f"text encoder {name} has no pooled states: set prompts.mode=tokens (`pipeline.prompts`).")
