"""A CLIP-shaped tokenizer with a few hundred tokens: the demo's words are one token each, any other text is bytes.

Owns vocab.json, merges.txt and tokenizer_config.json. The scheme is CLIP's (lower-cased byte-level BPE, `</w>` ends a
word, start and end tokens last in the vocabulary, padding with the end token); only the merges are our own.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 77


def write_tokenizer(folder: Path, words: tuple[str, ...]) -> dict[str, int]:
    """Writes the folder that CLIPTokenizer.from_pretrained reads; returns token -> id."""
    merges = merges_for(words)
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    _write(folder / "merges.txt", "\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": POSITIONS,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
        "add_prefix_space": False,
    }
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2))
    specials = {name: config[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    _write(folder / "special_tokens_map.json", json.dumps(specials, indent=2))
    return vocabulary


def merges_for(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Merges, most urgent first, under which each word (ASCII, lower case) becomes one token.

    A word gets new merges only for what the earlier ones leave of it. They rank behind all earlier merges, so a word
    that is already whole stays whole.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        while len(pieces := _split(word, merges)) > 1:
            merges.append((pieces[0], pieces[1]))
    return merges


def byte_letters() -> list[str]:
    """One visible character for each byte: printable latin1 stands for itself, the rest follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = (chr(256 + number) for number in range(256))
    return [chr(byte) if byte in plain else next(spare) for byte in range(256)]


def _split(word: str, merges: list[tuple[str, str]]) -> list[str]:
    rank = {pair: number for number, pair in enumerate(merges)}
    pieces = [*word[:-1], word[-1] + "</w>"]
    while True:
        pairs = [pair for pair in pairwise(pieces) if pair in rank]
        if not pairs:
            return pieces
        best = min(pairs, key=rank.__getitem__)
        merged: list[str] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == best:
                merged[-1] += piece
            else:
                merged.append(piece)
        pieces = merged


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
