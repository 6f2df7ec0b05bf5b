"""A name becomes a module of a package, and the module's `build(...)` an object. No registry: a new part is a new file.

Owns the rule for every kind of plug-in: `refcoco` of the package `pipeline.sources` is the module
`pipeline.sources.refcoco`; a dotted name is taken as it is, so a plug-in may live outside this repository. What a
configuration file may say about one is `jobs.plugins`'.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

from shards.errors import ConfigError


def find(package: str, name: str, where: str = "") -> Any:
    """The module a name means, which has a `build`.

    Args:
        where: dotted path of the setting that names it, for messages.

    Raises:
        ConfigError: there is none; the message lists the package's.
    """
    module_name = name if "." in name else f"{package}.{name}"
    setting = f"setting '{where}': " if where else ""
    try:
        found = importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        choices = available(package)
        raise ConfigError(
            f"{setting}no module {module_name}.{suggestion(name, choices)} "
            f"There are: {', '.join(choices)}; a dotted name is imported as it is."
        )
    module = importlib.import_module(module_name)
    if not hasattr(module, "build"):
        raise ConfigError(f"{setting}{module_name} has no function build(**options).")
    return module


def available(package: str) -> list[str]:
    """The plug-ins of a package: its modules that have a `build`."""
    names = sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return [name for name in names if _mentions_build(f"{package}.{name}")]


def call(build: Callable[..., Any], where: str, *arguments: Any, **options: Any) -> Any:
    """Call a plug-in's `build` with options that a person wrote.

    Raises:
        ConfigError: an option it does not take; the message lists those it does.
    """
    takes = list(inspect.signature(build).parameters)
    if unknown := [option for option in options if option not in takes]:
        raise ConfigError(
            f"{where} has no option {unknown[0]!r}.{suggestion(unknown[0], takes)} It reads {', '.join(takes)}."
        )
    return build(*arguments, **options)


def suggestion(word: str, known: Sequence[str]) -> str:
    """' Did you mean …?' for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean '{close[0]}'?" if close else ""


def _mentions_build(module: str) -> bool:
    # Read, not imported: a listing must not load diffusers.
    spec = importlib.util.find_spec(module)
    loader: Any = spec.loader if spec else None
    source = loader.get_source(module) if hasattr(loader, "get_source") else None
    return any(mark in (source or "") for mark in ("\ndef build(", "\nbuild = "))
