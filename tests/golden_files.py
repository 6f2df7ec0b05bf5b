"""Recordings of the published models as tests read them: which set is used, tensors and facts by name, checkpoints.

A set is a folder with a MANIFEST.json of sizes and hashes; every file is checked against it before it is read. Two sets
have this form: the full one, beside a checkout (`../shared/golden`), and the compact one of `tests/golden`, which
`tests/golden/make_compact.py` cuts from it. What the compact one leaves out or keeps on a grid stands in its
REDUCED.json. What the recordings mean is the tests' matter.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # every test run reads this file, and most folders of tests do without torch
    import torch

VARIABLE = "DIFFUSION_PERCEPTION_GOLDEN"
COMPACT = Path(__file__).resolve().parent / "golden"
FULL = COMPACT.parents[2] / "shared" / "golden"
CHECKPOINTS = "checkpoints.tar.xz"


class DamagedRecording(RuntimeError):
    """A file of recordings is not the one its manifest describes."""


def chosen_set(setting: str | None) -> Path:
    """The folder that `compact`, `full` or a path names; with no setting, the full set where it is at hand."""
    if not setting:
        return FULL if FULL.is_dir() else COMPACT
    folder = {"compact": COMPACT, "full": FULL}.get(setting, Path(setting).expanduser().resolve())
    if not (folder / "MANIFEST.json").is_file():
        raise pytest.UsageError(
            f"{VARIABLE}={setting}: no recordings at {folder} (there is no MANIFEST.json). "
            "Set it to compact, full or the folder of a set, or leave it unset."
        )
    return folder


def set_name(folder: Path) -> str:
    """What a set of recordings is called in reports."""
    return "compact" if (folder / "REDUCED.json").is_file() else "full"


class Entries(Mapping[str, Any]):
    """Entries of one recording; a name that only the full set has skips the test that asks for it."""

    def __init__(self, where: str, held: Mapping[str, Any], left_out: tuple[str, ...]) -> None:
        self._where, self._held, self._left_out = where, held, left_out

    def __getitem__(self, name: str) -> Any:
        if name in self._left_out:
            pytest.skip(f"only the full set of recordings has {self._where} '{name}'")
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


@dataclass(frozen=True)
class Golden:
    """Tensors and facts recorded from the official code under one name."""

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]
    thinned: Mapping[str, list[str]]  # entry -> what is held along its first or last axes, e.g. ["...", "1::4", "2::4"]

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def kept(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The part of a result that the recording holds of `name`: all of it, or a grid where it is thinned."""
        return whole[grid(self.thinned[name])] if name in self.thinned else whole


def grid(axes: list[str]) -> tuple[Any, ...]:
    """An index from its text: "..." and slices such as "1::4"."""
    return tuple(... if axis == "..." else slice(*(int(n) if n else None for n in axis.split(":"))) for axis in axes)


class GoldenSet:
    """One folder of recordings, read when asked for. As a context it owns a folder of unpacked checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_text())
        reduced = folder / "REDUCED.json"
        self._reduced: dict[str, Any] = json.loads(self.read(reduced.name)) if reduced.is_file() else {}
        self._unpacked = tempfile.TemporaryDirectory(prefix="golden-")

    def __enter__(self) -> GoldenSet:
        return self

    def __exit__(self, *_: object) -> None:
        self._unpacked.cleanup()

    def read(self, name: str) -> bytes:
        """The bytes of a file of the set, after they have been found to be what the manifest says."""
        path = self.folder / name
        held = path.read_bytes() if path.is_file() else None
        found = {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()} if held is not None else "no such file"
        expected = self._manifest.get(name, "nothing of it")
        if held is None or found != expected:
            raise DamagedRecording(
                f"{path}: found {found}, MANIFEST.json says {expected}. "
                "Get the file again (`git checkout` or a new copy of the full set)."
            )
        return held

    def recording(self, name: str) -> Golden:
        """The recording of this name, e.g. vpd_refer."""
        from safetensors.torch import load

        reduced = self._reduced.get(name, {})
        if f"{name}.json" not in self._manifest:
            raise KeyError(f"no recording '{name}' in {self.folder}")
        tensors: dict[str, torch.Tensor] = {}
        for part in ("", ".integers"):
            file = f"{name}{part}.safetensors"
            if f"{file}.xz" in self._manifest:
                tensors |= load(lzma.decompress(self.read(f"{file}.xz")))
            elif file in self._manifest:
                tensors |= load(self.read(file))
        facts = json.loads(self.read(f"{name}.json"))
        return Golden(
            Entries(f"{name}: tensor", tensors, tuple(reduced.get("tensors", ()))),
            Entries(f"{name}: fact", facts, tuple(reduced.get("facts", ()))),
            reduced.get("thinned", {}),
        )

    def checkpoint(self, name: str) -> Path:
        """The path of a recorded checkpoint in its published form, unpacked once."""
        target = Path(self._unpacked.name) / name
        if not target.exists():
            if f"{name}.xz" in self._manifest:
                target.write_bytes(lzma.decompress(self.read(f"{name}.xz")))
            else:
                with tarfile.open(fileobj=io.BytesIO(self.read(CHECKPOINTS)), mode="r:xz") as packed:
                    packed.extractall(target.parent, filter="data")
        return target
