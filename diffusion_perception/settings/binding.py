"""Plain data to frozen dataclasses, strictly: whatever nobody reads is an error with a suggestion.

Owns settings as a whole: sections, plug-ins and their options. What a single value becomes is `values`'; where the data
comes from, `files`'; what a plug-in takes, `modules`'.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from diffusion_perception.settings import modules, values
from diffusion_perception.settings.files import BASE
from diffusion_perception.settings.layers import Layered
from diffusion_perception.settings.plain import key_of, to_plain
from diffusion_perception.settings.signatures import REQUIRED, Signature
from diffusion_perception.settings.typed import Typed
from diffusion_perception.settings.values import dotted, spelled
from shards.errors import ConfigError, did_you_mean

T = TypeVar("T")
_EMPTY = ("", (), [], {})


def bind(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """A frozen dataclass from plain data, strictly.

    Args:
        where: dotted path of `data` in the whole configuration, for messages.

    Raises:
        ConfigError: an unknown key (with the closest known one), a missing one, or a value of another type.
    """
    known = {key_of(f): f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls, include_extras=True)
    if strange := [key for key in data if key not in known]:
        raise _unknown(strange, cls, data, where)
    bound = {}
    for key, spec in known.items():
        hint, at = hints[spec.name], dotted(where, key)
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if key in data and not values.resets(hint, data[key]):
            bound[spec.name] = convert(hint, _over_default(spec, hint, data[key], at), at)
            if required and bound[spec.name] in _EMPTY:
                raise ConfigError(f"setting '{at}' is empty; expected {spelled(hint)}.")
        elif required:
            raise ConfigError(f"setting '{at}' is missing; expected {spelled(hint)}.")
    return cls(**bound)


def _over_default(spec: dataclasses.Field[Any], hint: Any, value: Any, where: str) -> Any:
    """Options of a plug-in that leave its name to the default lie over the default."""
    default = {} if spec.default_factory is dataclasses.MISSING else spec.default_factory()
    if values.package_of(hint) is None or "name" not in default:
        return value
    given = value.opened(where) if isinstance(value, Typed) else value
    if not isinstance(given, Mapping) or not given or given.get("name") is not None:
        return value
    return {**default, **given, "name": default["name"]}


def convert(hint: Any, value: Any, where: str) -> Any:
    """A value as a type states it, with sections and plug-ins bound too; errors as of `bind`."""
    return values.convert(hint, value, where, _own)


def _own(hint: Any, value: Any, where: str) -> Any:
    """The types that only settings know: dataclasses, and mappings that name a plug-in."""
    package = values.package_of(hint)
    if package is None and not dataclasses.is_dataclass(hint):
        return NotImplemented
    if isinstance(value, Typed):
        value = value.opened(where)
        value = value.words if isinstance(value, Typed) and package else value
    if isinstance(value, Layered):
        value = value.over if package else value.merged()
    if package and isinstance(value, str):  # the short form of a plug-in without options
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise values.wrong(hint, value, where)
    return _plugin(hint, package, value, where) if package else bind(cast("type", hint), value, where)


def _plugin(hint: Any, package: str, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A plug-in setting as plain data, its options of the types that its `build` states."""
    named = {"name": convert(str, spec["name"], f"{where}.name")} if spec.get("name") is not None else {}
    options = {key: value for key, value in spec.items() if key != "name"}
    if not spec or (not named and values.may_be_unnamed(hint)):
        return {key: convert(Any, value, f"{where}.{key}") for key, value in options.items()}
    module = modules.module_name(package, {**options, **named}, where)
    taken = modules.signature(package, module, where)
    bound = bind_options(taken, options, where, named["name"], modules.kind_of(package).given, complete=False)
    return named | to_plain(bound)


def bind_options(
    takes: Signature,
    options: Mapping[str, Any],
    where: str,
    name: str,
    given: tuple[str, ...] = (),
    complete: bool = True,
) -> dict[str, Any]:
    """Options as a `build` takes them: known names, nothing missing, every value of the type its parameter states.

    Args:
        name: of the plug-in, for messages.
        given: names of options that come from elsewhere.
        complete: False: what is missing may still come from elsewhere.

    Raises:
        ConfigError: an unknown option (with the closest known one), a missing one, or a value of another type.
    """
    open_to_all = [option for option in takes.options if option.name not in given]
    bound = {}
    for key, value in options.items():
        option = takes.option(key)
        if key in given:
            raise ConfigError(f"setting '{where}.{key}' is decided by whoever builds {name}. Leave it out.")
        if option is None and not takes.open_ended:
            names = [known.name for known in open_to_all]
            reads = ", ".join(names) or "no options"
            raise ConfigError(f"unknown setting '{where}.{key}'.{did_you_mean(key, names)} {name} reads: {reads}.")
        hint = option.hint if option else Any
        if values.resets(hint, value):
            continue
        bound[key] = convert(hint, value, f"{where}.{key}")
        if option and option.default is REQUIRED and bound[key] in _EMPTY:
            raise ConfigError(f"setting '{where}.{key}' is empty; expected {spelled(hint)}.")
    absent = [option.name for option in open_to_all if option.default is REQUIRED and option.name not in bound]
    if complete and absent:
        raise ConfigError(f"setting '{where}' ({name}) lacks: {', '.join(absent)}.")
    return bound


def _unknown(strange: list[Any], cls: type, data: Mapping[str, Any], where: str) -> ConfigError:
    """The error about keys that a section does not have: it speaks of the first and names the others."""
    known = [key_of(f) for f in dataclasses.fields(cls)]
    key, *others = map(str, strange)
    if key == BASE:
        found = values.shown(data[strange[0]])
        return ConfigError(
            f"setting '{dotted(where, key)}' is {found!r}; expected a file that these settings lie over."
        )
    hint = _elsewhere(key, cls) or did_you_mean(key, known)
    also = f" Also unknown: {', '.join(others)}." if others else ""
    if not where and others and 2 * len(strange) > len(data):
        also += " Is this a configuration of another command?"
    return ConfigError(f"unknown setting '{dotted(where, key)}'.{hint} Known here: {', '.join(known)}.{also}")


def _elsewhere(key: str, cls: type) -> str:
    """A hint for a key that exists one level down, as in `lr` for `optim.lr`, or is written as on a command line."""
    hints = typing.get_type_hints(cls)
    section, _, rest = key.partition(".")
    if rest and section in map(key_of, dataclasses.fields(cls)):
        return f" In a file, write {section}: {{{rest}: ...}}."
    for f in dataclasses.fields(cls):
        inner = hints[f.name]
        if dataclasses.is_dataclass(inner) and key in {g.name for g in dataclasses.fields(inner)}:
            return f" Did you mean '{f.name}.{key}'?"
    return ""
