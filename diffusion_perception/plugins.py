"""A name becomes a module, and the module's `build(**options)` an object. No registry: a new part is a new file.

Owns the one rule for every kind of plug-in: `refcoco` of the kind `pipeline.sources` is the module or folder
`pipeline.sources.refcoco`; a dotted name is imported as it is, so a plug-in may live outside this project. A setting
`{name: ..., **options}` is bound to the signature of `build` before anything runs: values take the types it states, an
option nobody reads is an error. Works in a fresh Ray worker, since nothing has to be imported first.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from typing import Any

from diffusion_perception.settings.binding import convert
from shards.errors import ConfigError, did_you_mean

SOURCES = "pipeline.sources"
VIEWS = "pipeline.views"
ENCODERS = "pipeline.encoders"
BACKBONES = "vpd.backbones"
HEADS = "vpd.heads"
TASKS = "vpd.tasks"
SCHEDULES = "vpd.training.schedules"


def build_plugin(kind: str, spec: Mapping[str, Any], where: str, *positional: Any, **given: Any) -> Any:
    """Build the object a plug-in setting names.

    Args:
        kind: package the name is looked up in, e.g. `pipeline.sources`.
        spec: `{"name": ..., **options}`.
        where: dotted path of the setting, for messages.
        positional: leading arguments of `build` that no configuration can write, e.g. a `FeatureSpec`.
        given: options that somebody else decides (a device; what the task tells its head); a configuration that
            decides them too is refused.

    Raises:
        ConfigError: no such module (the message lists those there are), or options its `build` does not take.
    """
    module = find(kind, spec, where)
    options = {key: value for key, value in spec.items() if key != "name"}
    if both := [key for key in options if key in given]:
        raise ConfigError(
            f"setting '{where}.{both[0]}' is {options[both[0]]!r}, but it is decided elsewhere ({given[both[0]]!r} "
            f"here): leave it out of '{where}'."
        )
    bound = bind_options(module.build, options, where, str(spec["name"]), len(positional), tuple(given))
    return module.build(*positional, **bound, **given)


def bind_options(
    build: Callable[..., Any],
    options: Mapping[str, Any],
    where: str,
    name: str,
    n_positional: int = 0,
    given: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Options as `build` takes them: known names, nothing missing, every value of the type its parameter states.

    Args:
        n_positional: leading parameters that are no options.
        given: names of options that come from elsewhere.
    """
    takes = option_parameters(build, n_positional)
    named = {p.name: p for p in takes if p.kind is not p.VAR_KEYWORD}
    open_ended = len(named) < len(takes)
    for option in options:
        if option not in named and not open_ended:
            reads = ", ".join(p for p in named if p not in given) or "no options"
            hint = did_you_mean(option, [p for p in named if p not in given])
            raise ConfigError(f"unknown setting '{where}.{option}'.{hint} {name} reads: {reads}.")
    absent = [p.name for p in named.values() if p.default is p.empty and p.name not in {*options, *given}]
    if absent:
        raise ConfigError(f"setting '{where}' ({name}) lacks: {', '.join(absent)}.")
    hints = typing.get_type_hints(build)
    return {
        option: convert(hints[option], value, f"{where}.{option}") if option in hints else value
        for option, value in options.items()
    }


def option_parameters(build: Callable[..., Any], n_positional: int = 0) -> list[inspect.Parameter]:
    """The parameters of a `build` that a configuration may set, in their order."""
    return list(inspect.signature(build).parameters.values())[n_positional:]


def find(kind: str, spec: Mapping[str, Any], where: str) -> Any:
    """The module a setting names, which has a `build`.

    Raises:
        ConfigError: no name, or no such plug-in; the message lists the package's.
    """
    name = str(spec.get("name") or "")
    if not name:
        raise ConfigError(f"setting '{where}' needs a 'name': one of {', '.join(available(kind))}, or a dotted module.")
    module_name = name if "." in name else f"{kind}.{name}"
    try:
        found = importlib.util.find_spec(module_name) is not None
    except (ModuleNotFoundError, ValueError):
        found = False
    if found and "." not in name and name not in available(kind):
        found = False  # a part of the package that is no plug-in
    if not found:
        choices = available(kind)
        raise ConfigError(
            f"setting '{where}': no module {module_name} with a build(**options).{did_you_mean(name, choices)} "
            f"There are: {', '.join(choices)}; a dotted name is imported as it is."
        )
    module = importlib.import_module(module_name)
    if not callable(getattr(module, "build", None)):
        raise ConfigError(f"setting '{where}': {module_name} has no function build(**options).")
    return module


def constant(kind: str, spec: Mapping[str, Any], name: str, where: str = "") -> Any:
    """A constant of the named plug-in's module, known without building anything; None if it has none."""
    return getattr(find(kind, spec, where or kind), name, None)


def available(kind: str) -> list[str]:
    """The plug-ins of a package: its modules and folders that have a `build`."""
    names = sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(kind).__path__))
    return [name for name in names if _has_build(f"{kind}.{name}")]


def _has_build(module: str) -> bool:
    # Read, not imported: a listing must not load diffusers.
    spec = importlib.util.find_spec(module)
    loader: Any = spec.loader if spec else None
    source = loader.get_source(module) if hasattr(loader, "get_source") else None
    for node in ast.parse(source or "").body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            return True
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == "build" for a in node.names):
            return True
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "build" for t in node.targets):
            return True
    return False
