"""The words of a tool of sets: the places that stand first, then settings and flags as for every command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from jobs.command_line import CommandLine, places_first
from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url
from shards.storage.storage import Folder, open_folder

T = TypeVar("T")


def read(job: type[T], words: Sequence[str], flags: Mapping[str, str]) -> tuple[T, frozenset[str]]:
    """A tool's settings, with the words that come first as its `sets`, and its flags.

    Raises:
        ConfigError: no set is named, a setting that the tool does not know, or a secret among them.
    """
    command = CommandLine.parse(places_first(words, "sets"), flags=flags)
    bound: Any = settings.bind(job, draft(command))
    if not bound.sets:
        raise ConfigError("which sets? Name their folders or URLs first, before settings and flags.")
    check_printable(bound.storage, "storage")
    for place in bound.sets:
        check_printable_url(place, "sets")
    return bound, command.flags


def draft(command: CommandLine) -> dict[str, Any]:
    """A tool's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def folder(place: str, storage: Mapping[str, Any], setting: str = "sets") -> Folder:
    """The folder at a place; relative paths start where those of every command do."""
    return open_folder(resolve_path(place, setting), storage_options=storage)
