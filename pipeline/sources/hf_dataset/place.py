"""Where a dataset of the `datasets` library lies, and opening one split of it.

Owns the three ways: a folder of `save_to_disk`; files (parquet, arrow, JSON, an image folder) by their folder, name or
pattern; a hub id. The library is optional and imported here alone. Pictures are left encoded: they are decoded by the
one reader of pictures.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files.patterns import SIGNS, folder_and_pattern
from shards.errors import ConfigError, SourceError

LOADERS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json", ".csv": "csv"}


@dataclass(frozen=True)
class Place:
    """A dataset, as configured; see `pipeline.sources.hf_dataset.build`."""

    dataset: str
    config: str = ""
    revision: str = ""
    streaming: bool = False
    limit: int = 0

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ConfigError(f"source hf_dataset: limit is {self.limit}; expected a number of rows, or 0 for all")
        if self.streaming and not self.limit:
            raise ConfigError(
                "source hf_dataset: streaming needs limit: a stream does not say how many rows it has, and a set is "
                "planned by their number. Set limit to the rows to take of each split"
            )

    @property
    def shown(self) -> str:
        """For messages and a set's README: without folders."""
        return self.dataset if not self.is_local else Path(self.dataset).name

    @property
    def is_local(self) -> bool:
        path = self._path
        return path.is_absolute() or path.exists() or "*" in self.dataset or path.suffix in LOADERS

    @property
    def has_one_split(self) -> bool:
        """Whether a split's name chooses nothing: every one would be all rows."""
        path = self._path
        saved, several = ((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
        return path.suffix in LOADERS or (saved and not several)

    def open(self, split: str, columns: Sequence[str]) -> tuple[Any, str]:
        """A `Dataset` or `IterableDataset` of these columns, and what tells its content from another's.

        Raises:
            ConfigError: the library is not installed, or a column is not there.
            SourceError: there is no such dataset or split, or it cannot be read.
        """
        datasets = library()
        try:
            found, fingerprint = self._load(datasets, split)
        except (ConfigError, SourceError):
            raise
        except Exception as error:  # the library raises whatever its readers and the hub's client meet
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise SourceError(
                f"dataset {self.dataset!r}, split {split!r}: cannot be opened: {said}. Expected a folder of "
                "save_to_disk, files (parquet, arrow, json, csv, an image folder), or a hub id, and one of its splits"
            ) from error
        if found.features is None:
            raise SourceError(f"dataset {self.dataset!r}: does not say what its columns hold; save it as parquet")
        for column in columns:
            if column not in found.features:
                known = ", ".join(found.features)
                raise ConfigError(f"source hf_dataset: {self.dataset!r} has no column {column!r}; found {known}")
        found = found.select_columns(list(dict.fromkeys(columns)))
        for column in dict.fromkeys(columns):
            if (encoded := _encoded(datasets, found.features[column])) is not None:
                found = found.cast_column(column, encoded)
        if self.limit and not self.streaming:
            found = found.select(range(min(self.limit, len(found))))
        return found, fingerprint

    @property
    def _path(self) -> Path:
        return Path(os.path.expanduser(self.dataset))

    def _load(self, datasets: Any, split: str) -> tuple[Any, str]:
        path = self._path
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            if self.streaming:
                raise ConfigError(f"source hf_dataset: {self.dataset!r} is on this disk already; leave streaming out")
            saved = datasets.load_from_disk(str(path))
            if isinstance(saved, dict) and split not in saved:
                raise SourceError(f"dataset {self.dataset!r} has no split {split!r}; found {', '.join(saved)}")
            found = saved[split] if isinstance(saved, dict) else saved
            return found, found._fingerprint
        if path.suffix in LOADERS:
            builder = datasets.load_dataset_builder(LOADERS[path.suffix], data_files={split: _as_pattern(path)})
        elif self.is_local and not path.is_dir():
            raise SourceError(f"dataset {self.dataset!r}: there is no such folder or file")
        elif path.is_dir() and SIGNS & set(str(path)):
            found = " ".join(sorted(SIGNS & set(str(path))))
            raise SourceError(
                f"dataset {self.dataset!r}: the library `datasets` takes {found} in a folder's "
                "name for a pattern, and finds nothing. Rename the folder, or name its files: a .parquet, or a pattern"
            )
        else:
            where = str(path) if path.is_dir() else self.dataset
            builder = datasets.load_dataset_builder(where, self.config or None, revision=self.revision or None)
        fingerprint = f"{builder.config_id} {builder.hash}"  # of a hub dataset's commit, or of files' names and times
        if self.streaming:
            return builder.as_streaming_dataset(split=split), fingerprint
        builder.download_and_prepare()
        return builder.as_dataset(split=split), fingerprint


def library() -> Any:
    """The module `datasets`. ConfigError where it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            "source hf_dataset needs the library `datasets`: pip install 'diffusion-perception[hf]'"
        ) from error
    return datasets


def _as_pattern(path: Path) -> str:
    """A file or pattern as the library reads it, which takes every sign of every name for one of a pattern."""
    folder, pattern = folder_and_pattern(Path(), path)
    return f"{glob.escape(str(folder))}/{pattern}" if pattern else glob.escape(str(folder))


def _encoded(datasets: Any, feature: Any) -> Any:
    """The same feature with its pictures left encoded; None for one without pictures."""
    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.Image):
        return type(feature)(datasets.Image(decode=False))
    return None
