"""A name becomes a module of a package, and the module's `build(...)` an object: heads, tasks and backbones by name.

Owns the rule on this side of the project, for what a saved model names (`vpd.pretrained`) and a task's head;
`jobs.plugins` owns it for configuration files. No registry: a new head is a new file. A dotted name is imported as it
is.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from shards.errors import ConfigError


def find(package: str, name: str) -> Any:
    """The module `name` of a package, or the dotted module.

    Raises:
        ConfigError: there is none; the message lists the package's.
    """
    module = name if "." in name else f"{package}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        there = sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__))
        raise ConfigError(
            f"there is no module {module}.{_closest(name, there)} {package} has {', '.join(there)}."
        ) from error


def call(function: Callable[..., Any], where: str, *arguments: Any, **options: Any) -> Any:
    """Call a plug-in's `build` or a head's class with options from a configuration.

    Raises:
        ConfigError: an option it does not take; the message lists those it does.
    """
    check_options(function, where, options)
    return function(*arguments, **options)


def check_options(function: Callable[..., Any], where: str, options: Mapping[str, Any]) -> None:
    """ConfigError if a function does not take one of the options."""
    takes = list(inspect.signature(function).parameters)
    if unknown := [option for option in options if option not in takes]:
        raise ConfigError(
            f"{where} has no option {unknown[0]!r}.{_closest(unknown[0], takes)} It reads {', '.join(takes)}."
        )


def _closest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean {close[0]!r}?" if close else ""
