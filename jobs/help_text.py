"""Help for a terminal: every setting of a command, by section, with type, value in force and one line of doc.

Which settings there are, and what they are now, is `diffusion_perception.settings.describe`'s.
"""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from diffusion_perception.settings import describe, modules, values
from diffusion_perception.settings.describe import Setting
from diffusion_perception.settings.signatures import REQUIRED, Unread
from diffusion_perception.settings.source_text import summary_of_module
from diffusion_perception.settings.typed import untyped
from jobs.command_line import CommandLine
from shards.errors import ContractError

ASKED = ("--help", "-h")
COLUMN = 46  # where docs begin
NARROWEST, WIDEST = 90, 120  # characters of a line
LEGEND = """Settings are written key=value or --key value. Below: type and value in force; a star marks what a file or
the command line gives. Empty means none, null the default. A plug-in is NAME, or {name: NAME, option: value}."""


def asked_for(words: Sequence[str]) -> bool:
    return any(word in ASKED for word in words)


def help_of(job: ModuleType, words: Sequence[str]) -> str:
    """The help of a command, with the values that its other words give."""
    data, note = _given(job, [word for word in words if word not in ASKED])
    lines = [inspect.getdoc(job) or "", "", *_flags(job), "", LEGEND]
    settings = list(describe.settings_of(job.JOB, data))
    task = next((describe.name_in_force(s) for s in settings if s.package == describe.TASKS), "")
    lines += [
        line for setting in settings if "." not in setting.path and not _headed(setting) for line in _lines(setting)
    ]
    section = ""
    for setting in settings:
        head = setting.path.partition(".")[0]
        if head != section and ("." in setting.path or _headed(setting)):
            section = head
            lines += ["", section]
        if "." in setting.path or _headed(setting):
            lines += _lines(setting, task)
            lines += [line for inner in _plugins(setting, task) for line in inner]
    return "\n".join([*lines, *([f"\nnote: {note}"] if note else [])])


def of_family(job: ModuleType, family: Mapping[str, str]) -> str:
    """The help of a command with tools: what each does."""
    width = max(map(len, family)) + 2
    return "\n".join(
        [
            inspect.getdoc(job) or "",
            "",
            *(f"  {name:<{width}}{summary_of_module(module)}" for name, module in family.items()),
        ]
    )


def _given(job: ModuleType, words: list[str]) -> tuple[Mapping[str, Any], str]:
    """The job's settings as far as its words give them, and what is wrong with the words."""
    try:
        return job.draft(CommandLine.parse(words, flags=job.FLAGS)), ""
    except ContractError as error:
        return {}, f"only defaults are shown. {error}" if words else ""


def _flags(job: ModuleType) -> Iterator[str]:
    words = {f"--{name} {name.upper()}": doc for name, doc in getattr(job, "WORDS", {}).items()}
    words["--config FILE"] = "settings from a YAML file; others are laid over it"
    words |= {f"--{name}": doc for name, doc in job.FLAGS.items()}
    words["--help, -h"] = "this text, with the values that the other words give"
    for name, doc in words.items():
        yield f"  {name:<22}{doc}"


def _headed(setting: Setting) -> bool:
    """Whether a setting at the top has a section of its own."""
    return bool(setting.package) or (setting.hint is not None and values.shape_of(setting.hint) is dict)


def _plugins(setting: Setting, task: str) -> Iterator[Iterator[str]]:
    """The lines of a plug-in in force; of a mapping of plug-ins, those of each that is given."""
    if setting.package:
        name = describe.name_in_force(setting, task)
        if name:
            yield (line for option in describe.plugin_settings(setting, name) for line in _lines(option))
        yield iter(_others(setting, name))
        return
    package = describe.package_in(values.inner_of(setting.hint))
    if package and isinstance(setting.in_force, Mapping):
        for key, given in setting.in_force.items():
            one = Setting(f"{setting.path}.{key}", setting.hint, {}, "", package, given)
            yield iter(_lines(one))
            yield from _plugins(one, task)


def _others(setting: Setting, name: str) -> list[str]:
    others = [other for other in modules.available(setting.package or "") if other != name]
    now = f"{'other' if name else 'known'} names: "
    return _wrapped("    ", f"{now}{', '.join(others) or 'none'}; or a dotted module with a build(**options)")


def _lines(setting: Setting, task: str = "") -> list[str]:
    star = "" if setting.given is REQUIRED else " *"
    kind = "plug-in" if setting.package else values.spelled(setting.hint)
    left = f"  {setting.path}: {kind}{_value(setting, task)}{star}"
    if len(left) < COLUMN - 1:
        return _wrapped(left.ljust(COLUMN), setting.doc)
    return [left, *_wrapped(" " * COLUMN, setting.doc)] if setting.doc else [left]


def _value(setting: Setting, task: str) -> str:
    if setting.package:
        name = describe.name_in_force(setting, task)
        return f" = {name}" if name else " (required)" if setting.in_force is REQUIRED else " (none is named)"
    value = setting.in_force
    if value is REQUIRED:
        return " (required)"
    if isinstance(value, Unread):
        return f" = {value.source}"
    value = untyped(value, setting.path)
    if isinstance(value, Mapping) and value:
        return ""
    return f" = {value}" if isinstance(value, str) and value else f" = {json.dumps(value, default=str)}"


def _wrapped(first: str, text: str) -> list[str]:
    width = min(max(shutil.get_terminal_size((WIDEST, 0)).columns, NARROWEST), WIDEST)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first)) or [first.rstrip()]
