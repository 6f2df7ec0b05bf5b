"""What settings there are: path, type, default and doc of each, and the value in force.

The facts behind help and schemas, read off dataclasses and the `build`s of plug-ins. How they are laid out is
`jobs.help_text`'s and `schema`'s.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_perception.settings import modules, source_text, values
from diffusion_perception.settings.field_docs import field_docs
from diffusion_perception.settings.files import plugin_name
from diffusion_perception.settings.layers import Layered
from diffusion_perception.settings.plain import key_of, to_plain
from diffusion_perception.settings.signatures import REQUIRED, Option, Signature, Unread
from diffusion_perception.settings.typed import Typed
from shards.errors import ConfigError

TASKS, HEADS = "vpd.tasks", "vpd.heads"


@dataclass(frozen=True)
class Setting:
    """One setting of a job, or one option of a plug-in.

    Args:
        path: dotted, as it is overridden.
        default: `REQUIRED` if there is none.
        package: where a plug-in setting's names are looked up.
        given: the value that is given; `REQUIRED` if none is, and the default holds.
    """

    path: str
    hint: Any
    default: Any = REQUIRED
    doc: str = ""
    package: str | None = None
    given: Any = REQUIRED

    @property
    def in_force(self) -> Any:
        return self.default if self.given is REQUIRED else self.given


def settings_of(cls: type, data: Any = None, where: str = "") -> Iterator[Setting]:
    """Every setting of a job in the order of its fields, those of sections inside it, and options of its plug-ins. Of a
    list of sections also those of an entry, as `sets[].weight`, which nobody has given.

    Args:
        data: the job's settings as plain data, as far as they are given.
    """
    hints, docs = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    for field in dataclasses.fields(cls):
        key, hint = key_of(field), hints[field.name]
        path = values.dotted(where, key)
        default = default_of(field)
        section, package = section_in(hint), package_in(hint)
        given = inside(data, key)
        if isinstance(given, Layered):
            given = given.over if package else given.merged()
        if not section or not dataclasses.is_dataclass(hint):
            yield Setting(path, hint, default, docs.get(field.name, ""), package, given)
        if section:
            yield from settings_of(section, given, path)
        elif listed := _section_listed_in(hint):
            yield from settings_of(listed, where=f"{path}[]")


def plugin_settings(setting: Setting, name: str) -> Iterator[Setting]:
    """The options of a plug-in that a setting names, or would name."""
    given = setting.given if plugin_name_of(setting.given) in ("", name) else REQUIRED
    is_default = plugin_name_of(setting.default) == name and not plugin_name_of(setting.given)
    below = setting.default if is_default else {}
    for option in options_of(setting.package or "", name, setting.path).options:
        here = inside(given, option.name)
        here = below.get(option.name, REQUIRED) if here is REQUIRED else here
        yield Setting(f"{setting.path}.{option.name}", option.hint, option.default, option.doc, given=here)


def name_in_force(setting: Setting, of_task: str = "") -> str:
    """The plug-in that a setting names now; of a head that is left to the task, the task's."""
    name = plugin_name_of(setting.given) or plugin_name_of(setting.default)
    return head_of(of_task) if not name and setting.package == HEADS and of_task else name


def head_of(task: str) -> str:
    """The head a task declares."""
    module = task if "." in task else f"{TASKS}.{task}"
    return str(source_text.class_constant(module, "head") or "")


def options_of(package: str, name: str, where: str) -> Signature:
    """The options that a configuration may give a plug-in; none for one that is not there."""
    try:
        module = modules.module_name(package, {"name": name}, where)
        found = modules.signature(package, module, where)
    except ConfigError:
        return Signature(open_ended=True)
    given = modules.kind_of(package).given
    return dataclasses.replace(found, options=tuple(o for o in found.options if o.name not in given))


def section_in(hint: Any) -> type | None:
    """The dataclass that a setting is, or may be."""
    kinds = values.members_of(hint) or (hint,)
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)  # type: ignore[return-value]


def _section_listed_in(hint: Any) -> type | None:
    """The dataclass that the entries of a list are."""
    entry = (*typing.get_args(hint), None)[0] if values.shape_of(hint) is list else None
    return entry if dataclasses.is_dataclass(entry) else None  # type: ignore[return-value]


def package_in(hint: Any) -> str | None:
    """The package of the plug-in that a setting names, or may name."""
    kinds = values.members_of(hint) or (hint,)
    return next((package for kind in kinds if (package := values.package_of(kind))), None)


def default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return to_plain(field.default)
    return REQUIRED if field.default_factory is dataclasses.MISSING else to_plain(field.default_factory())


def plain_default(option: Option | Setting) -> Any:
    """A default that JSON can hold; None also for one that is only known to the code."""
    return None if option.default is REQUIRED or isinstance(option.default, Unread) else to_plain(option.default)


def plugin_name_of(spec: Any) -> str:
    return "" if spec is REQUIRED else plugin_name(spec)


def inside(data: Any, key: str) -> Any:
    """A value of plain data; `REQUIRED` where none is given."""
    if isinstance(data, Typed):
        data = data.opened(key)
    return data[key] if isinstance(data, Mapping) and key in data else REQUIRED
