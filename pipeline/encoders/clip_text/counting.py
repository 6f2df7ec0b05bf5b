"""Which sentences `clip_text` would cut, counted with the tokenizer alone: no weights, no torch, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.encoders._configs import is_hub_id


def local_counter(model: str, revision: str | None, length: int) -> Callable[[Sequence[str]], int] | None:
    """How many of some sentences have more than `length` tokens, start and end among them; None if the tokenizer of
    `model` is not on this machine."""
    from transformers import CLIPTokenizer

    folder = Path(model).expanduser()
    homes = [(model, "tokenizer"), (model, "")]
    if folder.is_dir():
        all_homes = [folder / "tokenizer", folder, folder.parent / "tokenizer"]  # the last: of a text_encoder folder
        homes = [(str(home), "") for home in all_homes if list(home.glob("tokenizer*.json"))][:1]
    elif not is_hub_id(model):
        homes = []
    for home, subfolder in homes:
        try:
            tokenizer = CLIPTokenizer.from_pretrained(
                home, subfolder=subfolder, revision=revision or "main", local_files_only=True
            )
        except (OSError, ValueError):  # not in the cache
            continue
        backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_truncation()
        backend.no_padding()

        return partial(_longer, backend, length)
    return None


def _longer(tokenizer: Any, length: int, sentences: Sequence[str]) -> int:
    return sum(len(encoding.ids) > length for encoding in tokenizer.encode_batch(list(sentences)))
