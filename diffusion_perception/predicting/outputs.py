"""Where the outputs of a prediction go: their names, what is checked before anything is computed, and what is finished.

Owns the folder of many pictures:

    <name>-drawn.png          to look at; <name>-000-drawn.png, ... where there are several sentences
    <name><suffix>            the prediction itself, one for each suffix of `exports`, such as <name>.npy
    <name>-drawn.mp4          of a video, with the exports of its frames in <name>-frames/000000<suffix>, ...
    predictions.jsonl         a line with the settings, then one for each finished picture: where it was read, what was
                              written, and what was found in words

`<name>` is the picture's path below the folder it was found in, without its suffix; with it, or with a number, where
another picture has that name. Every file is written under a hidden name and renamed, the picture's line comes after its
files: what a line names is whole. A start with the same settings skips the pictures that have one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion_perception.predicting.picture_files import PictureFile
from shards.errors import ConfigError

LOG = "predictions.jsonl"
LONGEST_NAME = 240  # bytes, and a suffix of ours while the file is being written
LEAST_FREE_BYTES = 20 << 20


def check_writable(path: Path, setting: str) -> None:
    """That a file can be written there.

    Raises:
        ConfigError: its folder does not exist or cannot be written to, it is a folder itself, or the disk is full.
    """
    folder = path.parent
    if os.path.isdir(path):  # False, too, of what can be no path
        raise ConfigError(f"{setting}={path}: is a folder; expected a file's name.")
    if not os.path.isdir(folder):
        raise ConfigError(f"{setting}={path}: its folder {folder} does not exist. Make it first.")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ConfigError(f"{setting}={path}: the name is longer than the {LONGEST_NAME} bytes a file system takes.")
    _check_folder(folder, f"{setting}={path}")


def _check_folder(folder: Path, what: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{what}: the folder {folder} cannot be written to. Choose another.")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise ConfigError(f"{what}: the disk of {folder} has {free / 1e6:.1f} MB left. Make room, or choose another.")


def check_drawable(path: str, setting: str) -> None:
    """That Pillow writes pictures of this suffix; ConfigError: it does not."""
    from PIL import Image

    Image.init()
    suffix = Path(path).suffix.lower()
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise ConfigError(
            f"{setting}={path}: no picture is written with the suffix {suffix or '(none)'!r}; expected one such as "
            ".png or .jpg."
        )


def check_exported(suffix: str, known: tuple[str, ...], setting: str, task: str) -> None:
    """That a task writes files of this suffix; ConfigError: it does not."""
    if suffix.lower() not in known:
        raise ConfigError(
            f"{setting}: task {task} writes {', '.join(known)}; {suffix or '(no suffix)'!r} is none of them."
        )


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A hidden path of the same suffix to write to; what was written is renamed to `path` at the end.

    Raises:
        ConfigError: it cannot be written, such as on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".predict-") as scratch:
            hidden = Path(scratch, path.name)
            yield hidden
            hidden.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}). What is finished is kept: make room, or choose "
            "another place, and start the same command again to go on."
        ) from error


class OutputFolder:
    """The folder of many pictures, see the module.

    Args:
        folder: made if need be.
        settings: what determines the outputs, as plain data.

    Raises:
        ConfigError: it cannot be written to, or holds outputs of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"into={folder}: the folder cannot be made ({error.strerror or error}).") from error
        _check_folder(folder, f"into={folder}")
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))
        self.entries: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}  # name -> place of the picture that has it
        self._read()

    def finished(self, picture: PictureFile) -> bool:
        """Whether a picture has its outputs, all there, and has not been changed since."""
        entry = self.entries.get(picture.place)
        whole = entry is not None and all((self.folder / name).is_file() for name in entry["outputs"])
        return whole and entry is not None and entry["source"] == _state(picture.place)

    def name(self, picture: PictureFile) -> str:
        """The name of a picture's outputs, below the folder: the same at every start."""
        if picture.place in self.entries:
            return self.entries[picture.place]["name"]
        stem, suffix = os.path.splitext(picture.name.lstrip("/"))
        inside = [part for part in stem.split("/") if part not in ("", "..", ".")]
        stem = "/".join(inside) or "picture"
        plain = [] if stem.endswith("-drawn") else [stem]  # the drawing of another picture may have that name
        candidates = [*plain, stem + suffix, *(f"{stem}{suffix}-{number}" for number in range(2, len(self._names) + 3))]
        found = next(name for name in candidates if self._names.get(name, picture.place) == picture.place)
        self._names[found] = picture.place
        return found

    def add(self, picture: PictureFile, name: str, outputs: list[str], said: list[str]) -> None:
        """Note a picture as finished."""
        entry = {"picture": picture.place, "name": name, "source": _state(picture.place)}
        self._append({**entry, "outputs": outputs, "said": said})

    def _read(self) -> None:
        log = self.folder / LOG
        if not log.exists():
            self._append({"settings": self.settings})
            return
        head: dict[str, Any] = {}
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed writer
                continue
            if "settings" in entry:
                head = entry["settings"]
            elif {"picture", "name", "source", "outputs"} <= entry.keys():
                self.entries[entry["picture"]] = entry
                self._names[entry["name"]] = entry["picture"]
        if head != self.settings:
            apart = [
                f"{key}: {head.get(key)!r} there, {value!r} now"
                for key, value in self.settings.items()
                if head.get(key) != value
            ]
            raise ConfigError(
                f"into={self.folder}: holds predictions of other settings ({'; '.join(apart)}). Choose another folder, "
                "or remove this one."
            )

    def _append(self, entry: Mapping[str, Any]) -> None:
        log = self.folder / LOG
        try:
            with log.open("a+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                torn = end > 0 and file.read(1) != b"\n"  # by a killed writer
                file.write((("\n" if torn else "") + json.dumps(entry) + "\n").encode())
        except OSError as error:
            raise ConfigError(
                f"{log}: cannot be written ({error.strerror or error}). What is finished is kept: make room and start "
                "the same command again to go on."
            ) from error


def _state(place: str) -> list[int]:
    """Size and time of a local file; nothing of a URL."""
    try:
        found = os.stat(place)
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns]
