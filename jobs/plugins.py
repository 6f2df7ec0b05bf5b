"""A name becomes a module, the module's `build(**options)` becomes the object. No registry.

Owns the rule: `refcoco` for the kind `pipeline.sources` is the module `pipeline.sources.refcoco`; a dotted name is
taken as it is, so a plug-in may live outside this repository. Options are bound to the signature before anything runs:
an option nobody reads is an error. Works in a fresh Ray worker, since nothing has to be imported first.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from jobs.config import suggestion
from shards.errors import ConfigError

SOURCES = "pipeline.sources"
VIEWS = "pipeline.views"
ENCODERS = "pipeline.encoders"
BACKBONES = "vpd.backbones"
TASKS = "vpd.tasks"


def build_plugin(kind: str, spec: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Build the object a plug-in setting names.

    Args:
        kind: package the name is looked up in, e.g. `pipeline.sources`.
        spec: `{"name": ..., **options}`.
        where: dotted path of the setting, for messages.
        given: options the job adds itself (a device, a model folder); they win over the configuration's.

    Raises:
        ConfigError: no such module (the message lists those there are), or options its `build` does not take.
    """
    if "name" not in spec:
        raise ConfigError(f"setting '{where}' needs a 'name': one of {', '.join(available(kind))}, or a dotted module.")
    options = {k: v for k, v in spec.items() if k != "name"} | given
    build = _find(kind, str(spec["name"]), where)
    signature = inspect.signature(build)
    takes = [p.name for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    open_ended = len(takes) < len(signature.parameters)
    for option in options:
        if option not in takes and not open_ended:
            hint = suggestion(option, takes)
            raise ConfigError(f"unknown setting '{where}.{option}'.{hint} {spec['name']} reads: {', '.join(takes)}.")
    missing = [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in options
    ]
    if missing:
        raise ConfigError(f"setting '{where}' ({spec['name']}) lacks: {', '.join(missing)}.")
    return build(**options)


def takes_option(kind: str, spec: Mapping[str, Any], option: str) -> bool:
    """Whether the named plug-in's `build` has a parameter of this name."""
    return option in inspect.signature(_find(kind, str(spec.get("name", "")), kind)).parameters


def constant(kind: str, spec: Mapping[str, Any], name: str) -> Any:
    """A constant of the named plug-in's module, known without building anything; None if it has none."""
    build = _find(kind, str(spec.get("name", "")), kind)
    return getattr(importlib.import_module(build.__module__), name, None)


def available(kind: str) -> list[str]:
    """The plug-ins of a kind that ship with this repository: modules of the package that have a `build`."""
    package = importlib.import_module(kind)
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return [n for n in names if _mentions_build(f"{kind}.{n}")]


def _mentions_build(module: str) -> bool:
    # Read, not imported: a listing must not load diffusers.
    spec = importlib.util.find_spec(module)
    loader = spec.loader if spec else None
    source = loader.get_source(module) if hasattr(loader, "get_source") else None  # type: ignore[union-attr]
    return "\ndef build(" in (source or "")


def _find(kind: str, name: str, where: str) -> Any:
    module_name = name if "." in name else f"{kind}.{name}"
    try:
        found = importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        choices = available(kind)
        raise ConfigError(
            f"setting '{where}': no module {module_name}.{suggestion(name, choices)} "
            f"There are: {', '.join(choices)}; a dotted name is imported as it is."
        )
    module = importlib.import_module(module_name)
    if not hasattr(module, "build"):
        raise ConfigError(f"setting '{where}': {module_name} has no function build(**options).")
    return module.build
