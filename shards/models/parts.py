"""Finds one part of a model - vae, text_encoder, tokenizer or unet - by one rule, and has one message where it cannot.

Owns where a part may lie: a diffusers folder, a folder that is itself the part (a tokenizer also beside its text
encoder), both with `~`; else a hub id, whose cached files are looked at before the hub is asked. What counts among the
files is `shards.models.forms`'. The libraries that load it are each side's own.

`.bin` files are pickles: the libraries read them with `weights_only`, which takes tensors and runs no code of the file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shards.errors import ConfigError
from shards.models.forms import CONFIG, FORMS, Absent, Choice, Unfit, choose, json_of
from shards.models.hub import NotOnHub, cached_snapshot, fetch, files_of, is_hub_id
from shards.models.spiece import unreadable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPart:
    """A part that was found.

    Attributes:
        who: what needs it, for messages.
        model: as it was asked for.
        kind: of `shards.models.forms.FORMS`.
        folder: holds its files.
        weights: the files that count; empty for a part without, or if they were not asked for.
        variant: half precision, by name; empty for full precision.
    """

    who: str
    model: str
    kind: str
    folder: Path
    weights: tuple[Path, ...] = ()
    variant: str = ""

    def load(self, loader: Callable[..., Any], **options: Any) -> Any:
        """Calls `loader`, a `from_pretrained`, so that it reads exactly these weights and asks no hub.

        Raises:
            ConfigError: it raised anything: the libraries answer odd files and configs with errors of many kinds.
        """
        if self.kind.startswith("tokenizer") and (reason := unreadable(self.folder)):
            raise self.unusable(reason)
        if self.variant:
            _log.warning(
                "%s: %s holds the %s in %s only; its weights are rounded so, computed with in the precision asked for",
                self.who, self.folder, self.kind, self.variant,
            )  # fmt: skip
        if self.weights:
            safe = self.weights[0].suffix == ".safetensors"
            options |= {"variant": self.variant or None, "use_safetensors": safe}
        try:
            return loader(str(self.folder), local_files_only=True, **options)
        except Exception as error:
            raise self.unusable(f"{type(error).__name__}: {error}") from error

    def config(self) -> Mapping[str, Any]:
        """Its config.json. Raises ConfigError."""
        try:
            return json_of(CONFIG, partial(_read, self.folder))
        except Unfit as error:
            raise self.unusable(error) from error

    def unusable(self, reason: object) -> ConfigError:
        """The message about a part that was found and does not load."""
        files = ", ".join(file.name for file in self.weights[:2])
        where = f"{self.folder} ({files})" if files else str(self.folder)
        said = " ".join(str(reason).split())[:300]
        return unusable(self.who, self.model, self.kind, f"{where} does not load: {said}")


def find_part(who: str, model: str, kind: str, revision: str | None = None, *, weights: bool = True) -> ModelPart:
    """The part of a model, with every file of it on this machine.

    Args:
        who: what needs it, for messages.
        model: a folder (`~` is the home folder) or a hub id.
        kind: of `shards.models.forms.FORMS`.
        revision: branch, tag or commit of a hub model.
        weights: False: its configuration is enough.

    Raises:
        ConfigError: in the form of `unusable`.
    """
    try:
        if (found := _local(who, model, kind, weights)) is not None:
            return found
        snapshot = cached_snapshot(model, revision)
        lacking = "the hub's local cache does not hold it"
        if snapshot is not None:
            try:
                return _in_folder(who, model, kind, snapshot, weights)
            except Absent as error:
                lacking = f"the hub's local cache holds only a part of it ({error})"
        try:
            return _from_hub(who, model, kind, revision, weights)
        except NotOnHub as error:
            raise Absent(f"no folder of that name is here, {lacking}, and {error}") from error
    except (Absent, Unfit) as error:
        raise unusable(who, model, kind, str(error)) from error


def find_config(who: str, model: str, kind: str, revision: str | None = None) -> Mapping[str, Any] | None:
    """The config.json of a part, without asking the hub: None for a hub model whose part is not cached.

    Raises:
        ConfigError: in the form of `unusable`.
    """
    part = part_at_hand(who, model, kind, revision)
    return None if part is None else part.config()


def part_at_hand(who: str, model: str, kind: str, revision: str | None = None) -> ModelPart | None:
    """A part without its weights, without asking the hub; None and errors as of `find_config`."""
    try:
        if (found := _local(who, model, kind, weights=False)) is not None:
            return found
        snapshot = cached_snapshot(model, revision)
        try:
            return None if snapshot is None else _in_folder(who, model, kind, snapshot, weights=False)
        except Absent:  # other parts of it are cached
            return None
    except (Absent, Unfit) as error:
        raise unusable(who, model, kind, str(error)) from error


def unusable(who: str, model: str, kind: str, reason: str) -> ConfigError:
    """The one message about a part that cannot be used."""
    return ConfigError(
        f"{who}: no usable {kind} in {model!r}: {reason}. Expected a diffusers folder or a hub id with {kind}/ inside "
        f"({FORMS[kind].needed}), or one that is itself the {kind}. Check the name and the revision; on a machine "
        "without network, download the model elsewhere and give its folder; a single checkpoint file becomes such a "
        "folder by `diffusion-perception convert in=FILE out=FOLDER`."
    )


def _local(who: str, model: str, kind: str, weights: bool) -> ModelPart | None:
    """None for what can be a hub id only."""
    try:
        folder = Path(os.path.expanduser(model))
        if folder.is_dir():
            return _in_folder(who, model, kind, folder, weights)
        is_file = folder.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, or no permission, or a NUL in it
        raise Absent(f"it cannot be looked at ({error})") from error
    if is_file:
        raise Absent("this is a file")
    if not is_hub_id(model):
        raise Absent("nothing is there, and it is not a hub id (owner/name)")
    return None


def _in_folder(who: str, model: str, kind: str, folder: Path, weights: bool) -> ModelPart:
    try:
        choice = choose(kind, _listed(folder, kind), partial(_read, folder), weights)
    except Absent:
        if kind != "tokenizer" or not (folder.parent / kind).is_dir():
            raise
        folder = folder.parent  # `folder` is the text encoder of a diffusers folder
        choice = choose(kind, _listed(folder, kind), partial(_read, folder), weights)
    return _part(who, model, kind, folder, choice)


def _from_hub(who: str, model: str, kind: str, revision: str | None, weights: bool) -> ModelPart:
    def read(name: str) -> bytes:
        return _read(fetch(model, [name], revision), name)

    choice = choose(kind, files_of(model, revision), read, weights)
    return _part(who, model, kind, fetch(model, [*choice.others, *choice.weights], revision), choice)


def _part(who: str, model: str, kind: str, folder: Path, choice: Choice) -> ModelPart:
    weights = tuple(folder / name for name in choice.weights)
    return ModelPart(who, model, kind, folder / choice.home, weights, choice.variant)


def _listed(folder: Path, kind: str) -> list[str]:
    """Files here and in the part's own folder; what a cache only points to and does not hold is no file."""
    try:
        return [
            path.relative_to(folder).as_posix()
            for place in (folder, folder / kind)
            if place.is_dir()
            for path in sorted(place.iterdir())
            if path.is_file()
        ]
    except OSError as error:
        raise Unfit(f"{folder} cannot be listed ({error})") from error


def _read(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()
