"""The command-line grammar of every command: words to a configuration file, flags and overrides.

`--config FILE`, flags, and settings as dotted `key=value`, `--key=value` or `--key value` (all three, because Ray's own
command line swallows `--words` that come before `--`). What the settings mean is `diffusion_perception.settings`'.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shards.errors import ConfigError, did_you_mean

_SETTING = re.compile(r"[A-Za-z_][\w.-]*=")  # a URL may have an = in it, too


def places_first(words: Sequence[str], setting: str) -> list[str]:
    """The words of a command that takes places first, folders or URLs, with those as a setting's value."""
    rest, places = list(words), []
    while rest and not rest[0].startswith("-") and not _SETTING.match(rest[0]):
        places.append(rest.pop(0))
    return [f"{setting}={json.dumps(places)}", *rest] if places else rest


@dataclass(frozen=True)
class CommandLine:
    """What was asked for on the command line, before any file is read."""

    config: str = ""
    flags: frozenset[str] = frozenset()  # words without a value: `dry-run`, `local`
    overrides: tuple[tuple[str, str], ...] = field(default=())  # dotted key, YAML text

    @classmethod
    def parse(cls, words: Sequence[str], flags: Iterable[str] = ()) -> CommandLine:
        """Read a job's words.

        Args:
            words: the command line without the program's name.
            flags: the words this job takes without a value.

        Raises:
            ConfigError: a word that is neither a setting nor a known flag, or a setting without a value.
        """
        config, seen, overrides = "", set(), []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name = word.lstrip("-")
            if word.startswith("--") and name in flags:
                seen.add(name)
                continue
            if "=" in name:
                key, value = name.split("=", 1)
            elif word.startswith("--"):
                if not rest or rest[0].startswith("--"):
                    hint = did_you_mean(name, [*flags, "config"]) if name != "config" else ""
                    raise ConfigError(f"command line: '{word}' needs a value, as in {word} VALUE.{hint}")
                key, value = name, rest.pop(0)
            else:
                raise ConfigError(
                    f"command line: cannot read the word '{word}'. Settings are written key=value or --key value; "
                    f"flags of this job: {', '.join('--' + f for f in flags) or 'none'}."
                )
            if not all(key.split(".")):
                raise ConfigError(f"command line: '{word}' names no setting; expected section.setting=value.")
            if key == "config":
                config = value
            else:
                overrides.append((key, value))
        return cls(config, frozenset(seen), tuple(overrides))

    def take(self, key: str) -> tuple[str, CommandLine]:
        """The last value given for `key` ('' if none), and the command line without it."""
        values = [v for k, v in self.overrides if k == key]
        rest = tuple((k, v) for k, v in self.overrides if k != key)
        return (values[-1] if values else ""), dataclasses.replace(self, overrides=rest)
