"""A name becomes a module, and the module's `build(**options)` an object. No registry: a new part is a new file.

Owns the one rule for every kind of plug-in: `refcoco` of the kind `pipeline.sources` is the module or folder
`pipeline.sources.refcoco`; a dotted name is imported as it is, so a plug-in may live outside this project. A setting
`{name: ..., **options}` is bound to the signature of `build` before anything runs: values take the types it states, an
option nobody reads is an error. Works in a fresh Ray worker, since nothing has to be imported first.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from diffusion_perception.settings import binding, modules
from diffusion_perception.settings.modules import available
from diffusion_perception.settings.signatures import of_callable
from shards.errors import ConfigError

__all__ = [
    "available",
    "bind_options",
    "bind_plugin",
    "build_plugin",
    "build_views",
    "constant",
    "find",
    "option_parameters",
]

SOURCES = "pipeline.sources"
VIEWS = "pipeline.views"
ENCODERS = "pipeline.encoders"
BACKBONES = "vpd.backbones"
HEADS = "vpd.heads"
TASKS = "vpd.tasks"
SCHEDULES = "vpd.training.schedules"
TRACKERS = "vpd.training.trackers"
FAMILIES = "vpd.features.families"
PROBES = "vpd.probes"
KEYPOINT_PAIRS = "pipeline.keypoint_pairs"
MOST_VIEW_PX = 4096 * 4096


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
    module, bound = bind_plugin(kind, spec, where, len(positional), given)
    return module.build(*positional, **bound, **given)


def build_views(spec: Mapping[str, Any], where: str) -> Any:
    """The plan of views a setting names (`pipeline.views.ViewPlan`).

    Raises:
        ConfigError: as of `build_plugin`, or views so large that no encoder is shown one.
    """
    plan = build_plugin(VIEWS, spec, where)
    height, width = plan.size_px
    if height * width > MOST_VIEW_PX:
        raise ConfigError(
            f"setting '{where}': its views are {height} x {width} pixels, and encoders are shown a view whole: "
            f"expected {MOST_VIEW_PX} pixels (4096 x 4096) at most. Cut larger pictures into windows."
        )
    return plan


def bind_plugin(
    kind: str, spec: Mapping[str, Any], where: str, n_positional: int = 0, given: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """The module a plug-in setting names and its options as `build` takes them, with nothing built.

    Arguments and errors as of `build_plugin`.
    """
    module, given = find(kind, spec, where), given or {}
    options = {key: value for key, value in spec.items() if key != "name"}
    if both := [key for key in options if key in given]:
        raise ConfigError(
            f"setting '{where}.{both[0]}' is {options[both[0]]!r}, but it is decided elsewhere ({given[both[0]]!r} "
            f"here): leave it out of '{where}'."
        )
    return module, bind_options(module.build, options, where, str(spec["name"]), n_positional, tuple(given))


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
    takes = of_callable(build, n_positional)
    if strange := [option for option in given if takes.option(option) is None and not takes.open_ended]:
        reads = ", ".join(option.name for option in takes.options) or "no options"
        raise ConfigError(
            f"setting '{where}': {name} does not fit here: it is told '{strange[0]}', which it does not read. Name "
            f"another, or leave the name out. It reads: {reads}."
        )
    return binding.bind_options(takes, options, where, name, given)


def option_parameters(build: Callable[..., Any], n_positional: int = 0) -> list[inspect.Parameter]:
    """The parameters of a `build` that a configuration may set, in their order."""
    return list(inspect.signature(build).parameters.values())[n_positional:]


def find(kind: str, spec: Mapping[str, Any], where: str) -> Any:
    """The module a setting names, which has a `build`.

    Raises:
        ConfigError: no name, or no such plug-in; the message lists the package's.
    """
    module_name = modules.module_name(kind, spec, where)
    module = importlib.import_module(module_name)
    if not callable(getattr(module, "build", None)):
        raise ConfigError(f"setting '{where}': {module_name} has no function build(**options).")
    return module


def describe_plugin(kind: str, spec: Mapping[str, Any], where: str) -> Any:
    """What the named plug-in says of itself before it is built: its module's `describe`, which takes the options of
    `build` and reads no weights.

    Raises:
        ConfigError: as of `build_plugin`, or a plug-in that does not describe itself.
    """
    describe = function(kind, spec, where, "describe")
    options = {key: value for key, value in spec.items() if key != "name"}
    return describe(**bind_options(find(kind, spec, where).build, options, where, str(spec["name"])))


def function(kind: str, spec: Mapping[str, Any], where: str, name: str) -> Callable[..., Any]:
    """A function beside `build` in the named plug-in's module; ConfigError if it has none of this name."""
    module = find(kind, spec, where)
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"setting '{where}': {module.__name__} has no function {name}, which this needs; see {kind}.")
    return found


def constant(kind: str, spec: Mapping[str, Any], name: str, where: str = "") -> Any:
    """A constant of the named plug-in's module, known without building anything; None if it has none."""
    return getattr(find(kind, spec, where or kind), name, None)
