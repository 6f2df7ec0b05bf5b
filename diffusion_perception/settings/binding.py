"""Plain data to frozen dataclasses and back, strictly: whatever nobody reads is an error with a suggestion.

Owns the conversion of values to the types that fields and parameters state. Where the data comes from is `files`'; how
a plug-in's options are bound to its `build`, `diffusion_perception.plugins`'.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

import yaml

from shards.errors import ConfigError, did_you_mean

T = TypeVar("T")


def bind(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
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
            hint = _elsewhere(str(key), cls) or did_you_mean(str(key), list(known))
            raise ConfigError(f"unknown setting '{_dotted(where, key)}'.{hint} Known here: {', '.join(known)}.")
    values = {}
    for name, spec in known.items():
        if name in data:
            values[name] = convert(hints[name], data[name], _dotted(where, name))
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


def convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    wrong = ConfigError(f"setting '{where}' is {value!r}; expected {_spelled(hint)}.")
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise wrong
        return bind(hint, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise ConfigError(str(wrong) + did_you_mean(str(value), [str(a) for a in args]))
        return value
    if origin in (Union, types.UnionType):
        for option in args:
            try:
                return None if option is type(None) and value is None else convert(option, value, where)
            except ConfigError:
                continue
        raise wrong
    if Sequence in (hint, origin):
        if not isinstance(value, list | tuple):
            raise wrong
        return [convert(args[0] if args else Any, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) != len(value):
            raise wrong
        return tuple(convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
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
