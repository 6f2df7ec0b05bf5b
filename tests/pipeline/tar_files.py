"""Tars for tests: plain ones by `tarfile`, and single headers by hand for those that no library writes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(level: int = 90, size_px: tuple[int, int] = (4, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size_px, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(
    path: Path, files: Mapping[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT, mtime: float = 0
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(payload), mtime
            archive.addfile(info, io.BytesIO(payload))
    return path


def header(name: bytes = b"a.jpg", size: bytes = b"%011o\0" % 3, kind: bytes = b"0") -> bytes:
    """One block of 512 bytes with a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * 32)
    return bytes(block)


def padded(payload: bytes) -> bytes:
    return payload + bytes(-len(payload) % 512)


END = bytes(1024)
