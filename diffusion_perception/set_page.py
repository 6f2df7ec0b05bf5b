"""What `set inspect html=...` does: look at a set, draw some of its records, write one page.

Owns where pictures come from: the source's own, latents decoded by a model, or false colours. Numbers, drawing and
markup are `pipeline.set_page`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from diffusion_perception import plugins
from diffusion_perception.places import resolve_model, resolve_path
from pipeline.files.photos import read_picture
from pipeline.rendering.geometry import render
from pipeline.set_page.drawing import draw_record, padded
from pipeline.set_page.page import page
from pipeline.set_page.survey import LATENT, spread, survey
from shards.errors import ConfigError, ContractError
from shards.geometry.view import recorded_views
from shards.progress import reports
from shards.reading.reader import ShardSet, StoredRecord
from shards.storage.atomic import write_atomic

Show = Callable[[StoredRecord], np.ndarray | None]
FALSE_COLOURS = (
    "Latents in false colours, three of their channels. To see pictures, name their folder, page.pictures, or "
    "the model whose decoder shows latents, page.model."
)


@dataclass(frozen=True)
class PictureOptions:
    """Where the pictures of records come from; neither of the two: latents are shown in false colours."""

    pictures: str = ""  # folder in which the `file_name` of every record is found, as its meta has it
    model: str = ""  # folder or hub id of the model whose decoder shows latents
    revision: str = ""  # of a hub model

    def __post_init__(self) -> None:
        if self.pictures and self.model:
            raise ConfigError("pictures and model: one of the two shows the records. Leave the other out.")

    def placed(self) -> Self:
        """With an absolute folder and model."""
        return replace(self, pictures=resolve_path(self.pictures, "page.pictures"), model=resolve_model(self.model))


@dataclass(frozen=True)
class PageOptions(PictureOptions):
    """How a set is shown."""

    records: int = 12  # that are drawn, evenly over the set
    looked_at: int = 200  # that numbers of latents and sizes are made of

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.records < 0 or self.looked_at < 1:
            raise ConfigError(
                f"a page of {self.records} records, {self.looked_at} looked at: expected 0, and 1, or more."
            )


def write_set_page(
    shards: ShardSet,
    path: str | Path,
    options: PageOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the page of an opened set.

    Raises:
        ConfigError: no such folder or model, or the page cannot be written.
        ContractError: a record that is read is damaged.
    """
    options = options or PageOptions()
    path = Path(path)
    if not path.parent.is_dir():
        raise ConfigError(f"html={path}: {path.parent} is not a folder. Make it, or name another file.")
    show, how, notes = shown(shards, options)
    found = survey(shards, spread(shards.n_records, options.looked_at), reports(shards.manifest.name, "records", say))
    drawings = []  # which may add notes
    for number in spread(shards.n_records, options.records):
        record = shards.record(number)
        drawings.append(draw_record(record, show(record)))
    try:
        write_atomic(path, page(found, drawings, how, notes).encode())
    except OSError as error:
        raise ConfigError(f"html={path}: cannot be written ({error}). Name a file in a folder that exists.") from error


def shown(shards: ShardSet, options: PictureOptions) -> tuple[Show, str, list[str]]:
    """How records are shown, in words, and what a person must know.

    Raises:
        ConfigError: no such folder or model.
    """
    if options.pictures:
        folder = Path(options.pictures)
        if not folder.is_dir():
            raise ConfigError(f"pictures={folder} is not a folder.")
        return _of_source(folder)
    if options.model:
        return _decoded(shards, options)
    return (lambda record: None), FALSE_COLOURS, []


def _of_source(folder: Path) -> tuple[Show, str, list[str]]:
    notes: list[str] = []

    def show(record: StoredRecord) -> np.ndarray | None:
        views, name = recorded_views(record), str(record.meta.get("file_name", ""))
        found = (folder / name).resolve()
        try:
            if not name or not views or not found.is_relative_to(folder.resolve()):
                raise ConfigError("its meta names no picture below this folder")
            return padded(render(read_picture(found), views[0]), views[0])
        except (ContractError, OSError) as error:
            if not notes:
                notes.append(f"some records are shown by their latents. The first, {record.key}: {error}")
            return None

    return show, "Pictures of the source, as the view shows them.", notes


def _decoded(shards: ShardSet, options: PictureOptions) -> tuple[Show, str, list[str]]:
    recorded = shards.manifest.recipe.get("image_encoder") or {}
    spec = {"name": recorded.get("encoder", "")}
    load = plugins.function(plugins.ENCODERS, spec, "image_encoder of the recipe", "decoder")
    decode, weights = load(options.model, options.revision or None)
    notes = []
    if weights != recorded.get("weights"):
        notes.append(
            f"{options.model} is not the model that encoded this set (weights {weights[:12]}, the recipe says "
            f"{str(recorded.get('weights'))[:12]}): the pictures below may be wrong."
        )
    return (lambda record: decode(record.array(LATENT, 0, 1)[0])), f"Latents, decoded by {options.model}.", notes
