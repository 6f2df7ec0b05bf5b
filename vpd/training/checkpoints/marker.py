"""The marker of a checkpoint: what its files hold, in sizes and hashes, and a hash of the marker itself.

Owns its form: JSON whose last entry is the hash of the bytes before it, so that any damage is seen before a word of it
is believed. The hashes (XXH3, 128 bits) find what disks, copies and stores do to bytes; they keep nobody out. Version
0.1 wrote sizes alone, and no hash of the marker: its form is another one to the letter, and is read still. When a
marker is written, and what follows from a damaged one, is `vpd.training.checkpoints.checkpoint`'s.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import xxhash

NAME = "checkpoint.json"
LIMIT_BYTES = 1 << 20  # a marker has a few hundred
BLOCK_BYTES = 8 << 20
# Of version 0.1, whole: no damage makes it of a marker with hashes, whose files have more than a number.
_WITHOUT_HASHES = re.compile(
    rb'\{"files": \{(?:"[^"\\]+": \d+(?:, )?)+\}, '
    rb'"metrics": \{(?:"(?:[^"\\]|\\.)*": [-+.\w]+(?:, )?)*\}, "step": \d+\}'
)


@dataclass(frozen=True)
class FileRecord:
    """What a file of a checkpoint is, byte for byte; as far as is known, where version 0.1 wrote it."""

    n_bytes: int
    xxh128: str = ""  # not recorded
    head_bytes: int = 0  # of a file of tensors: names and shapes, which are read without the rest
    head_xxh128: str = ""


def xxh128_of(read: Callable[[int], bytes]) -> tuple[int, str]:
    """Size and hash of what `read(n)` gives, to its end."""
    digest, n_bytes = xxhash.xxh3_128(), 0
    while block := read(BLOCK_BYTES):
        digest.update(block)
        n_bytes += len(block)
    return n_bytes, digest.hexdigest()


def sealed(step: int, files: Mapping[str, FileRecord], metrics: Mapping[str, float]) -> bytes:
    """The bytes of a marker; a metric that is not finite is null, since JSON has no NaN."""
    scores = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    known = {"files": {name: asdict(file) for name, file in files.items()}, "metrics": scores, "step": step}
    text = json.dumps(known, sort_keys=True)[:-1].encode()  # without the brace at its end
    return text + _seal(text)


def opened(raw: bytes) -> tuple[int, dict[str, FileRecord], dict[str, float]]:
    """Step, files and metrics of a marker.

    Raises:
        ValueError: it is not what was written, or by a later version.
    """
    text = raw[: -len(_seal(b""))]
    if _WITHOUT_HASHES.fullmatch(raw):
        known = json.loads(raw)
        known["files"] = {name: {"n_bytes": n_bytes} for name, n_bytes in known["files"].items()}
    elif text and raw == text + _seal(text):
        known = json.loads(text + b"}")
    else:
        raise ValueError("its own hash does not fit")
    try:
        files = {str(name): FileRecord(**entry) for name, entry in known["files"].items()}
        metrics = {name: math.nan if value is None else float(value) for name, value in known["metrics"].items()}
        return int(known["step"]), files, metrics
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a marker of this version ({error})") from error


def _seal(text: bytes) -> bytes:
    return b', "xxh128": "%s"}\n' % xxhash.xxh3_128_hexdigest(text).encode()
