"""T5's vocabulary as SentencePiece writes it, `spiece.model`: what it takes to read one.

transformers does so with the package sentencepiece where no tokenizer.json lies beside it; without the package its own
error names another one.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

READER, FILE = "sentencepiece", "spiece.model"


def unreadable(folder: Path) -> str:
    """Why the tokenizer in a folder cannot be read, and what to do; empty where nothing is in the way."""
    alone = (folder / FILE).is_file() and not (folder / "tokenizer.json").is_file()
    if not alone or find_spec(READER):
        return ""
    return (
        f"{FILE} is read with the package {READER}, which is not installed: pip install {READER}, or put a "
        "tokenizer.json beside it, as AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one where "
        "the package is"
    )
