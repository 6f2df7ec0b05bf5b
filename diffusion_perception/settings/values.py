"""One value to the type that its setting states.

Owns texts, numbers, lists, mappings and unions of them, what was typed on a command line (`typed`), and the rules of
the empty value (none) and of null (back to the default). A type that is not known here passes the value on as it is.
Sections and plug-ins are `binding`'s.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from diffusion_perception.settings.layers import Layered
from diffusion_perception.settings.plain import key_of
from diffusion_perception.settings.typed import Typed, is_null, untyped
from shards.errors import ConfigError, did_you_mean

# (hint, value, where) -> value, or NotImplemented for a type that is none of its own.
Own = Callable[[Any, Any, str], Any]

TEXTS = (str, Path)


def convert(hint: Any, value: Any, where: str, own: Own = lambda *_: NotImplemented) -> Any:
    """A value of the type that `hint` states.

    Args:
        where: dotted path of the setting, for messages.
        own: asked first, about this type and all inside it.

    Raises:
        ConfigError: a value of another type; says which, and what was found.
    """
    if members := members_of(hint):
        return _one_of(members, hint, value, where, own)
    if isinstance(value, Typed) and value.empty and bare(hint) is not Any:
        return empty(hint, where)
    if (found := own(hint, value, where)) is not NotImplemented:
        return found
    hint = bare(hint)
    if hint in TEXTS:
        return _text(hint, value, where)
    if isinstance(value, Typed):
        value = value.opened(where)
    if typing.get_origin(hint) is Literal:
        return _choice(hint, value, where)
    if isinstance(value, Typed):
        value = value.plain(where)
    if hint in (int, float, bool):
        return _number(hint, value, where)
    shape = shape_of(hint)
    if shape is list:
        return _items(hint, value, where, own)
    if shape is dict:
        return _mapping(hint, value, where, own)
    return _checked(untyped(value, where), where)


def resets(hint: Any, value: Any) -> bool:
    """Whether a value is a null where there can be none: the setting goes back to its default."""
    null = value is None if hint in TEXTS else is_null(value)
    return null and bare(hint) is not Any and type(None) not in members_of(hint)


def empty(hint: Any, where: str) -> Any:
    """What an empty value means for a type: none, "" or an empty list or mapping."""
    kinds = members_of(hint) or (hint,)
    if type(None) in kinds:
        return None
    for kind in map(bare, kinds):
        if kind is str:
            return ""
        if shape_of(kind) is dict:
            return {}
        if shape_of(kind) is list and not is_fixed(kind):
            return () if typing.get_origin(kind) is tuple else []
    raise ConfigError(f"setting '{where}' is empty; expected {spelled(hint)}.")


def _text(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, Typed):
        return hint(_checked(value.words, where))
    if isinstance(value, str) or (hint is Path and isinstance(value, Path)):
        return hint(_checked(value, where))
    if value is None or isinstance(value, Mapping | Sequence):
        raise wrong(hint, value, where)
    raise ConfigError(
        f"setting '{where}' is {value!r}: YAML reads type {type(value).__name__}, expected {spelled(hint)}. Quote it: "
        "2024_01 is a number and off a truth value, '2024_01' and 'off' are text."
    )


def _checked(value: Any, where: str) -> Any:
    """The same value, whose texts can all be a file's name and be written in UTF-8."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(
                f"setting '{where}' is {value!r}: holds a NUL character or half a pair of code units, which no name "
                "and no sentence has. Type it again."
            )
    elif isinstance(value, Mapping):
        for key, part in value.items():
            _checked(key, where)
            _checked(part, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for part in value:
            _checked(part, where)
    return value


def _choice(hint: Any, value: Any, where: str) -> Any:
    args = typing.get_args(hint)
    for found in [value.text, value.plain(where)] if isinstance(value, Typed) else [value]:
        if any(found == arg and type(found) is type(arg) for arg in args):
            return found
    shown = value.text if isinstance(value, Typed) else value
    raise ConfigError(f"{wrong(hint, value, where)}{did_you_mean(str(shown), [str(arg) for arg in args])}")


def _number(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, bool) or hint is bool:
        if hint is bool and isinstance(value, bool):
            return value
        raise wrong(hint, value, where)
    if hint is int and isinstance(value, int):
        return value
    if isinstance(value, str) or (hint is float and isinstance(value, int | float)):  # YAML 1.1 reads 1e-4 as text
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise wrong(hint, value, where) from None
        if hint is float and not math.isnan(number):
            return number
        if hint is int and number.is_integer():
            return int(number)
    raise wrong(hint, value, where)


def _items(hint: Any, value: Any, where: str, own: Own) -> Any:
    if not isinstance(value, list | tuple):
        one = f" For one, write [{shown(value)}]." if isinstance(value, str | int | float) else ""
        raise ConfigError(f"{wrong(hint, value, where)}{one}")
    args = typing.get_args(hint) or (Any, ...)
    kinds = args if is_fixed(hint) else args[:1] * len(value)
    if len(kinds) != len(value):
        raise wrong(hint, value, where)
    items = [convert(k, v, f"{where}[{i}]", own) for i, (k, v) in enumerate(zip(kinds, value, strict=True))]
    return tuple(items) if tuple in (hint, typing.get_origin(hint)) else items


def _mapping(hint: Any, value: Any, where: str, own: Own) -> dict[str, Any]:
    if isinstance(value, Layered):
        value = value.merged()
    if isinstance(value, str):  # the short form of a plug-in without options
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise wrong(hint, value, where)
    inner = inner_of(hint)
    items = {str(key): convert(inner, part, dotted(where, key), own) for key, part in value.items()}
    if package_of(inner) and (blank := [key for key, part in items.items() if not part]):
        raise ConfigError(f"setting '{dotted(where, blank[0])}' is empty; expected {spelled(inner)}.")
    return items


def _one_of(members: tuple[Any, ...], hint: Any, value: Any, where: str, own: Own) -> Any:
    if isinstance(value, Typed) and value.empty:
        return empty(hint, where)
    rest = [member for member in members if member is not type(None)]
    if len(rest) < len(members) and is_null(value):
        return None
    refusals = []
    # Typed text is a number or a list wherever it can be one; text of a file has been told apart by its quotes.
    for member in sorted(rest, key=lambda kind: (bare(kind) in TEXTS) == isinstance(value, Typed)):
        try:
            return convert(member, value, where, own)
        except ConfigError as error:
            if len(rest) == 1:
                raise
            refusals.append((member, error))
    opened = value.opened(where) if isinstance(value, Typed) else value
    for member, error in refusals:  # the one that is meant says it best
        if isinstance(opened, list | Mapping) and shape_of(member) is (list if isinstance(opened, list) else dict):
            raise error
    raise wrong(hint, value, where)


def bare(hint: Any) -> Any:
    """A type without the notes of `Annotated`."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def package_of(hint: Any) -> str | None:
    """The package a setting's plug-in is looked up in, if it names one: `Annotated[Mapping[str, Any], "vpd.tasks"]`."""
    return next((note for note in _notes(hint) if isinstance(note, str)), None)


def may_be_unnamed(hint: Any) -> bool:
    """Whether a plug-in setting may give options and leave the name to somebody else: its notes say "unnamed"."""
    return "unnamed" in _notes(hint)


def _notes(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()


def members_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or nothing."""
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else ()


def shape_of(hint: Any) -> type | None:
    """`list` or `dict` for a type of several values."""
    kind = typing.get_origin(bare(hint)) or bare(hint)
    if kind in (list, tuple, Sequence):
        return list
    return dict if kind in (dict, Mapping) else None


def inner_of(hint: Any) -> Any:
    """The type of the values of a mapping."""
    args = typing.get_args(bare(hint))
    return args[1] if shape_of(hint) is dict and len(args) > 1 else Any


def is_fixed(hint: Any) -> bool:
    """Whether a type is a list of so many values, each of its own type."""
    args = typing.get_args(hint)
    return typing.get_origin(hint) is tuple and bool(args) and args[-1] is not ...


def dotted(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def shown(value: Any) -> str:
    """A value as messages show it."""
    return value.text if isinstance(value, Typed) else str(untyped(value))


def wrong(hint: Any, value: Any, where: str) -> ConfigError:
    value = value.text if isinstance(value, Typed) else untyped(value, where)
    return ConfigError(f"setting '{where}' is {value!r}; expected {spelled(hint)}.")


def spelled(hint: Any) -> str:
    """A type in words a person configures by."""
    if members := members_of(hint):
        return " | ".join("null" if member is type(None) else spelled(member) for member in members)
    if package_of(hint):
        return "a plug-in, {name: NAME, ...}"
    if dataclasses.is_dataclass(hint):
        return f"a section {{{', '.join(map(key_of, dataclasses.fields(hint)))}}}"
    args = typing.get_args(bare(hint))
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, args))
    if is_fixed(hint):
        return f"[{', '.join(map(spelled, args))}]"
    if shape_of(hint) is list:
        return f"list of {spelled(args[0])}" if args else "list"
    if shape_of(hint) is dict:
        return "mapping"
    return "path" if hint is Path else getattr(bare(hint), "__name__", str(hint))
