"""From YAML and a command line to frozen dataclasses; whatever nobody reads is an error with a suggestion.

Owns the command-line grammar of every job: `--config FILE`, `--dry-run`, and settings as dotted `key=value`,
`--key=value` or `--key value` (all three, because Ray's own command line swallows `--words` that come before `--`).
Values are parsed as YAML. What the settings mean is left to the dataclasses; how a plug-in's options are bound to its
`build`, to `jobs.plugins`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from shards.errors import ConfigError
from vpd.plugin import suggestion

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class CommandLine:
    """What was asked for on the command line, before any file is read."""

    config: str = ""
    flags: frozenset[str] = frozenset()  # words without a value: `dry-run`, `local`
    overrides: tuple[tuple[str, str], ...] = field(default=())  # dotted key, YAML text

    @classmethod
    def parse(cls, words: Sequence[str], flags: Sequence[str] = ()) -> CommandLine:
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
                    hint = suggestion(name, [*flags, "config"])
                    raise ConfigError(f"command line: '{word}' needs a value, as in {word} VALUE.{hint}")
                key, value = name, rest.pop(0)
            else:
                raise ConfigError(
                    f"command line: cannot read the word '{word}'. Settings are written key=value or --key value; "
                    f"flags of this job: {', '.join('--' + f for f in flags) or 'none'}."
                )
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


def load(path: str | Path, overrides: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """A YAML file as plain data, with dotted overrides laid over it.

    A relative path is looked up from the working directory and then from the repository.

    Raises:
        ConfigError: no such file, not YAML, or an override that goes through something that is not a mapping.
    """
    found = next((p for p in (Path(path), REPOSITORY / path) if p.is_file()), None)
    if found is None:
        folder = REPOSITORY / Path(path).parent
        names = sorted(p.stem for p in folder.glob("*.yaml")) if folder.is_dir() else []
        raise ConfigError(
            f"no configuration file {path}.{suggestion(Path(path).stem, names)} "
            f"Files in {Path(path).parent}/: {', '.join(names) or 'none'}."
        )
    try:
        data = yaml.safe_load(found.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{found}: not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{found}: expected settings as 'key: value', found {type(data).__name__}.")
    for key, text in overrides:
        lay_over(data, key, text)
    return data


def lay_over(data: dict[str, Any], dotted: str, text: str) -> None:
    """Set one dotted key of plain data to a value written as YAML.

    Raises:
        ConfigError: the key goes through something that is not a mapping, or the value is not YAML.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {dotted}={text}: not readable as YAML: {error}") from error
    *parents, last = dotted.split(".")
    for depth, name in enumerate(parents):
        node = data.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"override {dotted}={value}: {'.'.join(parents[: depth + 1])} is {node!r}, which has no settings."
            )
        data = node
    # `source=ade20k` for a plug-in names it and drops the other one's options, which would not fit.
    if isinstance(data.get(last), dict) and "name" in data[last] and isinstance(value, str):
        value = data[last] if data[last]["name"] == value else {"name": value}
    data[last] = value


def build(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """A frozen dataclass from plain data, strictly.

    Args:
        where: dotted path of `data` in the whole configuration, for messages.

    Raises:
        ConfigError: an unknown key (with the closest known one), a missing one, or a value of another type.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in data:
        if key not in known:
            hint = _elsewhere(str(key), cls) or suggestion(str(key), list(known))
            raise ConfigError(f"unknown setting '{_dotted(where, key)}'.{hint} Known here: {', '.join(known)}.")
    values = {}
    for name, spec in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _dotted(where, name))
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ConfigError(f"setting '{_dotted(where, name)}' is missing; expected {_spelled(hints[name])}.")
    return cls(**values)


def _elsewhere(key: str, cls: type) -> str:
    """A hint for a key that exists one level down, as in `lr` for `optim.lr`."""
    for f in dataclasses.fields(cls):
        inner = typing.get_type_hints(cls)[f.name]
        if dataclasses.is_dataclass(inner) and key in {g.name for g in dataclasses.fields(inner)}:
            return f" Did you mean '{f.name}.{key}'?"
    return ""


def _dotted(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _spelled(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    return getattr(hint, "__name__", str(hint).replace("collections.abc.", ""))


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    wrong = ConfigError(f"setting '{where}' is {value!r}; expected {_spelled(hint)}.")
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise wrong
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise ConfigError(str(wrong) + suggestion(str(value), [str(a) for a in args]))
        return value
    if origin in (Union, types.UnionType):
        for option in args:
            try:
                return None if option is type(None) and value is None else _convert(option, value, where)
            except ConfigError:
                continue
        raise wrong
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) != len(value):
            raise wrong
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if isinstance(value, str):  # the short form of a plug-in without options
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise wrong
        return dict(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            raise wrong from None
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise wrong


def to_plain(settings: Any) -> Any:
    """Dataclasses back to data that YAML and JSON can hold."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {f.name: to_plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {k: to_plain(v) for k, v in settings.items()}
    return [to_plain(v) for v in settings] if isinstance(settings, (list, tuple)) else settings


def spelled_out(settings: Any) -> str:
    """The resolved configuration as YAML, as printed at the start of a job."""
    return yaml.safe_dump(to_plain(settings), sort_keys=False, width=110)


def replaced(settings: T, values: Mapping[str, Any]) -> T:
    """A copy of nested dataclasses with some dotted settings changed."""
    for dotted, value in values.items():
        name, _, rest = dotted.partition(".")
        inner = replaced(getattr(settings, name), {rest: value}) if rest else value
        settings = dataclasses.replace(settings, **{name: inner})  # type: ignore[type-var]
    return settings
