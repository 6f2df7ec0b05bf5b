"""A text encoder: every word is a number, and every number a fixed vector."""

import zlib

import numpy as np

from pipeline.encoders import TextEncoder, TextFacts

WORDS, WIDTH = 500, 16
CODES = np.random.default_rng(0).standard_normal((WORDS + 1, WIDTH), np.float32)


class WordCodes(TextEncoder):
    width = WIDTH

    def __init__(self, length: int) -> None:
        self.length = length
        self.fingerprint = {"encoder": __name__, "weights": "seed 0", "length": length}

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        tokens = np.zeros((len(sentences), self.length), np.int32)  # [S, L], 0 where no word is
        for row, sentence in zip(tokens, sentences, strict=True):
            words = sentence.split()[: self.length]
            row[: len(words)] = [1 + zlib.crc32(word.encode()) % WORDS for word in words]
        return tokens

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        return CODES[tokens]  # [S, L, D]


def build(length: int = 4, device: str = "cpu") -> WordCodes:
    return WordCodes(length)


def describe(length: int = 4) -> TextFacts:
    return TextFacts(encoder=__name__, length=length, width=WIDTH)
