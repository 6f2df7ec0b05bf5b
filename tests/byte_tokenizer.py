"""A CLIP tokenizer of the 256 byte characters and a few merges, made on the spot; it takes any text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def byte_tokenizer(
    folder: Path, vocab_size: int, merges: Sequence[str] = ("c a", "ca t</w>"), pad_token: str = "<|endoftext|>"
) -> Any:
    """The tokenizer, whose files `folder` takes. The last two of its words are those of start and end."""
    from transformers import CLIPTokenizer

    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    words = characters + [f"{character}</w>" for character in characters]
    words += ["".join(merge.split()) for merge in merges]
    words += [f"<unused{i}>" for i in range(vocab_size - len(words) - 2)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad_token, model_max_length=77
    )
