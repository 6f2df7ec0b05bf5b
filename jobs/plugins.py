"""The plug-ins that configuration files name: sources, views, encoders, backbones, tasks.

Owns what a setting `{name: ..., **options}` must hold. How a name becomes a module is `vpd.plugin`'s. Options are
bound to the signature before anything runs: an option nobody reads is an error. Works in a fresh Ray worker, since
nothing has to be imported first.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from shards.errors import ConfigError
from vpd import plugin

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
        raise ConfigError(
            f"setting '{where}' needs a 'name': one of {', '.join(plugin.available(kind))}, or a dotted module."
        )
    options = {k: v for k, v in spec.items() if k != "name"} | given
    build = plugin.find(kind, str(spec["name"]), where).build
    signature = inspect.signature(build)
    takes = [p.name for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    open_ended = len(takes) < len(signature.parameters)
    for option in options:
        if option not in takes and not open_ended:
            hint = plugin.suggestion(option, takes)
            raise ConfigError(f"unknown setting '{where}.{option}'.{hint} {spec['name']} reads: {', '.join(takes)}.")
    missing = [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in options
    ]
    if missing:
        raise ConfigError(f"setting '{where}' ({spec['name']}) lacks: {', '.join(missing)}.")
    return build(**options)


def constant(kind: str, spec: Mapping[str, Any], name: str) -> Any:
    """A constant of the named plug-in's module, known without building anything; None if it has none."""
    return getattr(plugin.find(kind, str(spec.get("name", "")), kind), name, None)
